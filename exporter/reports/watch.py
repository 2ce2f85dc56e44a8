"""Reads a database and the server's workers at the two ends of a while, and what is seen once a second between."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from exporter.collector import Query, SourceError
from exporter.collectors.schema import Schema
from exporter.discovery import Discovery
from exporter.host import processes, sockets
from exporter.sources.facts import Facts
from exporter.sources.pipeline import Row
from exporter.sources.postgres import PostgresSession, PostgresSource
from exporter.statements.slowest import Slow, obstacle, slowest

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
PLANNED = 10
# The search for running runs may read all of `runs`: 74 ms for a million.
WRITERS_SECONDS = 5.0


@dataclass(slots=True)
class Watch:
    """What was read.

    `began` is Unix milliseconds. `cpu` is seconds by worker, None where none can be read. `clients` is the most
    open connections at once by address.
    `plans` holds the answer to each statement of `planned`, as JSON text; empty where it could not be asked.
    """

    facts: Facts | None = None
    began: int = 0
    seconds: float = 0.0
    before: list[Slow] = field(default_factory=list)
    after: list[Slow] = field(default_factory=list)
    hidden: int = 0
    planned: list[Slow] = field(default_factory=list)
    plans: str = ""
    tables: Sequence[Row] = ()
    schema: Sequence[Row] = ()
    writers: tuple[Sequence[Row], Sequence[Row]] = ((), ())
    sessions: list[Sequence[Row]] = field(default_factory=list)
    cpu: dict[tuple[int, int], float] | None = None
    clients: Counter[str] = field(default_factory=Counter)
    problems: dict[str, SourceError] = field(default_factory=dict)

    def attempt(self, subject: str, read: Callable[[], T]) -> T | None:
        """Return what it reads; a failure is a problem of the subject."""
        try:
            return read()
        except SourceError as error:
            self.problems.setdefault(subject, error)
            return None


def watch(source: PostgresSource, discovery: Discovery, seconds: float) -> Watch:
    """Read for that long; raises SourceError where the database cannot be read at all."""
    at_first, started = _cpu(discovery), time.monotonic()
    seen = Watch(began=int(time.time() * 1000))
    seen.before, first = _end(seen, source, [])
    while (left := started + seconds - time.monotonic()) > 0:
        time.sleep(min(1.0, left))
        _glance(seen, source, discovery)
    at_last, seen.seconds = _cpu(discovery), time.monotonic() - started
    seen.after, last = _end(seen, source, [str(row["run"]) for row in first], plan=True)
    seen.writers = (first, last)
    if at_last:
        seen.cpu = {one: used - (at_first or {}).get(one, 0.0) for one, used in at_last.items()}
    return seen


def _end(
    seen: Watch, source: PostgresSource, runs: list[str], plan: bool = False
) -> tuple[list[Slow], Sequence[Row]]:
    """Read what is read at both ends of the while; at the second one plan the slowest statements too."""
    wanted = [
        Query("statements_slowest", (), PATIENCE_SECONDS),
        Query("plan_tables"),
        *Schema.wanted(),
        Query("writers", (seen.began, runs), WRITERS_SECONDS),
    ]
    session = source.open(wanted, time.monotonic() + PATIENCE_SECONDS)
    try:
        seen.facts = session.facts
        rows = seen.attempt("statements", lambda: session.rows("statements_slowest")) or []
        found = slowest(rows)
        seen.hidden = sum(row["queryid"] is None for row in rows)
        seen.attempt("tables", session.facts.require_store)
        if "tables" in seen.problems:
            return found, []
        seen.tables = seen.attempt("tables", lambda: session.rows("plan_tables")) or []
        seen.schema = seen.attempt("schema", lambda: session.rows("schema")) or []
        if plan:
            _plan(seen, session, found)
        return found, seen.attempt("writers", lambda: session.rows("writers")) or []
    finally:
        source.settle()


def _plan(seen: Watch, session: PostgresSession, found: list[Slow]) -> None:
    chosen = [slow for slow in found if not obstacle(slow)][:PLANNED]
    if not chosen:
        return
    seen.attempt("plans", session.facts.require_planning)
    if "plans" in seen.problems:
        return
    rows = seen.attempt("plans", lambda: session.ask("explain", [slow.text for slow in chosen]))
    if rows:
        seen.planned, seen.plans = chosen, str(rows[0]["mlflow_db_plans"])


def _glance(seen: Watch, source: PostgresSource, discovery: Discovery) -> None:
    def sessions() -> Sequence[Row]:
        session = source.open([Query("explain_sessions")], time.monotonic() + PATIENCE_SECONDS)
        try:
            return session.rows("explain_sessions")
        finally:
            source.settle()

    if (rows := seen.attempt("sessions", sessions)) is not None:
        seen.sessions.append(rows)
    for address, count in _clients(discovery).items():
        seen.clients[address] = max(seen.clients[address], count)


def _cpu(discovery: Discovery) -> dict[tuple[int, int], float] | None:
    """Return the CPU seconds of each worker; None where there is none on this machine."""
    found = {}
    for one in discovery.look().processes:
        if one.slot is not None and (stat := processes.stat(discovery.proc, one.pid)):
            found[stat.identity] = stat.cpu_seconds
    return found or None


def _clients(discovery: Discovery) -> Counter[str]:
    """Count the open connections to the server by the address at the other end."""
    sighting = discovery.look()
    if sighting.found is None or sighting.head is None:
        return Counter()
    tcp = sockets.tables(discovery.proc, sighting.head)
    return (
        Counter(str(one.remote) for one in tcp.connections({sighting.found.port}, ())) if tcp else Counter()
    )
