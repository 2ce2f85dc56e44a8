"""Finds the tracking server that runs on this machine: its processes, where it listens, its backend."""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.secret import Secret


@dataclass(frozen=True, slots=True)
class Backend:
    """The backend store that the server was started with.

    `dialect` is `postgresql`, `sqlite`, `mysql`, `mariadb`, `mssql`, `file` or `other`. From the URI only
    these fields are taken, never file paths or options of the driver: an environment is somebody else's
    input. `path` is for sqlite alone, absolute.
    """

    dialect: str
    host: str = ""
    port: int = 0
    dbname: str = ""
    user: str = ""
    password: Secret = field(default=Secret(""))
    sslmode: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What the plan needs to know of the server; equal as long as no part has to be rebuilt.

    `host` and `port` are where a local client reaches it (a wildcard address becomes loopback), `scheme` is
    `http` or `https`, `static_prefix` is empty or starts with `/`, `kind` is `uvicorn`, `gunicorn` or
    `waitress`. `backend` is None where it could not be read.
    """

    host: str
    port: int
    scheme: str = "http"
    static_prefix: str = ""
    kind: str = "uvicorn"
    basic_auth: bool = False
    backend: Backend | None = None
