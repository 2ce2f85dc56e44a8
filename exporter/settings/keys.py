"""Every key of the settings, with its type, its limits and its default."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from exporter.secret import Secret

PORT = r"([1-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
AUTHORITY = rf"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?!0){PORT})?"

Port = Annotated[int, Meta(ge=1, le=65535)]
Listen = Annotated[
    str,
    Meta(
        pattern=rf"^([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):{PORT}$",
        extra={"allowed": "HOST:PORT, as 127.0.0.1:10500, [::1]:10500 or :10500 for all addresses"},
    ),
]
BaseUrl = Annotated[
    str,
    Meta(
        pattern=rf"^(https?://{AUTHORITY}(/[^\s?#]*)?)?$",
        extra={"allowed": "http(s)://HOST[:PORT][/PREFIX] without user, password or query", "private": True},
    ),
]
ProbeUrl = Annotated[
    str,
    Meta(
        pattern=rf"^https?://{AUTHORITY}([/?][^\s#]*)?$",
        extra={"allowed": "http(s)://HOST[:PORT][/PATH][?QUERY] without user and password", "private": True},
    ),
]
ProbeName = Annotated[
    str,
    Meta(
        pattern=r"^(?!(health|version|api|database)$)[a-z][a-z0-9_-]{0,30}$",
        extra={"allowed": "a name of at most 31 of a-z, 0-9, _ and -, not health, version, api or database"},
    ),
]
Vantage = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        extra={"allowed": "a name of at most 63 letters, digits, _, . and -"},
    ),
]


Cores = Annotated[float, Meta(ge=0.1, le=4096)]
Bytes = Annotated[int, Meta(ge=1 << 20, le=1 << 60)]
# 16 and not 17179869184 is the mistake to expect.
WHOLE_BYTES = "a whole number of bytes from 1 MiB on, as 17179869184 for 16 GiB"


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A level of the settings file; `Meta(description=...)` documents each of its keys."""


