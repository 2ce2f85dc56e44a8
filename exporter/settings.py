"""The settings: every key, its type, its default, and how file, environment and flags become them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from exporter.secret import Secret

Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A level of the settings file; `Meta(description=...)` documents each of its keys."""


class Web(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    listen: Annotated[str, Meta(description="Address and port to serve on.")] = "127.0.0.1:10500"


class Log(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe level that is logged.")
    ] = "info"


class Server(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    port: Annotated[Port | None, Meta(description="Port of the tracking server, where several run.")] = None
    user: Annotated[str, Meta(description="Owner of the server's processes, where it is not us.")] = ""
    url: Annotated[str, Meta(description="Base URL that the probes ask; found when the server is local.")] = (
        ""
    )
    username: Annotated[str, Meta(description="Basic-auth user of the probes.")] = ""
    password: Annotated[Secret | None, Meta(description="Basic-auth password of the probes.")] = None
    password_file: Annotated[str, Meta(description="File that holds that password.")] = ""
    token: Annotated[Secret | None, Meta(description="Bearer token of the probes.")] = None
    token_file: Annotated[str, Meta(description="File that holds that token.")] = ""
    ca_file: Annotated[str, Meta(description="CA certificates, PEM, that the probes trust.")] = ""


class Database(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    dsn: Annotated[
        Secret | None, Meta(description="libpq URI or key=value DSN; found when the server is local.")
    ] = None
    dsn_file: Annotated[str, Meta(description="File that holds the DSN.")] = ""
    password: Annotated[Secret | None, Meta(description="Password, where the DSN has none.")] = None
    password_file: Annotated[str, Meta(description="File that holds the password, read at each connect.")] = (
        ""
    )
    password_command: Annotated[
        tuple[str, ...], Meta(description="Command whose output is the password, run at each connect.")
    ] = ()


class Probes(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    interval: Annotated[Seconds, Meta(description="Seconds between two attempts of one probe.")] = 15.0
    timeout: Annotated[Seconds, Meta(description="Seconds after which an attempt has failed.")] = 3.0
    vantage: Annotated[str, Meta(description="Where these probes stand, as a label.")] = "server"
    health: Annotated[bool, Meta(description="Probe /health: the event loop.")] = True
    version: Annotated[bool, Meta(description="Probe /version: the thread pool.")] = True
    api: Annotated[bool, Meta(description="Probe an experiment: connection pool and database.")] = True
    database: Annotated[bool, Meta(description="Probe the database by a new connection.")] = True
    urls: Annotated[dict[str, str], Meta(description="More URLs to probe, by name.", max_length=32)] = field(
        default_factory=dict
    )


class Statements(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    slowest: Annotated[
        int, Meta(description="Slowest statements shown by queryid; 0 for none.", ge=0, le=50)
    ] = 10
    texts: Annotated[bool, Meta(description="Show the start of their parameter-free texts.")] = True


class Settings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    web: Web = Web()
    log: Log = Log()
    server: Server = Server()
    database: Database = Database()
    probes: Probes = Probes()
    statements: Statements = Statements()
    collectors: Annotated[
        tuple[str, ...], Meta(description="Collectors to run; empty for all that apply. `check` lists them.")
    ] = ()
