"""How a scrape's cost grows: one thing is made more, the rest of the site stays as it is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from statistics import median

import yaml

from tests.bench import statements
from tests.bench.exporters import Target
from tests.bench.meter import Meter, Scrape, meter
from tests.bench.report import table
from tests.bench.site import SPARE, Site
from tests.bench.steady import INTERVAL, steady
from tests.lab import bigdata
from tests.lab.process import wait_for

WARM = 3  # rounds that are not counted
# So many statements may be waiting for the next reading of texts, as MLflow makes new ones all the time.
NEW = 50


@dataclass(frozen=True)
class Point:
    """Medians of a scrape at one size, in seconds and bytes; None is what the size has no part in, or is not there."""

    seconds: float
    cpu: float | None = None
    database: float | None = None
    resident: float | None = None


@dataclass(frozen=True)
class Cost:
    """What is shown of a point: `unit` and how many of it there are in a second or a byte."""

    of: Callable[[Point], float | None]
    unit: str = "ms"
    scale: float = 1000.0


COSTS: Mapping[str, Cost] = {
    "scrape, p50": Cost(lambda one: one.seconds),
    "CPU of a scrape": Cost(lambda one: one.cpu),
    "database execution": Cost(lambda one: one.database),
    "resident memory": Cost(lambda one: one.resident, "MiB", 2**-20),
}


@dataclass(frozen=True)
class Curve:
    """One thing that grew, and what each exporter cost at each of its sizes."""

    of: str
    sizes: Sequence[int]
    lines: dict[str, list[Point]] = field(default_factory=dict)
    remark: str = ""

    def add(self, name: str, point: Point) -> None:
        self.lines.setdefault(name, []).append(point)

    def growth(self, name: str) -> float:
        """Return how many times as much the largest size costs as the smallest, by the cost that grows most."""
        first, *_, last = map(astuple, self.lines[name])
        return float(max(most / least for least, most in zip(first, last, strict=True) if least))

    def table(self) -> str:
        head = [self.of, *(f"{size:,}" for size in self.sizes)]
        return table(head, self._rows())

    def _rows(self) -> Iterator[Sequence[str]]:
        for name, points in self.lines.items():
            for title, cost in COSTS.items():
                values = [cost.of(one) for one in points]
                if all(values):
                    texts = (f"{(one or 0) * cost.scale:.1f} {cost.unit}" for one in values)
                    yield [f"{name}: {title}", *texts]


def point(scrapes: Sequence[Scrape]) -> Point:
    work = median(one.work.seconds for one in scrapes)
    return Point(
        median(one.seconds for one in scrapes),
        median(one.cpu for one in scrapes),
        work or None,
        median(one.resident for one in scrapes),
    )


def measured(targets: Sequence[Target], scrapes: int) -> list[Point]:
    """Return what each target costs, scraped in turn."""
    with meter(targets) as measuring:
        measuring.rounds(WARM)
        return [point(one) for one in measuring.rounds(scrapes).values()]


def learn(measuring: Meter, us: Target) -> None:
    """Let ours read the texts of all statements that run: at most one reading in two minutes, but for new ones."""
    measuring.rounds(5)
    wait_for(
        lambda: measuring.value(us, b"mlflow_db_statements_pending") < NEW, "texts are read", 240, every=5
    )
    measuring.rounds(5)


def databases(site: Site, curve: Curve, fill: Callable[[str, int], None], scrapes: int) -> Curve:
    """Measure those who read databases of all sizes at once, so that all sizes see the same machine."""
    with site.meanwhile():
        targets = []
        for size in curve.sizes:
            name = f"sized_{size}"
            site.postgres.create_mlflow(name)
            fill(name, size)
            targets += [site.us(database=name), site.reads(database=name)]
        for target, found in zip(targets, measured(targets, scrapes), strict=True):
            curve.add(target.name, found)
    for size in curve.sizes:
        site.postgres.drop(f"sized_{size}")
    return curve


def metric_rows(site: Site, scrapes: int, sizes: Sequence[int] = (10**4, 10**6, 10**7)) -> Curve:
    def fill(name: str, size: int) -> None:
        bigdata.fill(site.postgres, name, runs=10_000, metrics=size)

    return databases(site, Curve("rows of metrics", sizes), fill, scrapes)


def runs(site: Site, scrapes: int, sizes: Sequence[int] = (10**3, 10**5, 10**6)) -> Curve:
    def fill(name: str, size: int) -> None:
        bigdata.fill(site.postgres, name, runs=size, metrics=10_000)

    return databases(site, Curve("runs", sizes), fill, scrapes)


def tracked(site: Site, scrapes: int, sizes: Sequence[int] = (100, 1_000, 5_000)) -> Curve:
    curve = Curve("tracked statements", sizes)
    with site.meanwhile():
        targets = [us, _] = [site.us(), site.reads()]
        with meter(targets) as measuring:
            measuring.rounds(WARM)  # so that statements of their own are there
            site.postgres.execute("SELECT pg_stat_statements_reset()", dbname="mlflow")
            for size in sizes:
                measuring.rounds(WARM)
                statements.fill(site.postgres, min(size, 5_000 - SPARE))
                learn(measuring, us)
                for target, found in measuring.rounds(scrapes).items():
                    curve.add(target.name, point(found))
    return curve


def connections(site: Site, scrapes: int, sizes: Sequence[int] = (10, 100, 500)) -> Curve:
    curve = Curve("idle connections to the database", sizes)
    with site.meanwhile() as begun:
        targets = [site.us(), site.reads(), site.watches()]
        opened = 0
        for size in sizes:
            for _ in range(size - opened):
                begun.enter_context(site.postgres.connect("mlflow", "mlflow"))
            opened = size
            for target, found in zip(targets, measured(targets, scrapes), strict=True):
                curve.add(target.name, found)
    return curve


def workers(scrapes: int, sizes: Sequence[int] = (1, 4, 16)) -> Curve:
    curve = Curve("workers of the tracking server", sizes)
    for size in sizes:
        with Site(size) as site:
            targets = [site.us(), site.watches()]
            for target, found in zip(targets, measured(targets, scrapes), strict=True):
                curve.add(target.name, replace(found, database=None))
    return curve


def processes(site: Site, scrapes: int, sizes: Sequence[int] = (0, 500, 2_000)) -> Curve:
    curve = Curve("unrelated processes on the machine", sizes)
    with site.meanwhile() as begun:
        targets = [site.us(), site.watches()]
        running = 0
        for size in sizes:
            for _ in range(size - running):
                begun.enter_context(sleeping())
            running = size
            for target, found in zip(targets, measured(targets, scrapes), strict=True):
                curve.add(target.name, replace(found, database=None))  # which is the same at any size
    return curve


@contextmanager
def sleeping() -> Iterator[None]:
    with subprocess.Popen(["sleep", "7200"], stdin=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def probes(site: Site, scrapes: int, sizes: Sequence[int] = (1, 10), seconds: float = 30) -> Curve:
    curve = Curve("probes", sizes, remark="CPU is of 15 s, with all probes")
    for size in sizes:
        with site.meanwhile():
            us = site.us("--config", str(_probing(site, size)))
            peers = site.probes(*["/health"] * size)
            with meter([us, *peers]) as measuring:
                measuring.rounds(WARM)
                found = measuring.rounds(scrapes)
                hours = steady(measuring, seconds)
            for name, targets in (("us", [us]), ("blackbox_exporter", peers)):
                latency = sum(median(one.seconds for one in found[target]) for target in targets)
                curve.add(
                    name, Point(latency, hours[targets[0]].hourly(hours[targets[0]].cpu) * INTERVAL / 3600)
                )
    return curve


def _probing(site: Site, number: int) -> Path:
    """Write a settings file for so many probes: the first is our own of /health."""
    others = {f"number-{one}": f"{site.mlflow.url}/health" for one in range(1, number)}
    file = site.postgres.directory / f"{number}-probes.yml"
    off = dict.fromkeys(("version", "api", "database"), False)
    file.write_text(yaml.safe_dump({"probes": off | {"urls": others}}))
    return file
