"""Probes of the tracking server over HTTP: what is asked, with which credentials, and what counts as success."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from exporter import __version__
from exporter.logs import harmless
from exporter.samplers.attempt import Attempt, Failure, ProbeError
from exporter.samplers.http_phases import Answer, fetch
from exporter.samplers.probes import Probe
from exporter.secret import Secret
from exporter.settings import Probes, Server

# Each stands for one more part of the server. Under `--static-prefix` they are below it, and the prefix is part
# of the base URL. /health runs in the event loop alone, /version goes through the thread pool without touching
# the database, and the default experiment needs a connection of the pool and an answer of the database.
PATHS = {
    "health": "/health",
    "version": "/version",
    "api": "/api/2.0/mlflow/experiments/get?experiment_id=0",
}

# What MLflow answers on its API, but neither on /health nor on /version, to a Host that it does not know.
WRONG_HOST = b"Invalid Host header"


@dataclass(frozen=True, slots=True)
class HttpProbeSpec:
    """One URL to ask; equal as long as the probe need not be rebuilt.

    Of the credentials a token goes before a password, and what is in a file before what is given; files are
    read at each attempt, so that they can be renewed. `api` asks for an answer of MLflow's API and not only for
    a 2xx. Raises ValueError, without quoting the URL, where it is none that a probe can ask.
    """

    name: str
    url: str = field(repr=False)  # a query may hold a token
    timeout: float = 3.0
    interval: float = 15.0
    vantage: str = "server"
    username: str = ""
    password: Secret | None = None
    password_file: str = ""
    token: Secret | None = None
    token_file: str = ""
    ca_file: str = ""
    api: bool = False

    def __post_init__(self) -> None:
        parts = _split(self.name, self.url)
        if parts.username is not None:
            raise ValueError(f"probe {self.name}: the URL has a user in it; the server's settings take that")

    @property
    def place(self) -> str:
        """The URL without its query, for people."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"


