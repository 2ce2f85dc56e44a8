"""What a scrape costs whose database is far: its time at each delay, its round trips, its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.curves import WARM, Curve, Point
from tests.bench.exporters import Target
from tests.bench.link import Link
from tests.bench.meter import Scrape, meter
from tests.bench.site import Site

SLOW_START = "with TCP's slow start"


@dataclass(frozen=True)
class Far:
    """What a link to the database tells beside its curve: what a scrape moves on it, and how often it waits."""

    curve: Curve
    moved: dict[str, float]
    waits: dict[str, float]

    def slope(self, name: str) -> float:
        """Return by how many round trips of 50 ms a scrape gets longer."""
        points = self.curve.lines[name]
        return (points[self.curve.sizes.index(50)].seconds - points[0].seconds) / 0.05


def links(site: Site, scrapes: int, sizes: Sequence[int] = (0, 10, 50, 100)) -> Far:
    far = Far(Curve("ms of round trip to the database", sizes), {}, {})
    for slow_start in (False, True):
        for target, link, found in linked(site, scrapes, sizes, slow_start):
            name = f"{target.name}, {SLOW_START}" if slow_start else target.name
            far.curve.add(name, Point(median(one.scrape.seconds for one in found)))
            far.moved[target.name] = median(one.moved for one in found)
            if link.delay:
                far.waits[target.name] = median(one.waits for one in found)
    return far


@dataclass(frozen=True)
class Passage:
    """A scrape whose database is behind a link: bytes that went over it, and round trips."""

    scrape: Scrape
    moved: int
    waits: int


def linked(
    site: Site, scrapes: int, sizes: Sequence[int], slow_start: bool = False
) -> Iterator[tuple[Target, Link, list[Passage]]]:
    """Scrape both who read the database behind links of all sizes, in milliseconds, in turn."""
    with site.meanwhile() as begun:
        far = []
        for size in sizes:
            for start in (site.us, site.reads):
                link = begun.enter_context(Link(site.postgres.port, size / 1000, slow_start))
                far.append((start(port=link.port), link))
        with meter([target for target, _ in far]) as measuring:
            measuring.rounds(WARM)
            found: dict[Target, list[Passage]] = {target: [] for target, _ in far}
            for _ in range(scrapes):
                for target, link in far:
                    passed, waits = link.passed, link.waits
                    scrape = measuring.scrape(target)
                    found[target].append(Passage(scrape, link.passed - passed, link.waits - waits))
        for target, link in far:
            yield target, link, found[target]
