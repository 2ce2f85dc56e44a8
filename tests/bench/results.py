"""What a run found, as RESULTS.md: the machine, what had to be reached, all tables."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from tests.bench import picture, report
from tests.bench.curves import Curve
from tests.bench.exporters import BlackboxExporter, PostgresExporter, ProcessExporter, Target
from tests.bench.far import SLOW_START, Far
from tests.bench.meter import Measured
from tests.bench.site import MAJOR, RATE
from tests.bench.steady import Hours, hourly_table
from tests.lab import tools

HERE = Path(__file__).parent
PICTURE = "growth.svg"
PEERS = (PostgresExporter, ProcessExporter, BlackboxExporter)


def pressure() -> str:
    """Return how much of the last five minutes some task waited for a core."""
    try:
        some = Path("/proc/pressure/cpu").read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return "an unknown part"
    return f"{float(some.partition('avg300=')[2].split()[0]):.0f} %"


@dataclass
class Results:
    """The parts of a run; those that were not measured are empty and not written."""

    begun: float = field(default_factory=time.time)
    waits: str = field(default_factory=pressure)
    text_bytes: int = 0
    evicted: int = 0
    new_statements: int = 0
    scraped: Measured = field(default_factory=dict)
    proportional: dict[Target, int] = field(default_factory=dict)
    hours: dict[Target, Hours] = field(default_factory=dict)
    firsts: str = ""
    floors: str = ""
    far: Far | None = None
    curves: list[Curve] = field(default_factory=list)

    def text(self) -> str:
        return "\n\n".join(self._sections()) + "\n"

    def _sections(self) -> Iterator[str]:
        yield "# What it costs, beside what it replaces"
        yield "Written by `make bench`; medians of one run."
        yield self._machine()
        if self.scraped:
            yield "## What had to be reached"
            yield report.table(["a scrape of ours", "at most", "found", ""], list(self._demands()))
            yield "## Side by side"
            turns = len(next(iter(self.scraped.values())))
            yield (
                f"Each was scraped {turns} times in turn over a kept connection, with gzip, as Prometheus does. "
                f"Postgres tracked 5,000 statements with {self.text_bytes / 1e6:.1f} MB of texts and evicted some "
                f"{self.evicted} times; MLflow's 4 workers had {RATE} calls a second. `peers together` is their sum in "
                "each round."
            )
            yield report.side_by_side_table(self.scraped, self.proportional, self.far)
        if self.hours:
            yield "## All that it does"
            yield (
                "Probes, samplers and what is read every minute included. A search of an experiment that has grown is "
                f"a new statement, with a text to be read: {self.new_statements:+} in this time."
            )
            yield hourly_table(self.hours)
        if self.firsts:
            yield "A first scrape knows no statement, and no text:"
            yield self.firsts
        if self.floors:
            yield "## Floors"
            yield self.floors
        if self.curves or self.far:
            yield "## Growth"
            yield f"![Growth of a scrape's costs]({PICTURE})"
        for curve in self.all_curves():
            yield curve.table()

    def all_curves(self) -> list[Curve]:
        return [*self.curves, *([self.far.curve] if self.far else [])]

    def _machine(self) -> str:
        versions = ", ".join(f"{kind.name} {kind.version()}" for kind in PEERS)
        rows = [
            ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.begun))),
            ("machine", f"{model()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"),
            ("system", f"Linux {platform.release().partition('-')[0]}, {len(psutil.pids())} processes"),
            ("others on it", f"tasks waited for a core {self.waits} of the time before, {pressure()} after"),
            (
                "versions",
                f"MLflow {tools.mlflow_version()}, Postgres {MAJOR}, Python {platform.python_version()}",
            ),
            ("peers", versions),
        ]
        return report.table(["", ""], rows)

    def _demands(self) -> Iterator[Sequence[str]]:
        us, *peers = self.scraped.values()

        def half(figure: report.Figure) -> Sequence[str]:
            own = median(map(figure.of, us))
            limit = median(report.together(peers, figure.of)) / 2
            return demand(figure.name, limit, own, figure.text, "half of theirs: ")

        yield half(report.LATENCY)
        yield half(report.CPU)
        yield demand("resident memory", 55 * 2**20, median(one.resident for one in us), report.mib)
        yield half(report.DATABASE)
        yield demand("new sessions", 0, median(one.work.sessions for one in us), report.whole)
        if self.far:
            yield demand("round trips to a far database", 3, self.far.waits["us"], report.whole)
            name = "the same, as time over a link of 50 ms with TCP's slow start"
            yield demand(name, 3, self.far.slope(f"us, {SLOW_START}"), lambda one: f"{one:.1f}")
        for curve in self.curves:
            if curve.of in ("rows of metrics", "unrelated processes on the machine"):
                yield demand(f"growth with {curve.of}", 1.2, curve.growth("us"), times)


def demand(name: str, limit: float, found: float, text: report.Text, prefix: str = "") -> Sequence[str]:
    reached = (
        "reached" if found <= limit else f"**missed: {found / limit:.2f} times**" if limit else "**missed**"
    )
    return [name, prefix + text(limit), text(found), reached]


def times(ratio: float) -> str:
    return f"{ratio:.2f} times"


def model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def write(found: Results) -> None:
    (HERE / "RESULTS.md").write_text(found.text(), encoding="utf-8")
    (HERE / PICTURE).write_text(picture.svg(found.all_curves()), encoding="utf-8")
