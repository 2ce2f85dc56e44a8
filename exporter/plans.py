"""What an execution plan reads, from Postgres' EXPLAIN (FORMAT JSON), and which index would help."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporter import schema
from exporter.collector import Reason, SourceError

# 50,000 runs are read in 10 ms, as long as the Python of a small API call takes (measured): below that no index
# shows, and of a small table Postgres rightly reads all.
LARGE_ROWS = 50_000

# Where a larger part of the table is wanted, an index saves nothing, and Postgres would not use it.
SELECTIVE = 0.2

# An index that MLflow's schema does not have. The second column lets it give runs in the order of a search:
# measured with 1,000,000 runs, a search of an experiment of 600 took 1.5 ms and not 102.
ADVISED = {"runs": ("experiment_id", "start_time")}
CAVEAT = (
    "It takes 30 MB and 0.7 s to build for a million runs, gives little to searches by metric, parameter or tag, and "
    "pages in another order than by start time are still sorted whole. MLflow's migrations leave it alone."
)
AS_OWNER = "Run it as the table's owner, outside a transaction, when MLflow is not being upgraded."

EQUALS = re.compile(
    r"^\(*(?:\w+\.)?(?P<left>[a-z_]\w*)\)*(?:::[\w ]+)?\)* = "
    r"|^\(*\$\d+\)*(?:::[\w ]+)?\)* = \(*(?:\w+\.)?(?P<right>[a-z_]\w*)"
)


@dataclass(frozen=True, slots=True)
class Index:
    """An index; `columns` are its keys, an expression is empty. `scans` counts its uses."""

    name: str
    columns: tuple[str, ...]
    partial: bool
    valid: bool
    scans: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `rows` and `bytes` are of its last ANALYZE, rows None before its first."""

    name: str
    rows: float | None
    bytes: float
    indexes: tuple[Index, ...]

    @property
    def large(self) -> bool:
        return self.rows is not None and self.rows >= LARGE_ROWS


