"""How the exporter reaches the database: a libpq connection string that no log or error ever shows."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from exporter.collector import Reason, SourceError
from exporter.discovery import Backend
from exporter.exhausted import exhausted
from exporter.secret import Secret
from exporter.sources import command
from exporter.sources.facts import quoted

ALWAYS: dict[str, str | int] = {
    "application_name": "mlflow-exporter",
    "client_encoding": "UTF8",
    # A peer that vanishes without a word is noticed in 25 s idle, and in 30 s while we wait for an answer.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# What a DSN may say otherwise. Startup options are refused by PgBouncer, and PGOPTIONS could bring some.
UNLESS_GIVEN: dict[str, str | int] = {"options": ""}

# An address found in another process's environment gets no credential that this user keeps for other servers.
# The password file is none: libpq warns of one that is a device, and passes over one that cannot be there.
# Nor is Kerberos spoken there. At a Unix socket the server knows our user from the kernel: where another user names the
# socket, that must not be enough to be let in, so a password has to be asked for.
STRANGER = {"passfile": "/dev/null/none", "sslcertmode": "disable", "gssencmode": "disable"}
ASKED = "scram-sha-256,md5,password"

# A URI whose password was not encoded: libpq takes what follows its @ / or ? for something that may be shown.
MISREAD = re.compile(r"\w+://(?:[^/?]*@[^/?]*@|[^/?]*[/?].*@)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """A database to watch, equal as long as a kept connection to it still serves.

    `options` are libpq's own, of which some are secrets as well (`sslpassword`); the password comes from `password`,
    `password_file` or `password_command`, in that order, and the last two are read at each connect.
    """

    options: tuple[tuple[str, str], ...] = field(repr=False)
    password: Secret = field(default=Secret(""))
    password_file: str = ""
    password_command: tuple[str, ...] = ()

    @classmethod
    def from_dsn(cls, dsn: Secret, password: Secret, password_file: str, command: tuple[str, ...]) -> Target:
        """Read a libpq URI or key=value string; raises SourceError, which never quotes it."""
        # MLflow's own URI may name SQLAlchemy's driver, which libpq does not know.
        text = re.sub(r"\Apostgres(?:ql)?\+\w+://", "postgresql://", dsn.reveal())
        try:
            options = {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}
        except ProgrammingError:
            options = {}
        if MISREAD.match(text) or not _sound(options):
            raise SourceError(
                Reason.BAD_ANSWER,
                "database.dsn is not a libpq connection string",
                "Write postgresql://USER@HOST:5432/DBNAME or host=HOST dbname=DBNAME user=USER, with characters "
                "such as @ : / in a URI's password percent-encoded, or the password in database.password_file.",
            )
        inline = Secret(options.pop("password", ""))
        return cls(tuple(sorted(options.items())), password or inline, password_file, command)

    @classmethod
    def from_backend(cls, backend: Backend, trusted: bool = True) -> Target:
        """Take a server's own; `trusted` says that it is of our own user, or of one that the settings name."""
        by_socket = not backend.host or backend.host.startswith("/")
        options = {
            "host": backend.host,
            "port": str(backend.port or 5432),
            "dbname": backend.dbname,
            "user": backend.user,
            "sslmode": backend.sslmode,
            "require_auth": ASKED if by_socket and not trusted else f"{ASKED},none",
        }
        given = {key: value for key, value in options.items() if value}
        return cls(tuple(sorted((given | STRANGER).items())), backend.password)

    @property
    def place(self) -> str:
        """`user@host:port/dbname`, for people."""
        return f"{dict(self.options).get('user', '')}@{self.address}"

    @property
    def address(self) -> str:
        """`host:port/dbname`, for everybody."""
        options = dict(self.options)
        host = options.get("host") or options.get("hostaddr") or "localhost"
        return f"{host}:{options.get('port', '5432')}/{options.get('dbname', '')}"

    def exact(self, error: SourceError) -> SourceError:
        """Return an error whose remedy names our role where it says `{role}`."""
        user = dict(self.options).get("user")
        role = quoted(user) if user else "the exporter's role"
        return SourceError(error.reason, error.detail, error.remedy.replace("{role}", role))

    def conninfo(self) -> bytes:
        """Return what libpq takes, with the password in it; raises SourceError where that cannot be read."""
        password = self._password()
        # Empty means none: without it libpq would take PGPASSWORD, which is meant for another server.
        options = UNLESS_GIVEN | dict(self.options) | ALWAYS | {"password": password}
        return make_conninfo("", **options).encode()

    def _password(self) -> str:
        if self.password:
            return self.password.reveal()
        if self.password_file:
            try:
                return Path(self.password_file).read_text(encoding="utf-8").strip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise _no_password("database.password_file", error) from None
        if self.password_command:
            try:
                return command.output(self.password_command).strip("\r\n")
            except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
                raise _no_password("database.password_command", error) from None
        return ""


def _sound(options: dict[str, str]) -> bool:
    """Say whether host, port and database are what they look like.

    libpq reads `u:p@ss@host` and `u:p/ss@host` without complaint, with the rest of the password as host or
    database: it would show wherever these are shown.
    """
    return (
        bool(options)
        and re.fullmatch(r"[\w.:%/,-]*", options.get("host", "")) is not None
        and re.fullmatch(r"[\d,]*", options.get("port", "")) is not None
        and re.search(r"[@/:]", options.get("dbname", "")) is None
    )


def _no_password(key: str, error: Exception) -> SourceError:
    remedy = "Make the password readable for the exporter's user."
    return exhausted(error) or SourceError(Reason.PERMISSION, f"{key}: {type(error).__name__}", remedy)
