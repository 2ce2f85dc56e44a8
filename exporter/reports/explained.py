"""What follows from a watch: what MLflow's slowest SELECTs read, which index would help, whether SQL is the wait."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from exporter import plans
from exporter.collector import Reason, SourceError
from exporter.collectors.plans import refusal
from exporter.plans import ADVISED, Scan, Table
from exporter.reports.terminal import printable
from exporter.reports.watch import Watch
from exporter.reports.writers import Writers, writers
from exporter.rights import MONITOR
from exporter.schema import audit, catalogue, found
from exporter.sources.facts import Facts, quoted
from exporter.sources.pipeline import Row
from exporter.statements.slowest import LIST, Slow, obstacle, since

# How sessions of the database's own machine are shown.
LOCAL = re.compile(r"(?:socket|127\..*|::1)\Z")
# Below it a tracking server is idle, and a share of nothing says nothing.
IDLE = 0.02
# Of what cannot be planned, writes above all, so many are named.
NOT_PLANNED = 10
# With less, sparing all of SQL would not be felt; with more than the second, it is most of the wait.
LITTLE, MOST = 0.2, 0.5
# Sessions that wait for a lock, on average: half of one is no queue of short writers.
BLOCKED = 0.5
# Of a core: a busiest worker below it keeps nobody waiting.
QUIET = 0.3


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read, why, and the exact statement or setting that mends it."""

    subject: str
    reason: Reason
    detail: str
    remedy: str

    @classmethod
    def of(cls, subject: str, error: SourceError) -> Problem:
        return cls(subject, error.reason, printable(error.detail, 400), error.remedy)


@dataclass(frozen=True, slots=True)
class Where:
    """Where the server's time went: seconds in SQL, CPU seconds of its workers, and what follows.

    `sql_seconds` is None where statements could not be read. `cpu_seconds` is None where no worker runs on this
    machine; then the share is of the time in which transactions were open, and is more than the truth. `share` is
    None where there was too little to tell; `helps` is false where sparing SQL would not be felt.
    """

    sql_seconds: float | None
    cpu_seconds: float | None
    busiest_worker: float | None
    share: float | None
    helps: bool
    says: str


@dataclass(frozen=True, slots=True)
class Read:
    """One table that a statement reads: by an index, or wholly; with what would spare that."""

    table: str
    rows: float | None
    bytes: float
    index: str
    expected_rows: float
    says: str = ""
    statement: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """One kind of statement. `share` is of all SQL of MLflow since statistics began, `recent_*` of the while.

    `reads` is None where it could not be planned; then there is a reason.
    """

    operation: str
    table: str
    share: float
    calls: int
    seconds: float
    recent_calls: int
    recent_seconds: float
    text: str
    reads: tuple[Read, ...] | None
    reason: Reason | None = None
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that `explain` says; `missing` are the statements that make the indexes of MLflow's own that are gone."""

    seconds: float
    version: str
    where: Where
    statements: tuple[Explained, ...]
    missing: tuple[str, ...]
    writers: Writers | None
    problems: tuple[Problem, ...]


def report_of(seen: Watch) -> Report:
    """Draw the conclusions; pure."""
    assert seen.facts is not None
    # Without the first reading nothing is known of the while.
    recent = dict.fromkeys(seen.after, (0, 0.0))
    if "statements" not in seen.problems:
        recent = since(seen.before, seen.after)
    problems = [Problem.of(subject, error) for subject, error in seen.problems.items()]
    if seen.hidden and not seen.after:
        role = quoted(seen.facts.role)
        remedy = MONITOR.format(role=role)
        detail = f"role {role} may not see the statements of other roles"
        problems.append(Problem("statements", Reason.PERMISSION, detail, remedy))
    wrote = None
    if "writers" not in seen.problems and "tables" not in seen.problems:
        wrote = writers(seen)
    return Report(
        seen.seconds,
        seen.facts.version,
        where(seen, None if "statements" in seen.problems else sum(used for _, used in recent.values())),
        tuple(_statements(seen, seen.facts, recent)),
        tuple(missing(seen.schema, seen.facts.store_schema)),
        wrote,
        tuple(problems),
    )


def missing(rows: Sequence[Row], schema: str) -> Iterator[str]:
    """Return what makes the indexes anew that this revision's migrations made; nothing for an unknown revision."""
    if not rows:
        return
    expected = catalogue().expected(str(rows[0]["revision"] or ""))
    for index in audit([found(row) for row in rows], expected).missing:
        unique = "UNIQUE " if index.unique else ""
        columns = ", ".join(quoted(one) if one.isidentifier() else one for one in index.columns)
        where = "  -- and its WHERE, from MLflow's migration" if index.partial else ""
        yield f"CREATE {unique}INDEX CONCURRENTLY ON {quoted(schema)}.{quoted(index.table)} ({columns});{where}"


