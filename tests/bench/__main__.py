"""`python -m tests.bench [--scrapes N] [PART...]`: measure, print, and with `--write` keep it in RESULTS.md."""

from __future__ import annotations

import argparse
import os

from tests.bench import report
from tests.bench.meter import meter
from tests.bench.site import Site

CORES = 2


def side_by_side(scrapes: int) -> str:
    with Site() as site:
        targets = [site.us(), *site.peers()]
        with meter(targets) as measuring:
            measuring.rounds(5)  # caches, connections, statements of everybody's own
            site.fill()
            measuring.rounds(5)  # texts of new statements are read once
            return report.side_by_side_table(measuring.rounds(scrapes))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--scrapes", type=int, default=100, help="of each exporter")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    print(side_by_side(options.scrapes))


if __name__ == "__main__":
    main()
