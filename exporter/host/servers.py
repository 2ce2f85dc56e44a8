"""Finds the tracking servers among all processes, and the processes that belong to one."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from exporter.host import commands, processes, sockets
from exporter.host.commands import Frontend
from exporter.host.processes import Stat
from exporter.host.sockets import Listener

# MLflow puts these into the environment of all that it starts. The first, since 3.17, differs between starts.
BOOT_ID = "_MLFLOW_SERVER_BOOT_ID"
BACKEND = "_MLFLOW_SERVER_FILE_STORE"
MARKS = frozenset((BOOT_ID, BACKEND, "_MLFLOW_SGI_NAME"))
AUTH = "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED"

# What is read of an environment, by all who read one; it may be anybody's, and of any size.
WANTED = frozenset(
    (
        *MARKS, AUTH, "_MLFLOW_STATIC_PREFIX", "_MLFLOW_HUEY_STORAGE_PATH",
        *(f"MLFLOW_SQLALCHEMYSTORE_{name}" for name in ("POOLCLASS", "POOL_SIZE", "MAX_OVERFLOW")),
        *("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE"),
        *("_MLFLOW_SERVER_REGISTRY_STORE", "MLFLOW_ENABLE_WORKSPACES", "GUNICORN_CMD_ARGS"),
    )
)  # fmt: skip

# Any user can start processes that look like a server's. More of one user are not looked at, so that nobody can
# fill our memory, nor hide anybody else's server; and so many tables of other users' network namespaces are read.
MOST_CANDIDATES = 1_000
MOST_STRANGERS = 50
# Nor can the directory of a package that somebody names be as large as it likes.
MOST_ENTRIES = 10_000
MOST_FOLDERS = 20

VERSION = re.compile(r"mlflow-([0-9][0-9A-Za-z.+!_]{0,40})\.dist-info")


@dataclass(frozen=True, slots=True)
class Process:
    stat: Stat
    argv: tuple[str, ...]
    environ: Mapping[str, str] | None = field(repr=False)

    @property
    def marked(self) -> bool:
        return bool(self.environ and MARKS & self.environ.keys())

    @property
    def boot_id(self) -> str:
        return (self.environ or {}).get(BOOT_ID, "")


@dataclass(frozen=True, slots=True)
class Server:
    """A tracking server that listens.

    `key` differs between any two starts of a server. `head` is the process that owns the others: the
    supervisor, or, `headless`, the first of the `orphans`: workers that have outlived their supervisor and
    still hold the socket. `parent` is the `mlflow server` command, where one waits for the supervisor.
    `mates` are more processes of the same start; they need not be descendants.
    """

    key: str
    head: Process
    frontend: Frontend
    listener: Listener
    owner: int
    parent: Process | None = None
    orphans: tuple[Stat, ...] = ()
    mates: tuple[Stat, ...] = ()

    @property
    def headless(self) -> bool:
        return self.head.stat in self.orphans

    @property
    def readable(self) -> bool:
        """Say whether this user may see the environment and the descriptors of the processes."""
        return self.head.environ is not None


def servers(proc: Path, remembered: Collection[tuple[int, int]] = (), port: int = 0) -> list[Server]:
    """Walk all processes once and return the servers, complete ones first.

    `remembered` are identities of workers known from before, and `port` is where they listened: another
    user's worker cannot be told from other forked Python processes once its supervisor is gone.
    """
    walk = _Walk(proc)
    complete = list(walk.complete())
    return complete + list(walk.orphan_groups(complete, remembered, port))


class _Walk:
    """All processes that may be MLflow's at one moment, and the sockets that they may hold."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._ours = {one.stat.pid: one for one in _candidates(proc)}
        self._listeners: dict[int, list[Listener]] = {}

    def complete(self) -> Iterator[Server]:
        """Yield the servers that have their supervisor and listen already."""
        for one in self._ours.values():
            frontend = commands.frontend(one.argv, one.marked)
            above = self._ours.get(one.stat.parent)
            # gunicorn's workers are forked and carry the command line of their master.
            if frontend is None or (above and commands.frontend(above.argv, above.marked)):
                continue
            owner = processes.owner(self._proc, one.stat.pid)
            listener = self._listener(one, frontend.port, owner)
            if listener and owner is not None:
                boot = one.boot_id
                yield Server(
                    key=boot or f"{one.stat.pid}-{one.stat.started}",
                    head=one,
                    frontend=frontend,
                    listener=listener,
                    owner=owner,
                    parent=above if above and commands.is_cli(above.argv) else None,
                    mates=tuple(mate.stat for mate in self._ours.values() if boot and mate.boot_id == boot),
                )

    def orphan_groups(
        self, complete: Collection[Server], remembered: Collection[tuple[int, int]], port: int
    ) -> Iterator[Server]:
        keys = {server.key for server in complete}
        heads = {server.head.stat.pid for server in complete}
        groups: dict[tuple[str, int], list[tuple[Process, Listener, int]]] = {}
        for one in sorted(self._ours.values(), key=lambda one: (one.stat.started, one.stat.pid)):
            known = one.marked or one.stat.identity in remembered
            led = one.stat.parent in heads or one.boot_id in keys
            if led or not known or not commands.is_forked_worker(one.argv):
                continue
            owner = processes.owner(self._proc, one.stat.pid)
            listener = self._listener(one, port, owner)
            if listener and owner is not None:
                groups.setdefault((one.boot_id, listener.inode), []).append((one, listener, owner))
        for (boot, inode), members in groups.items():
            head, listener, owner = members[0]
            environ = head.environ or {}
            yield Server(
                key=boot or f"socket-{inode}",
                head=head,
                # Only uvicorn's workers are forked this way, and its options went with the supervisor.
                frontend=Frontend("uvicorn", 0, None, "http", AUTH in environ),
                listener=listener,
                owner=owner,
                orphans=tuple(one.stat for one, _, _ in members),
            )

    def _listener(self, process: Process, port: int, owner: int | None) -> Listener | None:
        """Return the socket that the process listens on.

        Another user's descriptors cannot be read: then it is the socket of that user and of `port`, which its
        command line names.
        """
        pid = process.stat.pid
        # One reading for all servers of a network namespace; those of other users cannot be told.
        space = processes.namespace(self._proc, pid, "net") or -pid
        if space not in self._listeners:
            if space < 0 and sum(one < 0 for one in self._listeners) >= MOST_STRANGERS:
                return None
            tcp = sockets.tables(self._proc, pid)
            self._listeners[space] = tcp.listeners() if tcp else []
        held = processes.sockets(self._proc, pid)
        mine = [
            one
            for one in self._listeners[space]
            if (one.inode in held if held is not None else (one.port, one.user) == (port, owner))
        ]
        return min(mine, key=lambda one: (one.port != port, one.port, one.inode), default=None)


