"""What is not in a median: the first scrape of a new process, which knows nothing of the 5,000 statements."""

from __future__ import annotations

from tests.bench.meter import meter
from tests.bench.report import ms, table, whole
from tests.bench.site import Site


def firsts_table(site: Site) -> str:
    rows = []
    with site.meanwhile():
        targets = [site.us(), site.reads()]
        with meter(targets) as measuring:
            for target in targets:
                one = measuring.scrape(target)
                costs = (ms(one.seconds), ms(one.cpu), ms(one.work.seconds), whole(one.work.temp_blocks))
                rows.append((target.name, *costs))
    return table(["first scrape of", "time", "CPU", "database execution", "temporary blocks"], rows)
