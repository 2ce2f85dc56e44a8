"""The growth curves as one picture: a row of panels for each thing that grows, a column for each cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from tests.bench.curves import COSTS, Cost, Curve
from tests.bench.far import SLOW_START

COLOURS = {
    "us": "#0b62b8",
    "postgres_exporter": "#d1690e",
    "process_exporter": "#3f8f3a",
    "blackbox_exporter": "#7a6a9a",
}
LEFT, TOP, WIDTH, HEIGHT = 150, 64, 200, 78  # of the first panel
STEP_X, STEP_Y = 262, 132  # from panel to panel
LABEL = 12  # between two labels below each other
GREY, INK = "#d8d8d8", "#333"

Line = tuple[str, list[tuple[float, float]]]  # whose it is; places on the picture


def svg(curves: Sequence[Curve]) -> str:
    """Return the picture; a cost that nobody has in a row has no panel there."""
    width, height = LEFT + STEP_X * len(COSTS), TOP + STEP_Y * len(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *_legend(curves),
    ]
    for column, (name, cost) in enumerate(COSTS.items()):
        parts.append(_text(LEFT + STEP_X * column, TOP - 14, f"{name}, {cost.unit}", bold=True))
    for row, curve in enumerate(curves):
        top = TOP + STEP_Y * row
        for number, words in enumerate(_wrapped(curve.of)):
            parts.append(_text(LEFT - 36, top + 14 + 14 * number, words, anchor="end", bold=True))
        for number, words in enumerate(_wrapped(curve.remark)):
            parts.append(_text(LEFT - 36, top + 48 + 14 * number, words, anchor="end"))
        for column, cost in enumerate(COSTS.values()):
            parts += _panel(curve, cost, LEFT + STEP_X * column, top)
    return "\n".join((*parts, "</svg>\n"))


def _legend(curves: Sequence[Curve]) -> Iterator[str]:
    at = LEFT
    names = {_owner(name): None for curve in curves for name in curve.lines}
    slow = any(SLOW_START in name for curve in curves for name in curve.lines)
    for name in (*names, *([SLOW_START] if slow else [])):
        dash = "" if name in COLOURS else ' stroke-dasharray="4 3"'
        yield (
            f'<line x1="{at}" y1="20" x2="{at + 22}" y2="20" stroke="{COLOURS.get(name, INK)}" stroke-width="2"{dash}/>'
        )
        yield _text(at + 28, 24, name)
        at += 48 + 6 * len(name)


def _panel(curve: Curve, cost: Cost, left: float, top: float) -> Iterator[str]:
    values = {name: [cost.of(point) for point in points] for name, points in curve.lines.items()}
    known = {name: [cost.scale * (one or 0) for one in each] for name, each in values.items() if all(each)}
    if not known:
        return
    most = _round(max(max(each) for each in known.values()))
    for part in (0, 0.5, 1):
        y = top + HEIGHT * (1 - part)
        yield f'<line x1="{left}" y1="{y}" x2="{left + WIDTH}" y2="{y}" stroke="{GREY}"/>'
        yield _text(left - 4, y + 4, _short(most * part), anchor="end")
    places = [left + 12 + (WIDTH - 24) * one / (len(curve.sizes) - 1) for one in range(len(curve.sizes))]
    for x, size in zip(places, curve.sizes, strict=True):
        yield _text(x, top + HEIGHT + 15, _short(size), anchor="middle")
    lines = [
        (name, [(x, top + HEIGHT * (1 - one / most)) for x, one in zip(places, each, strict=True)])
        for name, each in known.items()
    ]
    for line in lines:
        yield from _drawn(line)
    ends = {name: each[-1] for name, each in known.items()}
    for name, y in _apart(lines):
        yield _text(left + WIDTH - 4, y + 4, _short(ends[name]), colour=COLOURS[_owner(name)])


def _drawn(line: Line) -> Iterator[str]:
    name, places = line
    colour, dash = COLOURS[_owner(name)], ' stroke-dasharray="4 3"' if name != _owner(name) else ""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'


def _apart(lines: Sequence[Line]) -> Iterator[tuple[str, float]]:
    """Yield the height of each line's label: at its end, or above the one below it."""
    free = float("inf")
    for name, places in sorted(lines, key=lambda line: -line[1][-1][1]):
        height = min(places[-1][1], free)
        free = height - LABEL
        yield name, height


def _owner(name: str) -> str:
    return name.partition(",")[0]


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > 16:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _round(most: float) -> float:
    """Return a round number that is not below this one."""
    power: float = 10.0 ** math.floor(math.log10(most))
    return next(power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * step >= most)


def _short(number: float) -> str:
    for size, letter in ((10**6, "M"), (10**4, "k")):
        if number >= size:
            return f"{number / (10**6 if letter == 'M' else 1000):g}{letter}"
    return f"{number:.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", colour: str = INK, bold: bool = False
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(words)}</text>'
    )
