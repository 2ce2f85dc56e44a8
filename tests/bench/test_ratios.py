"""What a scrape of ours costs by the side of the exporters that it replaces: ratios and counts, no times."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import pytest

from tests.bench import statements
from tests.bench.curves import measured, sleeping
from tests.bench.far import linked
from tests.bench.meter import Measured, meter
from tests.bench.report import CPU, DATABASE, together
from tests.bench.site import SPARE, Site

pytestmark = pytest.mark.bench

SCRAPES = 10


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def scraped(site: Site) -> Measured:
    """Return what all cost by turns, with 5,000 statements."""
    with site.meanwhile(), meter(site.all()) as measuring:
        measuring.rounds(3)
        site.fill()
        measuring.rounds(3)
        return measuring.rounds(SCRAPES)


def test_a_scrape_takes_less_than_half_of_the_cpu_of_the_three_it_replaces(scraped: Measured) -> None:
    us, *peers = scraped.values()
    assert median(map(CPU.of, us)) < 0.5 * median(together(peers, CPU.of))


def test_a_scrape_takes_less_than_half_of_their_time_in_the_database(scraped: Measured) -> None:
    us, *peers = scraped.values()
    assert median(map(DATABASE.of, us)) < 0.5 * median(together(peers, DATABASE.of))


def test_a_scrape_opens_no_session_and_writes_no_temporary_file(scraped: Measured) -> None:
    us, reads, *_ = scraped.values()
    assert median(one.work.sessions for one in us) == 0
    assert median(one.work.sessions for one in reads) == 1  # so they are counted
    assert median(one.work.temp_blocks for one in us) == 0


def test_postgres_was_as_full_of_statements_as_was_said(site: Site, scraped: Measured) -> None:
    assert statements.tracked(site.postgres) > 5_000 - 2 * SPARE
    assert 12_000_000 < site.text_bytes < 18_000_000


def test_a_scrape_of_a_far_database_waits_for_three_answers_at_most(site: Site) -> None:
    waits = {target.name: median(one.waits for one in found) for target, _, found in linked(site, 3, (50,))}
    assert 1 <= waits["us"] <= 3
    assert waits["postgres_exporter"] > 10  # so it is round trips that are counted


def test_a_scrape_costs_the_same_with_500_more_processes_on_the_machine(site: Site) -> None:
    with site.meanwhile() as begun:
        targets = [site.us(), site.watches()]
        few = measured(targets, SCRAPES)
        for _ in range(500):
            begun.enter_context(sleeping())
        many = measured(targets, SCRAPES)
    ours, theirs = (
        after.cpu / before.cpu for before, after in zip(few, many, strict=True) if before.cpu and after.cpu
    )
    # Of a machine that has become busier meanwhile both have their share.
    assert ours < 1.2 or ours < theirs / 2
