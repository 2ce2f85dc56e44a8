"""What is known of the tracking server on this machine, and how it is read from its processes."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.backend import Backend, backend_of, with_libpq_environment
from exporter.host import cgroup, commands, processes
from exporter.host.processes import TICKS
from exporter.host.servers import BACKEND, Server, version
from exporter.host.sockets import Address

STATIC_PREFIX = "_MLFLOW_STATIC_PREFIX"
# Set by MLflow where job execution is on and can work.
JOB_QUEUE = "_MLFLOW_HUEY_STORAGE_PATH"

# SQLAlchemy's QueuePool, which MLflow takes for everything but SQLite in memory.
POOL_SIZE = 5
MAX_OVERFLOW = 10


@dataclass(frozen=True, slots=True)
class Found:
    """What the plan needs to know of the server; equal as long as no part has to be rebuilt.

    `host` and `port` are where a local client reaches it (a wildcard address becomes loopback; IPv6 is without
    brackets), `scheme` is `http` or `https`, `static_prefix` is empty or starts with `/`, `kind` is `uvicorn`,
    `gunicorn` or `waitress`. `backend` is None where it could not be read. `trusted`: it is of our own user, or
    of the one that the settings name, so that a credential may be sent to it.
    """

    host: str
    port: int
    scheme: str = "http"
    static_prefix: str = ""
    kind: str = "uvicorn"
    basic_auth: bool = False
    backend: Backend | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process of the server. `started`, in clock ticks since boot, tells it from a later one with its pid.

    `role` is `parent`, `supervisor`, `worker`, `job_runner`, `consumer`, `job`, `resource_tracker` or `other`.
    Workers have a `slot`, from 0, which their replacement takes over.
    """

    pid: int
    started: int
    role: str
    slot: int | None = None
    orphaned: bool = False

    @property
    def identity(self) -> tuple[int, int]:
        return (self.pid, self.started)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look has seen. `found` is None while there is no server, or several and no way to choose.

    `problems` are sentences for people, without secrets. `key` differs between two starts of the server. What
    cannot be read is None: `workers_configured`, `started` (Unix time), `pool_capacity` (connections that one
    SQLAlchemy engine of a worker may open; also None where it is unlimited), `jobs` (job execution is on).
    `sockets` are the inodes of the listening socket, where it was seen. `version` is MLflow's, or empty.
    `elsewhere`: the server is known to be in another network namespace.
    """

    found: Found | None = None
    processes: tuple[ServerProcess, ...] = ()
    problems: tuple[str, ...] = ()
    ambiguous: bool = False
    key: str = ""
    workers_configured: int | None = None
    started: float | None = None
    pool_capacity: int | None = None
    jobs: bool | None = None
    socket: int | None = None
    version: str = ""
    elsewhere: bool = False

    @property
    def head(self) -> int | None:
        """The process whose view of network and limits is the server's."""
        first = [one.pid for one in self.processes if one.role == "supervisor"]
        return next(iter(first or [one.pid for one in self.processes if one.role == "worker"]), None)


def sight(proc: Path, server: Server, user: str) -> Sighting:
    """Read what stays true as long as this server runs; its processes are left out.

    `user` is the setting: naming the server's owner there allows using the URI on a command line that all can
    read. Without it, another user's word is not enough to connect to a database.
    """
    environ = _environ(server)
    boot = processes.boot_time(proc)
    named = user in (user_name(server.owner), str(server.owner))
    trusted = named or server.owner == os.geteuid()
    backend = _backend(proc, server, environ, trusted, named)
    front = server.frontend
    parent = server.parent.argv if server.parent else ()
    prefix = (
        environ.get(STATIC_PREFIX, "") if environ is not None else commands.option(parent, "--static-prefix")
    )
    found = Found(
        host=_reachable(server.listener.address),
        port=server.listener.port,
        scheme=front.scheme,
        static_prefix=prefix.rstrip("/") if prefix.startswith("/") else "",
        kind=front.kind,
        basic_auth=front.basic_auth,
        backend=backend,
        trusted=trusted,
    )
    return Sighting(
        found=found,
        key=server.key,
        workers_configured=front.workers,
        started=boot + server.head.stat.started / TICKS if boot and not server.headless else None,
        pool_capacity=pool_capacity(environ, backend) if environ is not None else None,
        jobs=JOB_QUEUE in environ if environ is not None else None,
        socket=server.listener.inode if server.readable else None,
        version=version(proc, server),
        elsewhere=processes.shares(proc, server.head.stat.pid, "net") is False,
        problems=tuple(_problems(proc, server, backend, trusted, named)),
    )


