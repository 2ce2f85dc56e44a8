"""Reads a backend store's URI the way MLflow's SQLAlchemy does, and keeps only what a client needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from exporter.secret import Secret

DIALECTS = {
    "postgresql": "postgresql",
    "postgres": "postgresql",  # refused by SQLAlchemy since 1.4, still found in old deployments
    "sqlite": "sqlite",
    "mysql": "mysql",
    "mariadb": "mariadb",
    "mssql": "mssql",
    "file": "file",
}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# A user ends at the first colon and a password at the first @, as in SQLAlchemy: both are percent-encoded.
URI = re.compile(
    r"(?P<scheme>[\w+.-]+)://"
    r"(?:(?P<user>[^:/@]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^\]/?]*)\]|(?P<host>[^:/?]*))"
    r"(?::(?P<port>\d*))?"
    r"(?:/(?P<name>[^?]*))?"
    r"(?:\?(?P<query>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Backend:
    """The backend store that the server was started with.

    `dialect` is `postgresql`, `sqlite`, `mysql`, `mariadb`, `mssql`, `file` or `other`. From the URI only
    these fields are taken, never file paths or options of the driver: an environment is somebody else's
    input. `host` is a directory where it starts with `/`: that of a Unix socket. `path` is for sqlite alone:
    absolute, and empty for a database in memory or where the server's directory is not known.
    """

    dialect: str
    host: str = ""
    port: int = 0
    dbname: str = ""
    user: str = ""
    password: Secret = field(default=Secret(""))
    sslmode: str = ""
    path: str = ""


def backend_of(uri: str, cwd: str = "") -> Backend:
    """Return what `uri` says; `cwd` is the server's directory, which relative sqlite paths start from.

    Anything that is no URI is a directory of MLflow's file store. Never raises: an error could quote the URI.
    A URI that MLflow itself cannot mean (a NUL, which would cut what libpq is told; an @ but behind the password, where
    the rest is of one that was not encoded) is `other`.
    """
    found = URI.fullmatch(uri)
    if not found:
        return Backend("other" if "://" in uri else "file")
    dialect = DIALECTS.get(found["scheme"].partition("+")[0].lower(), "other")
    if dialect == "sqlite":
        return Backend(dialect, path=_sqlite_path(found["name"] or "", cwd))
    if dialect in ("file", "other"):
        return Backend(dialect)
    backend = Backend(
        dialect,
        host=unquote(found["ipv6"] or found["host"] or ""),
        port=_port(found["port"] or ""),
        dbname=unquote(found["name"] or ""),
        user=unquote(found["user"] or ""),
        password=Secret(unquote(found["password"] or "")),
    )
    if dialect == "postgresql":
        backend = _overridden(backend, dict(parse_qsl(found["query"] or "")))
    texts = (backend.host, backend.dbname, backend.user, backend.password.reveal())
    misread = uri.count("@") > (found["user"] is not None) or "@" in backend.host
    return Backend("other") if misread or any("\0" in text for text in texts) else backend


def with_libpq_environment(backend: Backend, environ: Mapping[str, str], owner: str) -> Backend:
    """Fill what the URI leaves open as libpq does for the server: from its environment, then its owner's name."""
    if backend.dialect != "postgresql":
        return backend
    return replace(
        backend,
        host=backend.host or environ.get("PGHOST", ""),
        port=backend.port or _port(environ.get("PGPORT", "")),
        dbname=backend.dbname or environ.get("PGDATABASE", ""),
        user=backend.user or environ.get("PGUSER", "") or owner,
        password=backend.password or Secret(environ.get("PGPASSWORD", "")),
        sslmode=backend.sslmode or _sslmode(environ.get("PGSSLMODE", "")),
    )


def _overridden(backend: Backend, query: Mapping[str, str]) -> Backend:
    """Apply the query's parameters, which reach libpq after the fields and win. Of several hosts, the first."""
    host, port = query.get("host", "").partition(",")[0], ""
    if host.count(":") == 1:  # more of them are an IPv6 address
        host, _, port = host.partition(":")
    return replace(
        backend,
        host=host or backend.host,
        port=_port(port) or _port(query.get("port", "").partition(",")[0]) or backend.port,
        dbname=query.get("dbname") or backend.dbname,
        user=query.get("user") or backend.user,
        password=Secret(query["password"]) if query.get("password") else backend.password,
        sslmode=_sslmode(query.get("sslmode", "")),
    )


def _sqlite_path(name: str, cwd: str) -> str:
    # Three slashes are a relative path, four an absolute one: the first belongs to the URI.
    path = name.removeprefix("file:")
    if path in ("", ":memory:"):
        return ""
    absolute = Path(cwd, path)
    return str(absolute) if absolute.is_absolute() else ""


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return port if port < 65536 else 0


def _sslmode(text: str) -> str:
    return text if text in SSL_MODES else ""
