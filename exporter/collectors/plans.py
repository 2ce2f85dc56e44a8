"""Whether MLflow's slowest SELECTs read a large table from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from exporter import plans
from exporter.collector import Collector, Reason, SourceError
from exporter.metric import Sample, gauge
from exporter.plans import Scan, Table
from exporter.rights import MONITOR
from exporter.sources.facts import Facts, quoted
from exporter.sources.pipeline import Row
from exporter.sql import Answers
from exporter.statements import TABLES
from exporter.statements.slowest import Slow, obstacle, slowest

# What takes most time is among them; more would be more series and no other cause.
STATEMENTS = 10
SERIES = 30

SEQUENTIAL = gauge(
    "mlflow_db_plan_sequential_scan",
    "1 where the generic plan of one of the ten slowest plain SELECTs of the operation reads all of this table, "
    "which has 50,000 rows or more, 0 where none does. A reading every 10 minutes, at most 30 minutes old. Absent "
    "without pg_stat_statements, and for statements whose tables our role may not read.",
    "EXPLAIN (GENERIC_PLAN)",
    labels=("operation", "table"),
)


class Plans(Collector[Answers]):
    """Plan MLflow's slowest SELECTs anew each time, since an index or an ANALYZE changes plans."""

    name = "plans"
    queries = ("statements_slowest", "plan_tables")
    metrics = (SEQUENTIAL,)
    every = 600.0

    def collect(self, session: Answers) -> Iterable[Sample]:
        session.facts.require_planning()
        found = _plain(session.rows("statements_slowest"), session.facts)
        tables = plans.tables(session.rows("plan_tables"))
        chosen = found[:STATEMENTS]
        if not chosen:
            return ()
        (row,) = session.ask("explain", [slow.text for slow in chosen])
        answers = plans.answers(str(row["mlflow_db_plans"]))
        planned = [
            (slow, answer)
            for slow, answer in zip(chosen, answers, strict=True)
            if not isinstance(answer, SourceError)
        ]
        # Some refused are some absent: a role with rights on the busy tables alone is told of those.
        if not planned:
            raise refusal(chosen, answers, tables, session.facts)
        return list(_samples(planned, tables))


def _plain(rows: Sequence[Row], facts: Facts) -> list[Slow]:
    found = [slow for slow in slowest(rows) if not obstacle(slow)]
    if not found and any(row["queryid"] is None for row in rows):
        role = quoted(facts.role)
        detail = f"role {role} sees no statement of MLflow: those of other roles are hidden from it"
        raise SourceError(Reason.PERMISSION, detail, MONITOR.format(role=role))
    return found


def refusal(
    asked: Sequence[Slow],
    answers: Sequence[tuple[Scan, ...] | SourceError],
    tables: dict[str, Table],
    facts: Facts,
) -> SourceError:
    """Return why statements were not planned, with the one GRANT for all that a right is missing for."""
    refused = [
        (slow, answer) for slow, answer in zip(asked, answers, strict=True) if isinstance(answer, SourceError)
    ]
    denied = [slow for slow, answer in refused if answer.reason is Reason.PERMISSION]
    if not denied:
        return refused[0][1]
    names = sorted({name for slow in denied for name in slow.tables if name in tables})
    listed = ", ".join(f"{quoted(facts.store_schema)}.{quoted(name)}" for name in names)
    return SourceError(
        Reason.PERMISSION,
        f"role {facts.role} may not read all of {', '.join(names)}, so what reads them cannot be planned",
        f"GRANT SELECT ON {listed} TO {quoted(facts.role)};",
    )


def _samples(planned: Iterable[tuple[Slow, tuple[Scan, ...]]], tables: dict[str, Table]) -> Iterator[Sample]:
    read: dict[tuple[str, str], bool] = {}
    for slow, scans in planned:
        if slow.table:
            read.setdefault((slow.operation, slow.table), False)
        for scan in scans:
            if not scan.index and scan.table in tables and tables[scan.table].large:
                read[slow.operation, scan.table if scan.table in TABLES else "other"] = True
    # What is read wholly comes first: it is what the bound must not cost.
    for labels, wholly in sorted(read.items(), key=lambda item: (not item[1], item[0]))[:SERIES]:
        yield SEQUENTIAL(float(wholly), *labels)