@dataclass(frozen=True, slots=True)
class Scan:
    """One access of a plan to a table: by an index, or sequentially where that is empty.

    `rows` is what Postgres expects to come out of it, `equal` are the columns that a sequential scan's filter
    compares for equality.
    """

    table: str
    index: str
    rows: float
    equal: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a sequential scan: a sentence, and the statement where there is one."""

    says: str
    statement: str = ""


def tables(rows: Iterable[Mapping[str, object]]) -> dict[str, Table]:
    """Read the rows of the query `plan_tables`."""
    found = {}
    for row in rows:
        name, estimate = str(row["table"]), row["mlflow_db_table_rows"]
        indexes = tuple(
            Index(one["name"], tuple(one["columns"]), one["partial"], one["valid"], one["scans"])
            for one in json.loads(str(row["indexes"]))
        )
        count = None if estimate is None else float(str(estimate))
        found[name] = Table(name, count, float(str(row["bytes"])), indexes)
    return found


def answers(text: str) -> list[tuple[Scan, ...] | SourceError]:
    """Read what the query `explain` returns: for each statement its scans, or why it could not be planned.

    Raises SourceError where that is none of it: not everything that speaks Postgres' protocol plans as Postgres does.
    """
    try:
        return [_refused(one) if isinstance(one, dict) else scans(one) for one in json.loads(text)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise SourceError(Reason.BAD_ANSWER, "explain: not a plan as Postgres writes it") from None


def scans(explained: Any) -> tuple[Scan, ...]:
    """Return all accesses to tables of one plan."""
    return tuple(_scans(explained[0]["Plan"], 1.0))


def advise(scan: Scan, table: Table) -> Advice | None:
    """Say what would spare a sequential scan of a large table; None where it is no fault."""
    if scan.index or not table.large or table.rows is None:
        return None
    if not scan.equal:
        return Advice("It reads the whole table for what it is asked: no index would spare that.")
    columns, because = _index_for(scan)
    fitting = [one for one in table.indexes if one.columns[:1] == columns[:1] and not one.partial]
    broken = next((one.name for one in fitting if not one.valid), None)
    if broken:
        return Advice(
            f"The index {broken} is not built to its end, so it is not used: unless CREATE INDEX CONCURRENTLY is "
            "still at work, drop it and create it again.",
            f'DROP INDEX CONCURRENTLY "{broken}";',
        )
    part = scan.rows / table.rows
    wanted = f"It is expected to want {part:.0%} of the rows"
    if fitting:
        return Advice(
            f"{wanted}, so Postgres does not use the index {fitting[0].name}. ANALYZE {table.name};"
        )
    if part > SELECTIVE:
        return Advice(f"{wanted}: an index would not spare the scan.")
    name = "_".join(("ix", table.name, *columns))[:63]
    return Advice(
        f"An index would spare the scan. {because} {AS_OWNER}",
        f"CREATE INDEX CONCURRENTLY {name}\n  ON {table.name} ({', '.join(columns)});",
    )


def _index_for(scan: Scan) -> tuple[tuple[str, ...], str]:
    """Return the columns of the index that a filter asks for, and what speaks for it."""
    advised = ADVISED.get(scan.table)
    if advised and advised[0] in scan.equal:
        return advised, CAVEAT
    for index, _, until in schema.catalogue().entries:
        if index.table == scan.table and not until and not index.partial and index.columns[0] in scan.equal:
            return index.columns, "MLflow's migrations make one, and this database has not got it."
    return scan.equal[:3], "It is one that MLflow's schema does not have: try it on a copy first."


def _scans(node: Mapping[str, Any], processes: float) -> Iterator[Scan]:
    if "Workers Planned" in node:
        # Rows are of one process; the leader helps less, the more workers it has to listen to.
        workers = float(node["Workers Planned"])
        processes = workers + max(0.0, 1.0 - 0.3 * workers)
    if "Relation Name" in node:
        share = processes if node.get("Parallel Aware") else 1.0
        yield Scan(
            node["Relation Name"],
            _index(node),
            node["Plan Rows"] * share,
            _equal(node.get("Filter", "")) if node["Node Type"] == "Seq Scan" else (),
        )
    for child in node.get("Plans", ()):
        yield from _scans(child, processes)


def _index(node: Mapping[str, Any]) -> str:
    """Return the index that a scan uses, the first where it combines several; empty for a sequential one."""
    if "Index Name" in node:
        return str(node["Index Name"])
    if node["Node Type"] in ("Bitmap Heap Scan", "BitmapAnd", "BitmapOr"):
        return next((name for child in node.get("Plans", ()) if (name := _index(child))), "")
    return "" if node["Node Type"] in ("Seq Scan", "Sample Scan") else node["Node Type"]


def _equal(condition: str) -> tuple[str, ...]:
    found = (EQUALS.match(part) for part in _conjuncts(condition) if " OR " not in part)
    return tuple(dict.fromkeys(match["left"] or match["right"] for match in found if match))


def _conjuncts(condition: str) -> Iterator[str]:
    """Yield the parts of a condition that must all hold; Postgres writes each in brackets of its own."""
    inner = condition
    while inner.startswith("(") and _closes(inner) == len(inner) - 1:
        inner = inner[1:-1]
    start = depth = 0
    parts = []
    for at, sign in enumerate(inner):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and inner.startswith(" AND ", at):
            parts.append(inner[start:at])
            start = at + 5
    yield from (*parts, inner[start:])


def _closes(text: str) -> int:
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return at
    return -1


def _refused(answer: Mapping[str, str]) -> SourceError:
    state, message = answer["sqlstate"], answer["message"]
    reason = {"42501": Reason.PERMISSION, "55P03": Reason.TIMEOUT}.get(state, Reason.UNSUPPORTED)
    return SourceError(reason, f"{message} (SQLSTATE {state})")
