"""The statements of MLflow that take most time, those of one shape together, and which of them can be planned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.collector import Reason
from exporter.statements import LOCKS, classify

# What is no work of MLflow, or counted in the statement around it as well.
NOT_MLFLOW = frozenset(("exporter", "catalog", "other", "nested", "fk_check"))

# As much of a SELECT as `statements_slowest` reads; a list of 1,000 keys has 17,000 characters.
LONGEST = 30_000

# Planning a statement may run functions that claim to be immutable. Of these all are Postgres' own and
# harmless; the others are words that may stand before a bracket, and types with a length.
HARMLESS = frozenset(
    (
        *("count", "sum", "min", "max", "avg", "coalesce", "nullif", "greatest", "least", "array_agg"),
        *("lower", "upper", "length", "char_length", "concat", "substr", "substring", "trim", "replace"),
        *("abs", "floor", "ceil", "ceiling", "round", "mod", "row_number", "rank", "dense_rank", "extract"),
        *("ntile", "percent_rank", "div", "grouping", "sets"),
        *("percentile_cont", "to_timestamp", "date_trunc", "now", "string_agg", "json_extract_path_text"),
        *("in", "any", "all", "and", "or", "not", "case", "when", "then", "else", "values", "over", "exists"),
        *("cast", "from", "as", "on", "select", "distinct", "where", "by", "filter", "group", "join"),
        *("lateral", "union", "except", "intersect", "using", "having", "between", "is", "like", "limit"),
        *("varchar", "char", "numeric", "decimal"),
    )
)
# Possessive: a comment of one endless word must not take the square of its length.
CALL = re.compile(r'(?<![\w.$"])([\w.$"]++)\s*+\(')
# Some 30 is what a search with many filters has; planning a join of hundreds is a load of its own.
MOST_PARTS = 100
PART = re.compile(r"\b(?:SELECT|JOIN)\b", re.IGNORECASE)
LIST = re.compile(r"\bIN \([^()]*\)")
PARAMETER = re.compile(r"\$\d+(?:::\w+)?")
SOURCE = re.compile(r"\b(?:FROM|JOIN) \(*(\w+)")


@dataclass(frozen=True, slots=True)
class Slow:
    """Statements of one shape; the text is that of the one that took most time."""

    operation: str
    table: str
    writes: bool
    text: str
    calls: int
    seconds: float

    @property
    def tables(self) -> frozenset[str]:
        """The tables that the text reads, as far as it can be told."""
        return frozenset(SOURCE.findall(" ".join(self.text.split())))


def slowest(rows: Iterable[Mapping[str, object]]) -> list[Slow]:
    """Return MLflow's statements, slowest first, from the rows of `statements_slowest`."""
    found: dict[tuple[str, str, bool, str], list[tuple[float, int, str]]] = {}
    for row in rows:
        if row["text"] is None:
            continue
        text = str(row["text"])
        one = classify(text)
        if one.operation not in NOT_MLFLOW:
            key = (one.operation, one.table, one.writes, _shape(text))
            seconds, calls = float(str(row["mlflow_db_statement_seconds"])), int(str(row["calls"]))
            found.setdefault(key, []).append((seconds, calls, text))
    return sorted(
        (
            Slow(*key[:3], max(members)[2], sum(one[1] for one in members), sum(one[0] for one in members))
            for key, members in found.items()
        ),
        key=lambda slow: slow.seconds,
        reverse=True,
    )


def since(before: Iterable[Slow], now: Iterable[Slow]) -> dict[Slow, tuple[int, float]]:
    """Return calls and seconds of each statement of `now` since `before`; after a reset, all it has."""
    old = {_key(slow): slow for slow in before}
    found = {}
    for slow in now:
        was = old.get(_key(slow))
        reset = was is not None and (slow.calls < was.calls or slow.seconds < was.seconds)
        if was is None or reset:
            found[slow] = (slow.calls, slow.seconds)
        else:
            found[slow] = (slow.calls - was.calls, slow.seconds - was.seconds)
    return found


def obstacle(slow: Slow) -> tuple[Reason, str] | None:
    """Return why a statement is not planned; None for a plain SELECT."""
    text = " ".join(slow.text.split())
    if slow.writes or LOCKS.match(text) or text[:7].upper() != "SELECT ":
        return (
            Reason.PERMISSION,
            "to plan it takes the right to change the table, which a role that only looks must not have",
        )
    if len(slow.text) > LONGEST:
        return Reason.UNSUPPORTED, f"its text has more than {LONGEST} characters"
    if ";" in text:
        return Reason.UNSUPPORTED, "its text holds a semicolon"
    if len(PART.findall(text)) > MOST_PARTS:
        return Reason.UNSUPPORTED, f"it joins or nests more than {MOST_PARTS} SELECTs"
    for name in CALL.findall(text):
        if name.lower() not in HARMLESS:
            return Reason.UNSUPPORTED, f"it calls {name}, which may do more than read"
    return None


def _key(slow: Slow) -> tuple[str, str, bool, str]:
    return slow.operation, slow.table, slow.writes, _shape(slow.text)


def _shape(text: str) -> str:
    """Return what statements have in common that differ in the length of a list or of a batch only."""
    if text.lstrip()[:6].upper() != "SELECT":
        return ""
    return PARAMETER.sub("$", LIST.sub("IN ()", " ".join(text.split())))
