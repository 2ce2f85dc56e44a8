"""Where an alert's threshold stands in expressions: found on the syntax tree, said as places in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import cast

import promql_parser as promql

from exporter.pack.dashboards.limits import Signal
from exporter.pack.dashboards.promql import series

# A number, but for those in texts, names and durations.
TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|#[^\n]*|[A-Za-z_:][\w:]*|\d+(?:ms|[smhdwy])|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)'
)
# Of these signals side conditions ask whether the same threshold is passed, their own and others', by what they compare
# then; elsewhere an equal number is by chance.
ALSO_COMPARED = {
    "exporter-down": {"mlflow:exporter_away:ratio2m"},
    "fds": {"mlflow_server_worker_open_fds", "mlflow_server_worker_max_fds"},
    "pool": {"mlflow_server_worker_database_connections", "mlflow_server_worker_database_pool_capacity"},
    "run-rate": {"mlflow_db_table_rows_inserted_total"},
}
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")


def places(text: str) -> list[tuple[int, int]]:
    """Return where the numbers of an expression's text begin and end, in order."""
    return [found.span() for found in TOKEN.finditer(text) if found["number"]]


def factors(expr: str, signals: Sequence[Signal]) -> dict[int, Signal]:
    """Return by its place among all numbers each T of `(pressure > 1) * T` that is of one of the signals."""
    found = {}
    for index, (_, above) in enumerate(_numbers(promql.parse(expr))):
        for signal in signals:
            pressure = f"{above[0].lhs}" if above and str(above[0].op) == "*" else ""
            if _words(pressure) == _words(f"(mlflow:pressure:ratio{{{signal.matchers}}} > 1)"):
                found[index] = signal
    return found


def divisors(expr: str, own: Sequence[Signal], others: Sequence[Signal]) -> dict[int, Signal]:
    """Return likewise each T of `evidence / T` of a record's own signals, and those of side conditions on any."""
    return {
        index: signal
        for index, (literal, above) in enumerate(_numbers(promql.parse(expr)))
        if above
        for signal in (*own, *others)
        if literal.val == signal.threshold
        if (signal in own and _divides(literal, above[0])) or _is_compared(literal, above, signal)
    }


def _divides(literal: promql.NumberLiteral, above: promql.BinaryExpr) -> bool:
    return str(above.op) == "/" and above.rhs is literal


def _is_compared(literal: promql.NumberLiteral, above: Sequence[promql.BinaryExpr], signal: Signal) -> bool:
    comparison, side = above[0], cast(promql.Expr, literal)
    if str(comparison.op) == "*" and comparison.lhs is literal and len(above) > 1:  # `>= 0.8 * limit`
        comparison, side = above[1], comparison
    if str(comparison.op) not in COMPARISONS or comparison.rhs is not side:
        return False
    return {*series(f"{comparison}")} == ALSO_COMPARED.get(signal.name)


def _words(text: str) -> list[str]:
    """Return an expression's text as it is compared, whatever its matchers' order and white space."""
    return sorted(re.findall(r'[\w:]+="[^"]*"|[\w:]+|[^\s\w,]', text))


def _numbers(
    expr: promql.Expr, above: tuple[promql.BinaryExpr, ...] = ()
) -> Iterator[tuple[promql.NumberLiteral, tuple[promql.BinaryExpr, ...]]]:
    """Give each number in the order of the text, with the operations that it is an operand of, the nearest first."""
    match expr:
        case promql.NumberLiteral():
            yield expr, above
        case promql.BinaryExpr():
            yield from _numbers(expr.lhs, (expr, *above))
            yield from _numbers(expr.rhs, (expr, *above))
        case promql.ParenExpr() | promql.UnaryExpr():
            yield from _numbers(expr.expr, above)
        case promql.SubqueryExpr():
            yield from _numbers(expr.expr)
        case promql.AggregateExpr():
            if expr.param is not None:
                yield from _numbers(expr.param)
            yield from _numbers(expr.expr)
        case promql.Call():
            for argument in expr.args:
                yield from _numbers(argument)
