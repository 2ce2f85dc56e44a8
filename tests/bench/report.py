"""Medians, ratios and tables, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

from tests.bench.exporters import Target
from tests.bench.meter import Measured, Scrape

if TYPE_CHECKING:
    from tests.bench.far import Far

Rows = Iterable[Sequence[str]]
Text = Callable[[float], str]


@dataclass(frozen=True)
class Figure:
    """One line of a table: its name, what it is of a scrape, how it is written."""

    name: str
    of: Callable[[Scrape], float]
    text: Text
    ratio: bool = True


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def kib(size: float) -> str:
    return f"{size / 2**10:.1f} KiB"


def whole(number: float) -> str:
    return f"{number:,.0f}"


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1]


LATENCY = Figure("scrape", lambda one: one.seconds, ms)
CPU = Figure("CPU of the exporter", lambda one: one.cpu, ms)
DATABASE = Figure("database execution", lambda one: one.work.seconds, ms)
FIGURES = (
    CPU,
    Figure("resident memory", lambda one: one.resident, mib),
    DATABASE,
    Figure("database planning", lambda one: one.work.planning, ms),
    Figure("statements sent", lambda one: one.work.statements, whole, ratio=False),
    Figure("temporary blocks", lambda one: one.work.temp_blocks, whole, ratio=False),
    Figure("new sessions", lambda one: one.work.sessions, whole, ratio=False),
    Figure("series", lambda one: one.series, whole),
    Figure("exposition", lambda one: one.plain, kib),
    Figure("exposition, gzip", lambda one: one.gzipped, kib),
)


def table(head: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join((*lines, *(f"| {' | '.join(row)} |" for row in rows)))


def together(peers: Sequence[Sequence[Scrape]], of: Callable[[Scrape], float]) -> list[float]:
    """Return the peers' sum in each round."""
    return [sum(map(of, turn)) for turn in zip(*peers, strict=True)]


def side_by_side_table(measured: Measured, proportional: Mapping[Target, int], far: Far | None) -> str:
    head = ["median of a scrape", *(target.name for target in measured), "peers together", "ours / theirs"]
    return table(head, _rows(measured, proportional, far))


def _rows(measured: Measured, proportional: Mapping[Target, int], far: Far | None) -> Iterator[Sequence[str]]:
    us, *peers = measured.values()

    def row(name: str, figure: Figure, summary: Callable[[Sequence[float]], float]) -> Sequence[str]:
        own = summary([figure.of(one) for one in us])
        each = [summary([figure.of(one) for one in peer]) for peer in peers]
        return _row(name, figure.text, own, each, summary(together(peers, figure.of)), ratio=figure.ratio)

    yield row("scrape, p50", LATENCY, median)
    yield row("scrape, p95", LATENCY, p95)
    for figure in FIGURES:
        yield row(figure.name, figure, median)
    if proportional:
        own, *others = map(float, proportional.values())
        yield _row("proportional memory", mib, own, others, sum(others))
    if far:
        waits = [far.waits.get(one.name, 0.0) for one in measured]
        moved = [far.moved.get(one.name, 0.0) for one in measured]
        yield _row(
            "round trips to the database", lambda one: f"{one:.1f}", waits[0], waits[1:], sum(waits[1:])
        )
        yield _row("bytes from and to the database", kib, moved[0], moved[1:], sum(moved[1:]))


def _row(
    name: str, text: Text, own: float, each: Sequence[float], theirs: float, *, ratio: bool = True
) -> Sequence[str]:
    share = f"{own / theirs:.2f}" if ratio and theirs else ""
    return [name, *map(text, (own, *each, theirs)), share]
