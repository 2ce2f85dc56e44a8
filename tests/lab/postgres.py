"""A Postgres of any major with MLflow's database in it, and PgBouncer before it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from exporter import rights
from tests.lab import tools
from tests.lab.process import UNPRIVILEGED, Server, ServerError

MAJORS = (13, 14, 15, 16, 17, 18)
PASSWORDS = {"postgres": "super-Zq81", "mlflow": "mlflow-Zq82", "exporter": "exporter-Zq83"}
TEMPLATE = "mlflow_template"

# What the exporter's role has, as on a managed service: nothing of it allows a write.
GRANTS = tuple(
    rights.filled(one, {"role": "exporter", "store": "public"})
    for one in (f"GRANT {rights.MANAGED} TO {{role}}", rights.STORE)
)
# What changes when these do has to be made anew.
MADE_BY = (__file__, rights.__file__)

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_preload_libraries": "pg_stat_statements",
    "track_io_timing": "on",
    "fsync": "off",  # a crash of this machine may cost a test's database, and a disk's speed no test's result
    "dynamic_shared_memory_type": "mmap",  # in its directory, so a killed one leaves nothing in /dev/shm
    "log_line_prefix": "%m [%p] %u@%d %e ",
}


class Postgres(Server):
    """A cluster with the roles `postgres` (superuser), `mlflow` and `exporter` (monitoring only), by password.

    `settings` go into postgresql.conf, so ALTER SYSTEM and a reload can change them as on a real server.
    The cluster is copied from one with a migrated database, made once per major and MLflow version, or from
    `cluster`, the directory of a stopped one (tests/lab/bigdata.py makes some).
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # Postgres' fast shutdown; SIGTERM would wait for its clients to leave

    def __init__(
        self,
        major: int = 15,
        settings: Mapping[str, str] | None = None,
        port: int = 0,
        prepared: bool = True,
        cluster: Path | None = None,
    ) -> None:
        self.major = major
        self.cluster = cluster
        self.bin = tools.postgres_bin(major)
        self.prepared = prepared
        # A gigabyte is no thing for a /tmp in memory, nor can its disk then be slow; and below the cache it came
        # from a copy shares its blocks, where the file system can do that.
        super().__init__(port, user=UNPRIVILEGED, below=cluster.parent if cluster else None)
        self.data = self.directory / "data"
        # Linux takes 107 bytes for a socket's path; below a deep temporary directory there is none.
        sockets = str(self.directory) if len(str(self.directory)) < 80 else ""
        self.settings = SETTINGS | {"unix_socket_directories": sockets} | dict(settings or {})

    def command(self) -> list[str]:
        return [str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port)]

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}

    def ready(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        # Our data directory, so our process: another server might have got the port first.
        return (self.data / "postmaster.pid").read_text().startswith(f"{self.pid}\n")

    def start(self) -> None:
        if not self.data.exists():
            if self.prepared:
                copy(self.cluster or prepare(self.major), self.data)
                self.own(self.data, *self.data.rglob("*"))
            else:
                self._initdb()
            self.configure(self.settings)
        super().start()

    def close(self) -> None:
        self.stop()
        if (
            left := self.data / "postmaster.pid"
        ).exists():  # killed: nobody else removes its System V segment
            subprocess.run(["ipcrm", "-m", left.read_text().splitlines()[6].split()[1]], check=False)
        super().close()

    def configure(self, settings: Mapping[str, str]) -> None:
        """Append to postgresql.conf; the last line of a name counts."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def dsn(self, user: str = "postgres", dbname: str = "postgres", password: str | None = None) -> str:
        """Return a URI; without a password, that of the role."""
        secret = PASSWORDS.get(user, "") if password is None else password
        return f"postgresql://{user}:{quote(secret, safe='')}@127.0.0.1:{self.port}/{dbname}"

    def connect(
        self, user: str = "postgres", dbname: str = "postgres"
    ) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.dsn(user, dbname), autocommit=True)

    def execute(
        self, query: str, *params: object, dbname: str = "postgres", user: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement in a new connection, outside any transaction; returns its rows, if it has any."""
        with contextlib.closing(self.connect(user, dbname)) as connection:
            cursor = connection.execute(query.encode(), params or None)
            return cursor.fetchall() if cursor.description is not None else []

    def create_mlflow(self, dbname: str = "mlflow") -> str:
        """Create a database as a tracking server migrates it; returns the backend store URI of role `mlflow`.

        That of a `cluster` is there already.
        """
        if not self.cluster:
            self.execute(f"CREATE DATABASE {dbname} TEMPLATE {TEMPLATE} OWNER mlflow")
        return self.dsn("mlflow", dbname)

    def create_database(self, dbname: str) -> str:
        """Create an empty database of role `mlflow`; returns its URI."""
        self.execute(f"CREATE DATABASE {dbname} OWNER mlflow")
        return self.dsn("mlflow", dbname)

    def drop(self, dbname: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {dbname} WITH (FORCE)")

    def _initdb(self) -> None:
        secret = self.directory / "password"
        secret.write_text(PASSWORDS["postgres"])
        self.own(secret)
        how = ["--no-sync", "--auth=scram-sha-256", "--username=postgres", "--locale=C", "--encoding=UTF8"]
        self.run([self.bin / "initdb", *how, f"--pwfile={secret}", "-D", self.data])


class PgBouncer(Server):
    """A pooler before a Postgres; each role logs in with its own password on both sides."""

    name = "pgbouncer"

    def __init__(self, postgres: Postgres, settings: Mapping[str, str] | None = None, port: int = 0) -> None:
        self.postgres = postgres
        self.settings = {"pool_mode": "transaction"} | dict(settings or {})
        self.binary = tools.program("pgbouncer")
        super().__init__(port, user=UNPRIVILEGED)

    def command(self) -> list[str]:
        return [str(self.binary), str(self._configuration())]

    def environment(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": tools.library_path()}

    def ready(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.dsn("postgres", "postgres"), connect_timeout=2).close()
            return True
        return False

    def dsn(self, user: str = "mlflow", dbname: str = "mlflow") -> str:
        return f"postgresql://{user}:{PASSWORDS[user]}@127.0.0.1:{self.port}/{dbname}"

    def _configuration(self) -> Path:
        users = self.directory / "users.txt"
        users.write_text("".join(f'"{role}" "{secret}"\n' for role, secret in PASSWORDS.items()))
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(users),
            "admin_users": "postgres",
            "max_client_conn": "500",
        } | self.settings
        file = self.directory / "pgbouncer.ini"
        file.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.postgres.port}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in settings.items())
        )
        self.own(users, file)
        return file