class WebConfig(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may read /metrics, and how; a section of one key, so that its flag is that of Prometheus' exporters."""

    file: Annotated[
        str,
        Meta(
            description="Web config file in the format of Prometheus' exporters: TLS, client certificates, passwords."
        ),
    ] = ""


class Web(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where /metrics is served."""

    listen: Annotated[
        Listen, Meta(description="Address and port to serve on; port 0 takes any free one.")
    ] = "127.0.0.1:10500"
    config: WebConfig = WebConfig()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port as `socket.bind` takes them; the host is empty for all addresses."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Log(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is logged, to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe level that is logged.")
    ] = "info"


class Server(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tracking server: which one to watch, and how the probes sign in to it."""

    port: Annotated[
        Port | None, Meta(description="Port of the tracking server to watch, where several run here.")
    ] = None
    user: Annotated[
        str,
        Meta(description="User that the server's processes run as; only as root can it be another than us."),
    ] = ""
    url: Annotated[
        BaseUrl,
        Meta(description="Base URL that the probes ask, static prefix included; found for a local server."),
    ] = ""
    username: Annotated[str, Meta(description="Basic-auth user of the probes.")] = ""
    password: Annotated[Secret | None, Meta(description="Basic-auth password of the probes.")] = None
    password_file: Annotated[
        str, Meta(description="File that holds the basic-auth password of the probes.")
    ] = ""
    token: Annotated[Secret | None, Meta(description="Bearer token of the probes.")] = None
    token_file: Annotated[str, Meta(description="File that holds the bearer token of the probes.")] = ""
    ca_file: Annotated[
        str, Meta(description="CA certificates in PEM that the probes trust instead of the system's.")
    ] = ""


class Database(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server's database, and how we sign in to it."""

    dsn: Annotated[
        Secret | None,
        Meta(
            description="URI or key=value DSN of the database, as libpq takes it; found for a local server."
        ),
    ] = None
    dsn_file: Annotated[str, Meta(description="File that holds the DSN.")] = ""
    password: Annotated[Secret | None, Meta(description="Database password, where the DSN has none.")] = None
    password_file: Annotated[
        str, Meta(description="File that holds the database password, read at each connect.")
    ] = ""
    password_command: Annotated[
        tuple[Annotated[str, Meta(extra={"private": True})], ...],
        Meta(
            description="Command, without a shell, whose output is the database password, run at each connect.",
            extra={"split": "shell", "private": True, "allowed": "a command as a list of strings"},
        ),
    ] = ()
    cores: Annotated[
        Cores | None,
        Meta(
            description="CPU cores of the database's machine, where it is not this one.",
            extra={"allowed": "a number of cores from 0.1 to 4096"},
        ),
    ] = None
    memory: Annotated[
        Bytes | None,
        Meta(
            description="Memory of the database's machine in bytes, where it is not this one.",
            extra={"allowed": WHOLE_BYTES},
        ),
    ] = None
    storage: Annotated[
        Bytes | None,
        Meta(
            description="Size of the database's storage in bytes, where it is not on this machine.",
            extra={"allowed": WHOLE_BYTES},
        ),
    ] = None


class Probes(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Requests that we make ourselves, to see what a client sees."""

    interval: Annotated[
        float, Meta(ge=1, le=3600, description="Seconds between the starts of two attempts of one probe.")
    ] = 15.0
    timeout: Annotated[
        float, Meta(ge=0.1, le=60, description="Seconds after which an attempt has failed, as a whole.")
    ] = 3.0
    vantage: Annotated[Vantage, Meta(description="Where these probes stand, as a label.")] = "server"
    health: Annotated[bool, Meta(description="Probe /health: the event loop.")] = True
    version: Annotated[bool, Meta(description="Probe /version: the thread pool.")] = True
    api: Annotated[bool, Meta(description="Probe an experiment: connection pool and database.")] = True
    database: Annotated[bool, Meta(description="Probe the database by a new connection.")] = True
    urls: Annotated[
        dict[ProbeName, ProbeUrl],
        Meta(
            description="More URLs to probe, by name.",
            max_length=32,
            extra={"allowed": "a mapping of at most 32 names to URLs", "private": True},
        ),
    ] = field(default_factory=dict)


class Statements(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is shown of single statements."""

    slowest: Annotated[
        int, Meta(description="Slowest statements shown by queryid; 0 for none.", ge=0, le=50)
    ] = 10
    texts: Annotated[bool, Meta(description="Show the start of their texts, which hold no parameters.")] = (
        True
    )


class Prometheus(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where `diagnose` asks for what the rules have found; the exporter itself asks no Prometheus."""

    url: Annotated[
        BaseUrl,
        Meta(
            description="Base URL of the Prometheus, Thanos or Mimir that `diagnose` asks, prefix included."
        ),
    ] = ""
    username: Annotated[str, Meta(description="Basic-auth user at that Prometheus.")] = ""
    password: Annotated[Secret | None, Meta(description="Basic-auth password at that Prometheus.")] = None
    password_file: Annotated[
        str, Meta(description="File that holds the basic-auth password at that Prometheus.")
    ] = ""
    token: Annotated[Secret | None, Meta(description="Bearer token at that Prometheus.")] = None
    token_file: Annotated[str, Meta(description="File that holds the bearer token at that Prometheus.")] = ""
    ca_file: Annotated[
        str, Meta(description="CA certificates in PEM to trust there instead of the usual ones.")
    ] = ""


class Settings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of mlflow-exporter; every key is optional."""

    web: Web = Web()
    log: Log = Log()
    server: Server = Server()
    database: Database = Database()
    probes: Probes = Probes()
    statements: Statements = Statements()
    prometheus: Prometheus = Prometheus()
    collectors: Annotated[
        tuple[str, ...],
        Meta(
            description="Collectors to run; empty for all that apply. `check` lists them.",
            extra={"allowed": "a list of collectors"},
        ),
    ] = ()
