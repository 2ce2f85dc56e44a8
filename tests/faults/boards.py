"""`python -m tests.faults.boards DIR`: the dashboards over each fault that `python -m tests.faults --keep DIR` made.

Every query of every panel is run as Grafana runs it, with the fault there and again when it was over. No query may
fail or get what is no finite number or more series than can be read; no panel may be empty on all faults, and no
column of a table; and the board of causes should have had a cause of the fault on top just before the fix.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.causes import CAUSES
from exporter.pack.dashboards.pages import dashboards
from tests.faults.__main__ import known
from tests.faults.trial import BRIEF, FULL, Result
from tests.lab import timelapse
from tests.lab.panels import Answer, Place, View, alike, ask, empty, unfilled
from tests.lab.servers import Prometheus
from tests.lab.stack import FACTOR

SCRAPE = 15 / FACTOR
LARGEST = 5
# What may not be on top of the board: another cause, one that is the fault's consequence only, or nothing.
ANOTHER, LED, MISSING = "ANOTHER", "WHAT IT LEADS TO", "MISSING"
BEFORE = 5.0  # seconds: the clock of the result and that of the series are not the same

# What no fault fills, with why: panels by dashboard and title, and columns by these and their field.
EMPTY: dict[tuple[str, str], str] = {
    ("database", "Log kept for slots"): "the lab's replica has none",
    ("database", "Reset"): "nobody resets statistics",
    ("probes", "Certificates"): "the lab's servers have no TLS",
    ("probes", "Named URLs"): "no fault probes one",
    ("queries", "Statistics reset"): "nobody resets statistics",
}
BARE: dict[tuple[str, str, str], str] = {
    ("causes", "Indexes that are missing or invalid", "Value #B"): "no fault leaves an invalid one",
    ("workload", "Tables", "Value #C"): "the growth of a month",
}


class Kept(Prometheus):
    """A Prometheus on a copy of a fault's series; it scrapes nothing."""

    def __init__(self, series: Path) -> None:
        forever = "--storage.tsdb.retention.time=100y"
        super().__init__({"global": {}}, options=[*timelapse.options(FACTOR), forever])
        shutil.copytree(series, self.data)
        (self.data / "lock").unlink(missing_ok=True)

    def times(self) -> tuple[float, float]:
        """Return when the first sample was taken, and the last."""
        head = self.get("/api/v1/status/tsdb").json()["data"]["headStats"]
        return head["minTime"] / 1000, head["maxTime"] / 1000

    def answered(self) -> tuple[float, float]:
        """Return when the first sample was taken, and when each exporter's last answer was; later ones failed."""
        begin, end = self.times()
        answers = f'(timestamp(up{{job="mlflow"}}) * up{{job="mlflow"}})[{end - begin:.0f}s:500ms]'
        said = self.get("/api/v1/query", query=f"min(max_over_time({answers}))", time=f"{end:.3f}")
        (found,) = said.json()["data"]["result"]
        return begin, float(found["value"][1])


@dataclass(frozen=True)
class Seen:
    """What the dashboards showed of one fault: with it there, and of all its time; `ranks` as the board had them."""

    result: Result
    during: Sequence[Answer]
    after: Sequence[Answer]
    ranks: Sequence[tuple[str, float]]

    @property
    def answers(self) -> Sequence[Answer]:
        return (*self.during, *self.after)

    @property
    def troubles(self) -> dict[str, str]:
        """Return by query or panel what is wrong with it."""
        found = {
            str(place): f"{place}: several lines are called {name!r}" for place, name in alike(self.during)
        }
        return found | {str(one.query): said for one in self.answers if (said := one.wrong())}

    @property
    def verdict(self) -> str:
        """Say whose cause is the first of the board; findings, which are delivered to nobody, have no pressure."""
        causes = self.result.cause.split("+")
        led = {to for cause in CAUSES if cause.slug in causes for to in cause.leads_to}
        if not self.result.delivered:
            return "of findings only"
        if not self.ranks:
            return MISSING
        first = self.ranks[0][0]
        return "its own" if first in causes else LED if first in led else ANOTHER


def seen(result: Result, series: Path) -> Seen:
    with Kept(series) as prometheus:
        begin, end = prometheus.times()
        view = View(begin, end - since_fix(result) - BEFORE, SCRAPE)
        during = ask(prometheus.url, dashboards(), view)
        after = ask(prometheus.url, dashboards(), replace(view, end=end))
    return Seen(result, during, after, ranks(during))