def prepare(major: int) -> Path:
    """Return a stopped cluster's directory with roles and a migrated template database; made when missing."""
    name = f"postgres-{major}-mlflow-{tools.mlflow_version()}-{digest(*MADE_BY)}"
    return keep(name, lambda: Postgres(major, prepared=False), _populate)


def digest(*files: str) -> str:
    """Return what changes with these modules, for the names of what they make."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:8]


def keep(name: str, new: Callable[[], Postgres], populate: Callable[[Postgres], None]) -> Path:
    """Return the cached stopped cluster of that name; when missing, made from a new one that is populated.

    One process makes it, others wait meanwhile.
    """
    cache = tools.TOOLS / "cache"
    ready = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            made = Path(tempfile.mkdtemp(dir=cache))
            try:
                with new() as server:
                    populate(server)
                    server.stop()
                    copy(server.data, made / "data")
                (made / "data").rename(ready)
            finally:
                shutil.rmtree(made)
    return ready


def _populate(server: Postgres) -> None:
    for role in ("mlflow", "exporter"):
        server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORDS[role]}'")
    uri = server.create_database(TEMPLATE)
    server.execute("CREATE EXTENSION pg_stat_statements", dbname=TEMPLATE)
    # What a tracking server does at its first start, without the server.
    create = (
        "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore;"
        "SqlAlchemyStore(sys.argv[1], 'mlflow-artifacts:/')"
    )
    done = subprocess.run(
        [tools.mlflow().parent / "python", "-c", create, uri],
        env=os.environ
        | {"MLFLOW_DISABLE_TELEMETRY": "true"}
        | dict.fromkeys(("HOME", "TMPDIR"), str(server.directory)),  # it leaves files in both
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"the database was not migrated:\n{done.stdout}{done.stderr}")
    for grant in GRANTS:
        server.execute(grant, dbname=TEMPLATE)


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
