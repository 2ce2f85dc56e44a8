"""An exporter with a web config file, and the certificates that it and its clients have."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
import trustme

from tests.lab.servers import Exporter


class Guarded(Exporter):
    """An exporter with a web config file; `client` is what requests need to be let in."""

    def __init__(
        self,
        folder: Path,
        config: str,
        client: Mapping[str, object],
        args: Sequence[str] = ("--server.port", "1"),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.client = folder, dict(client)
        self.file = folder / f"web{len(list(folder.glob('web*.yml')))}.yml"
        self.file.write_text(config)
        super().__init__((*args, "--web.config.file", str(self.file), "--log.level", "debug"), env)

    @property
    def url(self) -> str:
        scheme = "https" if "tls_server_config" in self.file.read_text() else "http"
        return f"{scheme}://localhost:{self.port}"

    def ask(self, path: str = "/metrics", **options: object) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, **{"timeout": 10, **self.client, **options})  # type: ignore[arg-type]

    def ready(self) -> bool:
        return self.ask("/-/ready").status_code == 200 and self.listens()

    def certificate(self) -> bytes | None:
        """Return what a new connection is shown."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        with (
            socket.create_connection(("localhost", self.port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            return connection.getpeercert(binary_form=True)


class Certificates:
    """An authority in a directory, and what it issues there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.trusted = {"verify": str(folder / "ca.pem")}

    def issue(self, file: str, *names: str) -> tuple[str, str]:
        """Return the paths of a new certificate and its key, each put in place at once."""
        issued = self.authority.issue_cert(*names)
        made = {
            "pem": b"".join(pem.bytes() for pem in issued.cert_chain_pems),
            "key": issued.private_key_pem.bytes(),
        }
        for ending, pem in made.items():
            (self.folder / "new").write_bytes(pem)
            (self.folder / "new").replace(self.folder / f"{file}.{ending}")
        return str(self.folder / f"{file}.pem"), str(self.folder / f"{file}.key")
