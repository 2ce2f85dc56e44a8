"""Finds the tracking server that runs on this machine: its processes, where it listens, its backend."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from exporter.backend import Backend, backend_of
from exporter.host import processes
from exporter.host.processes import Stat
from exporter.host.servers import Server, role, servers, tree
from exporter.sighting import Found, ServerProcess, Sighting, orphan_problems, sight, user_name

__all__ = ["Backend", "Discovery", "Found", "ServerProcess", "Sighting", "backend_of"]

# While there is no server to keep an eye on, all processes are walked: for each scrape, and else that often at most.
WALK_SECONDS = 5.0
# So many servers are named where none can be chosen.
NAMED = 10


@dataclass(slots=True)
class _Known:
    """The server being watched, and what of it a cheap look compares."""

    server: Server
    sighting: Sighting
    members: dict[int, tuple[Stat, tuple[int, ...]]]


class Discovery:
    """Find the tracking server, and keep an eye on it at little cost.

    Of several servers it takes the one on `port` and of `user` (name or number), of ours where we are not root.
    All methods are safe to call from any thread.
    """

    def __init__(
        self,
        port: int | None = None,
        user: str = "",
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.proc = proc
        self._port = port
        self._user = user
        self._clock = clock
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._nothing = Sighting()
        self._walked = -WALK_SECONDS
        self._slots: dict[tuple[int, int], int] = {}

    def look(self, *, now: bool = False) -> Sighting:
        """Return what runs now. All processes are walked only when the server is gone, or none was known.

        Then what is returned may be some seconds old, unless it must be of `now`.
        """
        with self._lock:
            known = self._known
            if known is None:
                return self._walk() if now or self._walk_is_due() else self._nothing
            if not known.server.headless and processes.lives(self.proc, known.server.head.stat.identity):
                if not self._same(known):
                    known = self._known = self._watch(known.server, known.sighting, known.members.values())
                return known.sighting
            if known.server.headless and self._same(known) and not (now or self._walk_is_due()):
                return known.sighting
            return self._walk()

    def _walk_is_due(self) -> bool:
        return self._clock() - self._walked >= WALK_SECONDS

    def _same(self, known: _Known) -> bool:
        return all(
            processes.lives(self.proc, stat.identity) and processes.children(self.proc, pid) == children
            for pid, (stat, children) in known.members.items()
        )

    def _walk(self) -> Sighting:
        # What is known changes at the end only: a walk that breaks off for want of a descriptor has found out nothing.
        before = self._known
        workers = (
            [one.identity for one in before.sighting.processes if one.slot is not None] if before else []
        )
        port = before.server.listener.port if before else 0
        everybodys = servers(self.proc, workers, port)
        chosen = self._chosen(everybodys)
        if len(chosen) != 1:
            self._known, self._walked = None, self._clock()
            self._nothing = Sighting(
                ambiguous=len(chosen) > 1, problems=tuple(self._why_none(everybodys, len(chosen)))
            )
            return self._nothing
        (server,) = chosen
        if server.headless and before and server.orphans and set(workers) & _identities(server.orphans):
            # Only its supervisor is gone: what was read from it stays true.
            sighting = replace(before.sighting, problems=())
        else:
            if not server.headless:
                left = [stat for one in self._of_user(everybodys) if one.headless for stat in one.orphans]
                server = replace(server, orphans=tuple(left))
            sighting = sight(self.proc, server, self._user)
        problems = (*sighting.problems, *orphan_problems(server))
        self._known = self._watch(server, replace(sighting, problems=problems))
        self._walked = self._clock()
        return self._known.sighting

    def _watch(
        self, server: Server, sighting: Sighting, members: Iterable[tuple[Stat, tuple[int, ...]]] = ()
    ) -> _Known:
        now = tree(self.proc, server, [stat for stat, _ in members])
        orphans = _identities(server.orphans)
        roles = {stat: role(self.proc, server, stat) for stat, _ in now.values()}
        # Workers that another server has left behind have no slot of this one.
        own = [
            stat
            for stat, what in roles.items()
            if what == "worker" and (server.headless or stat.identity not in orphans)
        ]
        self._slots = slots(own, sighting.workers_configured, self._slots)
        found = tuple(
            ServerProcess(*stat.identity, what, self._slots.get(stat.identity), stat.identity in orphans)
            for stat, what in sorted(roles.items(), key=lambda item: (item[0].started, item[0].pid))
        )
        return _Known(server, replace(sighting, processes=found), now)

    def _chosen(self, found: list[Server]) -> list[Server]:
        """Return those that may be meant: a port that was given goes before whose server it is."""
        if self._port:
            return self._of_user([one for one in found if one.listener.port == self._port])
        candidates = self._of_user(found)
        return [one for one in candidates if not one.headless] or candidates

    def _of_user(self, found: list[Server]) -> list[Server]:
        if self._user:
            return [one for one in found if self._user in (user_name(one.owner), str(one.owner))]
        me = os.geteuid()
        # Root reads everybody's. Anybody else watches the own server, if there is one.
        return found if me == 0 else [one for one in found if one.owner == me] or found

    def _why_none(self, found: list[Server], chosen: int) -> Iterable[str]:
        if not found:
            if os.geteuid() and (how := processes.hidden(self.proc)):
                yield (
                    f"Other users' processes are hidden from this one (/proc is mounted with {how}): a tracking server "
                    "of another user is not found. Run the exporter as its user, or in the group that the mount's "
                    "option gid= names."
                )
            return
        what = "Several tracking servers run here"
        if self._port or self._user:
            wanted = [f"port {self._port}"] if self._port else []
            wanted += [f"user {self._user}"] if self._user else []
            count = "More than one tracking server has" if chosen else "No tracking server has"
            what = f"{count} {' and '.join(wanted)}; there are"
        places = sorted({(one.listener.port, one.owner) for one in found})
        names = ", ".join(f"port {port} (user {user_name(owner)})" for port, owner in places[:NAMED])
        if len(places) > NAMED:
            names += f" and {len(places) - NAMED} more"
        yield f"{what}: {names}. Set server.port, and server.user where ports are equal, to the one to watch."


def slots(
    workers: Iterable[Stat], configured: int | None, before: Mapping[tuple[int, int], int]
) -> dict[tuple[int, int], int]:
    """Give each worker a number: those that had one keep it, new ones take the lowest that is free.

    A number beyond the configured ones is given up as soon as a lower one is free: gunicorn starts new workers
    before it ends the old ones when it reloads.
    """
    living = sorted(workers, key=lambda one: (one.started, one.pid))
    limit = configured or len(living)
    given = {one.identity: before[one.identity] for one in living if before.get(one.identity, limit) < limit}
    free = (number for number in count() if number not in given.values())
    for one in living:
        if one.identity not in given:
            given[one.identity] = next(free)
    return given


def _identities(stats: Iterable[Stat]) -> set[tuple[int, int]]:
    return {one.identity for one in stats}