def _candidates(proc: Path) -> Iterator[Process]:
    seen: Counter[int | None] = Counter()
    for pid in processes.pids(proc):
        argv = processes.command(proc, pid)
        if commands.may_be_ours(argv) and (stat := processes.stat(proc, pid)):
            owner = processes.owner(proc, pid)
            seen[owner] += 1
            if seen[owner] <= MOST_CANDIDATES:
                yield Process(stat, argv, processes.environ(proc, pid, WANTED))


def tree(proc: Path, server: Server, known: Iterable[Stat] = ()) -> dict[int, tuple[Stat, tuple[int, ...]]]:
    """Return the server's living processes and the children of each: those `known` and all descendants.

    Cost grows with the server's own processes only.
    """
    start = [server.head.stat, *([server.parent.stat] if server.parent else [])]
    roots = {one.pid: one.started for one in (*server.mates, *server.orphans, *known, *start)}
    waiting = list(roots)
    found: dict[int, tuple[Stat, tuple[int, ...]]] = {}
    while waiting:
        pid = waiting.pop()
        # An exporter started by the same entry point can be a child of the server's command.
        if pid in found or pid == os.getpid():
            continue
        stat = processes.stat(proc, pid)
        if stat and roots.get(pid, stat.started) == stat.started:
            found[pid] = (stat, processes.children(proc, pid))
            for child in found[pid][1]:
                roots.pop(child, None)  # a child is ours whatever had its pid before
                waiting.append(child)
    return found


def role(proc: Path, server: Server, stat: Stat) -> str:
    """Return what a process of the server's tree is for."""
    if server.parent and stat.identity == server.parent.stat.identity:
        return "parent"
    if stat.identity in {one.identity for one in server.orphans}:
        return "worker"
    front = server.frontend
    if stat.identity == server.head.stat.identity:
        # Without several workers uvicorn forks none: the process that listens answers.
        alone = front.kind == "waitress" or (front.kind == "uvicorn" and front.workers in (None, 1))
        return "worker" if alone else "supervisor"
    argv = processes.command(proc, stat.pid)
    if background := commands.background_role(argv):
        return background
    if stat.parent == server.head.stat.pid and (front.kind == "gunicorn" or commands.is_forked_worker(argv)):
        return "worker"
    return "other"


def version(proc: Path, server: Server) -> str:
    """Return MLflow's version, as the package installed beside the server says; empty where unreadable."""
    root = f"{proc}/{server.head.stat.pid}/root"
    for folder, *patterns in _package_folders(server):
        for name in _matching(root + folder, *patterns, "mlflow-*.dist-info"):
            if found := VERSION.fullmatch(name):
                return found[1]
    return ""


def _package_folders(server: Server) -> Iterator[tuple[str, ...]]:
    """Yield folders in which MLflow may be, with patterns of what lies between."""
    for word in server.head.argv:
        if "/mlflow/server/" in word:  # uvicorn is given a file of the package
            yield (word.partition("/mlflow/server/")[0],)
    words = [one.argv[0] for one in (server.head, server.parent) if one and one.argv]
    environments = [word.rpartition("/bin/")[0] for word in words if word.startswith("/")]
    for folder in [*environments, "/usr/local"]:
        yield (f"{folder}/lib", "python3*", "*-packages")


def _matching(folder: str, pattern: str, *below: str) -> Iterator[str]:
    """Yield the names that match the last pattern, in folders that match those before it."""
    try:
        with os.scandir(folder) as entries:
            names = (entry.name for entry in islice(entries, MOST_ENTRIES))
            found = list(islice((name for name in names if fnmatchcase(name, pattern)), MOST_FOLDERS))
    except OSError:
        return
    for name in found:
        if below:
            yield from _matching(f"{folder}/{name}", *below)
        else:
            yield name
