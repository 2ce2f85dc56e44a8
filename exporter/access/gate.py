"""Who may come in, and how: what a web config file says, in force."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.access.bucket import Bucket
from exporter.access.passwords import Passwords, Verdict
from exporter.access.tls import Tls


@dataclass(frozen=True, slots=True)
class Gate:
    """One web config file as it was when it was read; without a file everybody may come in.

    `files` are those that it depends on, itself included; `clients` is its client_auth_type, empty without TLS.
    """

    tls: Tls | None = None
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    limit: Bucket | None = None
    files: tuple[str, ...] = ()
    clients: str = ""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def __str__(self) -> str:
        said = ["TLS" if self.tls else "no TLS"]
        if self.clients not in ("", "NoClientCert"):
            said.append(self.clients)
        users = f"{len(self.users)} user{'s' * (len(self.users) > 1)}"
        said.append(f"passwords of {users}" if self.users else "no passwords")
        return ", ".join(said)

    def verdict(self, passwords: Passwords, authorization: str, address: str) -> Verdict:
        """Say whether a request with that header may come in."""
        if not self.users:
            return Verdict.RIGHT
        login = credentials(authorization)
        return passwords.check(self.users, *login, address) if login else Verdict.WRONG


def credentials(header: str) -> tuple[bytes, bytes] | None:
    """Return user and password of an Authorization header, None where it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None