def where(seen: Watch, sql: float | None) -> Where:
    """Compare SQL with what else the server did, and say whether sparing SQL would be felt."""
    if (waiting := _waiting(seen)) >= BLOCKED:
        says = (
            f"{waiting:.1f} sessions wait for a lock on average: that is where the time goes, and an index will "
            "not help. The runbook connections has the query that says who blocks whom."
        )
        return Where(sql, None, None, None, False, says)
    if sql is None:
        return Where(None, None, None, None, True, "Without statistics of statements it cannot be told.")
    if seen.cpu is not None:
        cpu = sum(seen.cpu.values())
        busiest = max(seen.cpu.values()) / seen.seconds
        share = sql / (sql + cpu) if sql + cpu > IDLE * seen.seconds else None
        return Where(sql, cpu, busiest, share, *_verdict(share, busiest, _hosts(seen)))
    states: Counter[str] = Counter()
    for sample in seen.sessions:
        for row in sample:
            states.update({name: int(str(row[name])) for name in ("active", "between_statements")})
    total = states.total()
    # Fewer than ten sightings are no share.
    share = states["active"] / total if total >= 10 else None
    return Where(sql, None, None, share, *_verdict(share, None, 0))


def _waiting(seen: Watch) -> float:
    """Return how many sessions waited for a lock on average; 0 where none could be seen."""
    counts = [sum(int(str(row["waiting"])) for row in sample) for sample in seen.sessions]
    return sum(counts) / len(counts) if counts else 0.0


def _verdict(share: float | None, busiest: float | None, hosts: int) -> tuple[bool, str]:
    if share is None:
        return (
            True,
            "MLflow did next to nothing meanwhile: repeat it under its usual load, or with a longer --for.",
        )
    of = "of the workers' busy time" if busiest is not None else "of the time of open transactions, at most"
    part = f"SQL is {share:.0%} {of}" if share >= 0.01 else f"SQL is less than 1% {of}"
    shared = (
        " SQL of servers on other machines counts too, so the true share is smaller." if hosts > 1 else ""
    )
    if share < LITTLE:
        if busiest is not None and busiest < QUIET:
            says = f"{part}, and the busiest worker uses {busiest:.0%} of a core"
            return False, f"{says}: nothing is slow for want of either, and an index will not help.{shared}"
        says = f"{part}: an index will not help. The time goes to Python"
        if busiest is not None and busiest > 0.8:
            says += (
                f", and the busiest worker uses {busiest:.0%} of a core: add workers or ask for smaller pages"
            )
        return False, f"{says}.{shared}"
    if share < MOST:
        return True, f"{part}: an index can spare no more than that.{shared}"
    return True, f"{part}: that is where the time goes.{shared}"


def _hosts(seen: Watch) -> int:
    """Count the machines from which sessions of the database come."""
    addresses = {str(row["address"]) for sample in seen.sessions for row in sample}
    return len({"here" if LOCAL.match(one) else one for one in addresses})


def _statements(seen: Watch, facts: Facts, recent: dict[Slow, tuple[int, float]]) -> list[Explained]:
    tables = plans.tables(seen.tables)
    given = plans.answers(seen.plans) if seen.plans else []
    answers = dict(zip(seen.planned, given, strict=True))
    # One GRANT for all that a right is missing for.
    denied = refusal(seen.planned, given, tables, facts) if _denied(given) else None
    total = sum(slow.seconds for slow in seen.after) or 1.0
    others = [slow for slow in seen.after if slow.table and slow not in answers][:NOT_PLANNED]
    found = []
    for slow in sorted((*answers, *others), key=lambda one: one.seconds, reverse=True):
        answer = answers.get(slow, _not_asked(slow))
        reads, why = None, None
        if not isinstance(answer, SourceError):
            reads = tuple(_reads(answer, tables))
        else:
            why = denied if denied and answer.reason is Reason.PERMISSION and slow in answers else answer
        figures = (slow.seconds / total, slow.calls, slow.seconds, *recent[slow])
        reason = (why.reason, why.detail, why.remedy) if why else (None, "", "")
        text = printable(LIST.sub("IN (…)", " ".join(slow.text.split())), 2_000)
        found.append(Explained(slow.operation, slow.table, *figures, text, reads, *reason))
    return found


def _denied(answers: Iterable[tuple[Scan, ...] | SourceError]) -> bool:
    return any(isinstance(one, SourceError) and one.reason is Reason.PERMISSION for one in answers)


def _not_asked(slow: Slow) -> SourceError:
    if against := obstacle(slow):
        return SourceError(*against)
    return SourceError(Reason.BUSY, "only the slowest are planned")


def _reads(scans: tuple[Scan, ...], tables: dict[str, Table]) -> list[Read]:
    found = {}
    for scan in scans:
        table = tables.get(scan.table)
        if table is None:
            continue
        advice = plans.advise(scan, table)
        says, statement = (advice.says, advice.statement) if advice else (_praise(scan, table), "")
        found[scan.table, scan.index] = Read(
            scan.table, table.rows, table.bytes, scan.index, scan.rows, says, statement
        )
    return list(found.values())


def _praise(scan: Scan, table: Table) -> str:
    """Say of an index that MLflow's schema does not have that it is used, and what it spares."""
    used = next((one for one in table.indexes if one.name == scan.index), None)
    advised = ADVISED.get(table.name, ())
    if used is None or table.rows is None or not advised or used.columns[:1] != advised[:1]:
        return ""
    return (
        f"The index on ({', '.join(used.columns)}) is used, {used.scans} times so far: some {scan.rows:,.0f} rows "
        f"are read and not all {table.rows:,.0f}."
    )