def since_fix(result: Result) -> float:
    """Return the seconds from the fault's fix to its last sample."""
    if result.resolved is None:
        return next(one.within for one in known() if (one.cause, one.name) == (result.cause, result.name))
    return (FULL if result.pace == "full" else BRIEF).after + result.resolved / FACTOR


def ranks(answers: Iterable[Answer]) -> list[tuple[str, float]]:
    """Return the causes as the overview's board has them, from the top, with their pressures."""
    board = [one for one in answers if one.place.dashboard == "overview" and "cause" in one.place.columns]
    pressures, places = (
        {
            row["metric"]["cause"]: float(row["value"][1])
            for one in board
            if one.query.ref == ref
            for row in one.result
        }
        for ref in "AC"
    )
    return sorted(pressures.items(), key=lambda one: -places[one[0]])


def kept(folder: Path) -> Iterator[tuple[Result, Path]]:
    """Yield the results that have their series beside them and could be made, in the order of their names."""
    for file in sorted(folder.glob("*.json")):
        result = Result.of(json.loads(file.read_text()))
        if result.made and not result.failure and file.with_suffix("").is_dir():
            yield result, file.with_suffix("")


class Summary:
    """What was seen of all faults together."""

    def __init__(self) -> None:
        self.first: Counter[str] = Counter()
        self.troubles: dict[str, list[str]] = {}
        self.most: dict[str, tuple[int, str]] = {}
        self._filled: set[Place] = set()
        self._empty: set[Place] = set()
        self._columns: set[tuple[Place, str]] = set()
        self._bare: set[tuple[Place, str]] = set()

    def add(self, one: Seen) -> None:
        self.first[one.verdict] += 1
        for what, said in one.troubles.items():
            self.troubles.setdefault(what, [said]).append(name(one.result))
        self._empty |= empty(one.answers)
        self._bare |= unfilled(one.answers)
        for answer in one.answers:
            if answer.place.panel and answer.result:
                self._filled.add(answer.place)
                self._columns |= {(answer.place, field) for field in answer.fields}
            largest, _ = self.most.get(str(answer.query), (0, ""))
            if answer.series > largest:
                self.most[str(answer.query)] = (answer.series, name(one.result))

    @property
    def empty(self) -> list[str]:
        """Return the panels that no fault fills and that nobody has given a reason for."""
        places = self._empty - self._filled
        return sorted(str(one) for one in places if (one.dashboard, one.title) not in EMPTY)

    @property
    def bare(self) -> list[str]:
        """Return such columns of tables that some fault fills."""
        found = self._bare - self._columns
        return sorted(
            f"{one}: column {column}"
            for one, column in found
            if (one.dashboard, one.title, column) not in BARE
        )

    @property
    def astray(self) -> int:
        """Return on how many faults the board had something else on top than what was made."""
        return sum(self.first[one] for one in (ANOTHER, LED, MISSING))

    def lines(self) -> Iterator[str]:
        for trouble, *where in self.troubles.values():
            yield f"{trouble}\n  on {'; '.join(where)}"
        yield from (f"empty on all faults: {one}" for one in (*self.empty, *self.bare))
        for query, (series, fault) in sorted(self.most.items(), key=lambda one: -one[1][0])[:LARGEST]:
            yield f"{series} series: {query} ({fault})"
        yield "first on the board: " + ", ".join(f"{what} {number}" for what, number in self.first.items())


def name(result: Result) -> str:
    return f"{result.cause}: {result.name}"


def line(one: Seen) -> str:
    board = ", ".join(f"{cause} {pressure:.2f}" for cause, pressure in one.ranks[:3])
    seconds = sum(answer.seconds for answer in one.answers)
    asked = f"{len(one.answers)} queries in {seconds:.1f} s, {len(one.troubles)} wrong"
    return f"{name(one.result)}: {asked}; first {one.verdict}: {board}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.boards", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    summary = Summary()
    for result, series in kept(parser.parse_args().folder):
        one = seen(result, series)
        summary.add(one)
        print(line(one), flush=True)
    print(*summary.lines(), sep="\n")
    return (
        1 if summary.troubles or summary.empty or summary.bare or summary.astray or not summary.first else 0
    )


if __name__ == "__main__":
    sys.exit(main())
