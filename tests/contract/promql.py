"""What an expression gives, from its syntax tree alone: the labels of its result, where joins and sums lose some."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as promql
from promql_parser import AggModifierType, LabelModifierType, VectorMatchCardinality

from tests.contract.declared import TARGET, series
from tests.contract.rules import recorded, walk

Labels = frozenset[str]
NONE: Labels = frozenset()

SET_OPERATORS = ("and", "or", "unless")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
SCALARS = ("scalar", "time", "pi")


def labels(expr: promql.Expr) -> Labels:
    """Return the labels that the result can have; those of an undeclared name are taken to be the target's."""
    found = NONE  # of a number or a string
    match expr:
        case promql.VectorSelector():
            found = _of_selector(expr)
        case promql.MatrixSelector():
            found = labels(expr.vector_selector)
        case promql.ParenExpr() | promql.SubqueryExpr() | promql.UnaryExpr():
            found = labels(expr.expr)
        case promql.AggregateExpr():
            found = _of_aggregate(expr)
        case promql.Call():
            found = _of_call(expr)
        case promql.BinaryExpr():
            found = _of_binary(expr)
    return found


def _of_selector(expr: promql.VectorSelector) -> Labels:
    if declared := series().get(expr.name or ""):
        return declared.labels
    made = [labels(record.expr) | frozenset(record.labels) for record in recorded(expr)]
    return NONE.union(*made) if made else TARGET


def _of_aggregate(expr: promql.AggregateExpr) -> Labels:
    inner = labels(expr.expr)
    if str(expr.op) in ("topk", "bottomk"):
        return inner
    if expr.modifier is None:
        return NONE
    named = frozenset(expr.modifier.labels)
    return inner & named if expr.modifier.type == AggModifierType.By else inner - named


def _of_call(expr: promql.Call) -> Labels:
    name, args = expr.func.name, expr.args
    if name in (*SCALARS, "vector"):
        return NONE
    if name in ("absent", "absent_over_time"):
        # Only what an equality says of the series that is not there.
        return frozenset(
            one.name
            for node in walk(args[0])
            if isinstance(node, promql.VectorSelector)
            for one in node.matchers.matchers
            if one.op == promql.MatchOp.Equal
        )
    vectors = [arg for arg in args if not isinstance(arg, promql.NumberLiteral | promql.StringLiteral)]
    inner = labels(vectors[0]) if vectors else NONE
    if name in ("label_replace", "label_join"):
        return inner | {args[1].val}
    return inner - {"le"} if name == "histogram_quantile" else inner


def _of_binary(expr: promql.BinaryExpr) -> Labels:
    left, right = labels(expr.lhs), labels(expr.rhs)
    if is_scalar(expr.lhs) or is_scalar(expr.rhs):
        return right if is_scalar(expr.lhs) else left
    if str(expr.op) == "or":
        return left | right
    if str(expr.op) in SET_OPERATORS or expr.modifier is None:
        return left
    return _of_match(expr.modifier, left, right)


def _of_match(modifier: promql.BinModifier, left: Labels, right: Labels) -> Labels:
    included = frozenset(modifier.group_labels or ())
    if modifier.card == VectorMatchCardinality.ManyToOne:
        return left | included
    if modifier.card == VectorMatchCardinality.OneToMany:
        return right | included
    if modifier.matching is None:
        return left
    named = frozenset(modifier.matching.labels)
    return left & named if modifier.matching.type == LabelModifierType.Include else left - named


def is_scalar(expr: promql.Expr) -> bool:
    match expr:
        case promql.NumberLiteral():
            return True
        case promql.ParenExpr() | promql.UnaryExpr():
            return is_scalar(expr.expr)
        case promql.Call():
            return expr.func.name in SCALARS
        case promql.BinaryExpr():
            return is_scalar(expr.lhs) and is_scalar(expr.rhs)
    return False


def impossible(expr: promql.Expr) -> Iterator[str]:
    """Say where labels are named that are not there: such a join or sum gives nothing, or not what it says."""
    for node in walk(expr):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            for label in frozenset(node.modifier.labels) - labels(node.expr):
                yield f"{node.op} by {label}, which {node.expr} has not"
        if isinstance(node, promql.BinaryExpr) and not (is_scalar(node.lhs) or is_scalar(node.rhs)):
            yield from _impossible_match(node)


def _impossible_match(node: promql.BinaryExpr) -> Iterator[str]:
    left, right = labels(node.lhs), labels(node.rhs)
    matching = node.modifier.matching if node.modifier else None
    if matching is not None and matching.type == LabelModifierType.Include:
        for label in frozenset(matching.labels) - (left & right):
            yield f"on ({label}), which one side of {node.op} has not: {node}"
        return
    ignored = frozenset(matching.labels) if matching else NONE
    if str(node.op) != "or" and left - ignored != right - ignored:
        yield f"{node.op} matches {sorted(left - ignored)} with {sorted(right - ignored)}: {node}"