class HttpProbe(Probe):
    """Ask one URL at its interval, each time on a new connection."""

    def __init__(self, spec: HttpProbeSpec, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            name=spec.name,
            vantage=spec.vantage,
            interval=spec.interval,
            timeout=spec.timeout,
            reasons=_reasons(spec),
            clock=clock,
        )
        self.spec = spec
        self._default_context: ssl.SSLContext | None = None

    def measure(self, attempt: Attempt) -> float:
        answer = fetch(self.spec.url, self.headers(), attempt, self._context())
        judge(self.spec, answer)
        return sum(attempt.seconds().values())

    def headers(self) -> Mapping[str, str]:
        headers = {"User-Agent": f"mlflow-exporter/{__version__}"}
        spec = self.spec
        if token := _credential("token", spec.token, spec.token_file):
            # A line break would make a header of its own, and `requests` quotes what it refuses.
            if not (token.isascii() and token.isprintable()):
                raise ProbeError(Failure.SETTINGS, "the token has characters that no header can carry")
            return headers | {"Authorization": f"Bearer {token}"}
        if spec.username:
            password = _credential("password", spec.password, spec.password_file)
            pair = f"{spec.username}:{password}".encode()
            return headers | {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return headers

    def _context(self) -> ssl.SSLContext | None:
        """Return what a TLS handshake trusts: the CA file, as it is now, or what this system trusts."""
        if urlsplit(self.spec.url).scheme != "https":
            return None
        if not self.spec.ca_file:
            # Kept, as to read a system's hundred certificates takes 20 ms and more.
            self._default_context = self._default_context or _trusting()
            return self._default_context
        try:
            return _trusting(self.spec.ca_file)
        except OSError as error:  # ssl.SSLError is one too
            detail = f"{self.spec.ca_file}: {error.strerror or 'not a file of PEM certificates'}"
            raise ProbeError(Failure.SETTINGS, detail, "set server.ca_file") from None


def server_probes(base_url: str, probes: Probes, server: Server) -> list[HttpProbeSpec]:
    """Return the specs of the probes that the settings ask for, `database` excepted.

    `base_url` ends with the static prefix, where there is one; empty leaves only the named URLs. Credentials go
    to its own scheme, host and port, never to another. Raises ValueError where a URL or a name cannot be used.
    """
    base, username, password = _strip_user("server.url", base_url) if base_url else ("", "", None)
    common = partial(
        HttpProbeSpec,
        timeout=probes.timeout,
        interval=probes.interval,
        vantage=probes.vantage,
        ca_file=server.ca_file,
    )
    trusted = partial(
        common,
        username=server.username or username,
        password=server.password or password,
        password_file=server.password_file,
        token=server.token,
        token_file=server.token_file,
    )
    wanted = {"health": probes.health, "version": probes.version, "api": probes.api}
    specs = [
        trusted(name, base.rstrip("/") + PATHS[name], api=name == "api")
        for name, on in wanted.items()
        if on and base
    ]
    for name, given in probes.urls.items():
        if name in (*PATHS, "database"):
            raise ValueError(f"probes.urls: {name} is the name of a probe that there is already")
        url, username, password = _strip_user(name, given)
        if username:
            specs.append(common(name, url, username=username, password=password))
        else:
            ours = bool(base) and _origin(url) == _origin(base)
            specs.append((trusted if ours else common)(name, url))
    return specs


def judge(spec: HttpProbeSpec, answer: Answer) -> None:
    """Raise ProbeError where the answer shows that what the probe stands for does not work."""
    match answer.status:
        case status if 200 <= status < 300:
            if spec.api and not _is_object(answer):
                raise ProbeError(
                    Failure.BODY,
                    "an answer, but not MLflow's: something before it answers instead",
                    "the probe's URL must reach the API without a login page",
                )
        case status if 300 <= status < 400:
            # Never followed and never a success: it is a proxy's login, or the server under another address,
            # and in both cases the part of MLflow that was meant has not been reached.
            raise ProbeError(
                Failure.HTTP_3XX,
                f"status {status}, a redirect to {_redirect(answer.headers.get('Location', ''))}",
                "set server.url to the tracking server itself; where a proxy asks for a login, give a token",
            )
        case 404 if spec.api and b'"RESOURCE_DOES_NOT_EXIST"' in answer.body and _is_object(answer):
            # The database has looked: the default experiment was deleted for good, and all the same works.
            return
        case 401:
            remedy = "set server.username and server.password_file, or server.token_file"
            raise ProbeError(Failure.HTTP_401, "the server asks for a login or refused the one given", remedy)
        case 403 if WRONG_HOST in answer.body:
            host = urlsplit(spec.url).netloc
            raise ProbeError(
                Failure.HOST,
                f"MLflow refuses the Host header {host}",
                f"start mlflow server with --allowed-hosts {host} or MLFLOW_SERVER_ALLOWED_HOSTS={host}, "
                "which replace the default list",
            )
        case 403:
            remedy = "give the probe's user READ on the default experiment"
            raise ProbeError(Failure.HTTP_403, "the login is known but not allowed to do this", remedy)
        case 400:
            # MLflow's answer to a request that waited 30 s for a connection of its pool.
            remedy = "look for a connection pool that is used up" if spec.api else ""
            raise ProbeError(Failure.HTTP_400, "status 400", remedy)
        case status if 400 <= status < 500:
            remedy = "a static prefix belongs into server.url" if status == 404 else ""
            raise ProbeError(Failure.HTTP_4XX, f"status {status}", remedy)
        case status if 500 <= status < 600:
            raise ProbeError(Failure.HTTP_5XX, f"status {status}")
        case status:
            raise ProbeError(Failure.BODY, f"status {status} is none of HTTP's")


def _is_object(answer: Answer) -> bool:
    if not answer.whole:  # an experiment with very long tags; its beginning must do
        return answer.body.lstrip().startswith(b"{")
    try:
        return isinstance(json.loads(answer.body), dict)
    except (ValueError, RecursionError):  # of brackets in brackets
        return False


def _redirect(location: str) -> str:
    """Return scheme and host of a redirect, for people; its path and query may hold a token."""
    try:
        to = urlsplit(location)
    except ValueError:
        return "what is no URL"
    return harmless(f"{to.scheme or 'the same scheme'}://{to.hostname or 'the same host'}")


def _reasons(spec: HttpProbeSpec) -> list[Failure]:
    """Return the failures that this probe can have: a series for one that it cannot would tell nothing."""
    parts = urlsplit(spec.url)
    impossible = {Failure.AUTH, Failure.TOO_MANY, Failure.REJECTED}  # of a database
    if parts.scheme == "http":
        impossible.add(Failure.TLS)
    if _is_address(parts.hostname or ""):
        impossible.add(Failure.DNS)
    if not (spec.password_file or spec.token_file or spec.ca_file):
        impossible.add(Failure.SETTINGS)
    return [failure for failure in Failure if failure not in impossible]


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def _trusting(ca_file: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    # As all versions of Python can: 3.13 began to refuse many a private CA for the form of its certificate, and
    # to take a server's own certificate as its CA file. An upgrade of ours must not turn a probe red.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _credential(what: str, given: Secret | None, file: str) -> str:
    if not file:
        return given.reveal() if given else ""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(64 * 1024).decode().strip("\r\n")
    except OSError as error:
        detail = f"{what}_file {file}: {error.strerror}"
    except UnicodeDecodeError:
        detail = f"{what}_file {file}: not UTF-8"
    raise ProbeError(Failure.SETTINGS, detail, f"make server.{what}_file readable for the exporter's user")


def _split(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable:
        raise ValueError(f"{name}: not a URL of the form http://HOST:PORT/PATH or https://HOST:PORT/PATH")
    return parts


def _strip_user(name: str, url: str) -> tuple[str, str, Secret | None]:
    parts = _split(name, url)
    where = parts.netloc.rpartition("@")[2]
    password = None if parts.password is None else Secret(unquote(parts.password))
    return parts._replace(netloc=where, fragment="").geturl(), unquote(parts.username or ""), password


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