def pool_capacity(environ: Mapping[str, str], backend: Backend | None) -> int | None:
    """Return how many connections one SQLAlchemy engine may open; None where unlimited or of an unknown kind."""
    if backend is None or backend.dialect in ("file", "other"):
        return None
    if environ.get("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "QueuePool") not in ("", "QueuePool"):
        return None
    try:
        # MLflow passes these on only where they are true, so that 0 leaves SQLAlchemy's default.
        size = int(environ.get("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE") or 0) or POOL_SIZE
        overflow = int(environ.get("MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW") or 0) or MAX_OVERFLOW
    except ValueError:
        return None
    # Beyond this it is no pool's size, and could be too large a number for a sample.
    return size + overflow if 0 < size < 100_000 and 0 <= overflow < 100_000 else None


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one that has no name here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def orphan_problems(server: Server) -> Iterator[str]:
    if server.orphans:
        pids = ", ".join(str(one.pid) for one in server.orphans)
        yield (
            f"The supervisor of worker processes {pids} is gone, and they still hold their port: they are not "
            "replaced when they die, and a new server cannot listen there until they are ended."
        )


def _environ(server: Server) -> Mapping[str, str] | None:
    """Return the environment, unless something has written over it, as setproctitle does."""
    environ = server.head.environ
    return environ if environ is not None and (server.head.marked or not server.parent) else None


def _backend(
    proc: Path, server: Server, environ: Mapping[str, str] | None, trusted: bool, named: bool
) -> Backend | None:
    uri = (environ or {}).get(BACKEND, "")
    if not uri and server.parent and (named or server.head.environ is not None):
        uri = commands.option(server.parent.argv, "--backend-store-uri")
    if not uri:
        return None
    backend = backend_of(uri, processes.cwd(proc, server.head.stat.pid))
    if backend.dialect == "sqlite" and (
        not trusted or processes.shares(proc, server.head.stat.pid, "mnt") is False
    ):
        # Who only poses as a server could name any file that root may read; elsewhere the same path is another file.
        return replace(backend, path="")
    return with_libpq_environment(backend, environ or {}, user_name(server.owner))


def _problems(
    proc: Path, server: Server, backend: Backend | None, trusted: bool, named: bool
) -> Iterator[str]:
    owner = user_name(server.owner)
    if not server.readable:
        its, ours, remedy = _unreadable(proc, server)
        yield (
            f"The server belongs to {its} and this exporter runs as {ours}, which cannot read its descriptors and "
            f"environment: connections per worker, pool capacity and MLflow's version are missing; {remedy}."
        )
        if not named and server.owner == os.geteuid():
            yield "Its backend store is not known for the same reason: until then set database.dsn."
        elif not named:
            yield (
                "Its backend store is not used, since another user could have made it up: set server.user to "
                f"{owner} to trust its command line, or set database.dsn."
            )
        elif backend is None:
            yield "Its command line does not name the backend store: set database.dsn."
    head = server.head.stat.pid
    if cgroup.grouped(proc, head) and not any(cgroup.group(proc, head, what) for what in ("memory", "cpu")):
        yield (
            "The files of its control group cannot be read: memory and CPU limits, throttling and kills for want of "
            "memory are missing; let the exporter see /sys/fs/cgroup of the server's machine or container."
        )
    if backend and backend.dialect == "sqlite" and not trusted:
        yield f"Its SQLite file is not opened, since another user names it: set server.user to {owner} to allow it."
    elif backend and backend.dialect == "sqlite" and not backend.path:
        yield (
            "Its SQLite file is in memory, in a directory that cannot be read, or in a container's own files: "
            "nothing of it is measured."
        )


def _unreadable(proc: Path, server: Server) -> tuple[str, str, str]:
    """Return who the server and who the exporter is, as far as they differ, and what to do about it.

    Linux wants both the user and the group to be the process's, and no capability less than it has.
    """
    owner, us = user_name(server.owner), user_name(os.geteuid())
    if server.owner != os.geteuid():
        remedy = "root" if server.owner == 0 else f"{owner} or as root"
        return owner, us, f"run the exporter as {remedy}"
    group = processes.group(proc, server.head.stat.pid)
    if group not in (None, os.getegid()):
        return (
            f"{owner} with group {group}",
            f"{us} with group {os.getegid()}",
            f"run the exporter with group {group}, too (Group= of a unit, runAsGroup of a container)",
        )
    return (
        owner,
        us,
        "it has capabilities that the exporter has not, or a policy guards it (AppArmor, SELinux): start the server "
        "without capabilities, or the exporter as root",
    )


def _reachable(address: Address) -> str:
    if not address.is_unspecified:
        return str(address)
    return "127.0.0.1" if address.version == 4 else "::1"
