"""Finds the tracking servers among all processes, and the processes that belong to one."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporter.host import commands, processes, sockets
from exporter.host.commands import Frontend
from exporter.host.processes import Stat
from exporter.host.sockets import Listener

# MLflow puts these into the environment of all that it starts. The first, since 3.17, differs between starts.
BOOT_ID = "_MLFLOW_SERVER_BOOT_ID"
BACKEND = "_MLFLOW_SERVER_FILE_STORE"
KIND = "_MLFLOW_SGI_NAME"
MARKS = frozenset((BOOT_ID, BACKEND, KIND))
AUTH = "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED"

VERSION = re.compile(r"mlflow-([0-9][0-9A-Za-z.+!_]{0,40})\.dist-info")


@dataclass(frozen=True, slots=True)
class Process:
    stat: Stat
    argv: tuple[str, ...]
    environ: Mapping[str, str] | None = field(repr=False)

    @property
    def marked(self) -> bool:
        return bool(self.environ and MARKS & self.environ.keys())


@dataclass(frozen=True, slots=True)
class Server:
    """A tracking server that listens.

    `key` differs between any two starts of a server. `head` is the process that owns the others: the
    supervisor, or, `headless`, the first of the `orphans`: workers that have outlived their supervisor and
    still hold the socket. `parent` is the `mlflow server` command, where one waits for the supervisor.
    `holds_socket` says that the head was seen to hold the listening socket: another user's is only known from
    the port on its command line. `mates` are more processes of the same start; they need not be descendants.
    """

    key: str
    head: Process
    frontend: Frontend
    listener: Listener
    owner: int
    holds_socket: bool
    parent: Process | None = None
    orphans: tuple[Stat, ...] = ()
    mates: tuple[Stat, ...] = ()

    @property
    def headless(self) -> bool:
        return self.head.stat in self.orphans


def servers(proc: Path, remembered: Collection[tuple[int, int]] = (), port: int = 0) -> list[Server]:
    """Walk all processes once and return the servers, complete ones first.

    `remembered` are identities of workers known from before, and `port` is where they listened: another
    user's worker cannot be told from other forked Python processes once its supervisor is gone.
    """
    ours = {one.stat.pid: one for one in _candidates(proc)}
    complete: list[Server] = []
    for one in ours.values():
        frontend = commands.frontend(one.argv, one.marked)
        above = ours.get(one.stat.parent)
        # gunicorn's workers are forked and carry the command line of their master.
        if frontend and not (above and commands.frontend(above.argv, above.marked)):
            parent = above if above and commands.is_cli(above.argv) else None
            complete.extend(_server(proc, one, frontend, parent, ours.values()))
    keys = {server.key for server in complete}
    heads = {server.head.stat.pid for server in complete}
    orphaned = [
        one
        for one in ours.values()
        if (one.marked or one.stat.identity in remembered)
        and commands.is_forked_worker(one.argv)
        and one.stat.parent not in heads
        and (one.environ or {}).get(BOOT_ID) not in keys
    ]
    return complete + list(_orphan_groups(proc, orphaned, port))


def _candidates(proc: Path) -> Iterator[Process]:
    for pid in processes.pids(proc):
        argv = processes.command(proc, pid)
        if commands.may_be_ours(argv) and (stat := processes.stat(proc, pid)):
            yield Process(stat, argv, processes.environ(proc, pid))


def _server(
    proc: Path, head: Process, frontend: Frontend, parent: Process | None, ours: Iterable[Process]
) -> Iterator[Server]:
    """Yield the server, if it listens already."""
    owner = processes.owner(proc, head.stat.pid)
    listener, holds = _listener(proc, head.stat.pid, frontend.port, owner)
    if listener is None or owner is None:
        return
    boot = (head.environ or {}).get(BOOT_ID, "")
    yield Server(
        key=boot or f"{head.stat.pid}-{head.stat.started}",
        head=head,
        frontend=frontend,
        listener=listener,
        owner=owner,
        holds_socket=holds,
        parent=parent,
        mates=tuple(one.stat for one in ours if boot and (one.environ or {}).get(BOOT_ID) == boot),
    )


def _orphan_groups(proc: Path, orphaned: Sequence[Process], port: int) -> Iterator[Server]:
    groups: dict[tuple[str, int], list[tuple[Process, Listener, int]]] = {}
    for one in sorted(orphaned, key=lambda one: (one.stat.started, one.stat.pid)):
        owner = processes.owner(proc, one.stat.pid)
        listener, _ = _listener(proc, one.stat.pid, port, owner)
        if listener is not None and owner is not None:
            key = ((one.environ or {}).get(BOOT_ID, ""), listener.inode)
            groups.setdefault(key, []).append((one, listener, owner))
    for (boot, inode), members in groups.items():
        head, listener, owner = members[0]
        environ = head.environ or {}
        kind = environ.get(KIND, "")
        yield Server(
            key=boot or f"socket-{inode}",
            head=head,
            frontend=Frontend(
                kind if kind in commands.KINDS else "uvicorn", "", 0, None, "http", AUTH in environ
            ),
            listener=listener,
            owner=owner,
            holds_socket=head.environ is not None,
            orphans=tuple(one.stat for one, _, _ in members),
        )


def _listener(proc: Path, pid: int, port: int, owner: int | None) -> tuple[Listener | None, bool]:
    """Return the socket that the process listens on, and whether it was seen to hold it.

    Another user's descriptors cannot be read: then it is the socket of that user and of the port that the
    command line names.
    """
    held = processes.sockets(proc, pid)
    found = sockets.listeners(sockets.tables(proc, pid) or b"")
    if held is None:
        mine = [one for one in found if one.port == port and one.user == owner]
    else:
        mine = [one for one in found if one.inode in held]
    mine.sort(key=lambda one: (one.port != port, one.port, one.inode))
    return (mine[0] if mine else None, held is not None)


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
    for folder in _package_folders(proc, server):
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names are all that is wanted of hundreds of entries
        except OSError:
            continue
        for name in names:
            if found := VERSION.fullmatch(name):
                return found[1]
    return ""


def _package_folders(proc: Path, server: Server) -> Iterator[Path]:
    root = proc / str(server.head.stat.pid) / "root"
    for word in server.head.argv:
        if "/mlflow/server/" in word:  # uvicorn is given a file of the package
            yield root / word.partition("/mlflow/server/")[0].lstrip("/")
    interpreters = [one.argv[0] for one in (server.head, server.parent) if one and one.argv]
    folders = [root / word.lstrip("/") / "../.." for word in interpreters if word.startswith("/")]
    for folder in [*(Path(os.path.normpath(one)) for one in folders), root / "usr/local"]:
        for pattern in ("lib/python3*/site-packages", "lib/python3*/dist-packages"):
            yield from folder.glob(pattern)
