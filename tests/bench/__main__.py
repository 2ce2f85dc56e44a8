"""`python -m tests.bench [--scrapes N] [PART...]`: measure, and print; all parts with `--write` make RESULTS.md."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.bench import curves, floors, results, statements
from tests.bench.far import links
from tests.bench.firsts import firsts_table
from tests.bench.meter import meter
from tests.bench.results import Results
from tests.bench.site import Site
from tests.bench.steady import steady

CORES = 2
BESIDE = ("side-by-side", "steady", "firsts", "floors", "links")
GROWTH = ("statements", "metric-rows", "runs", "connections", "processes", "probes", "workers")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def beside(found: Results, parts: set[str], scrapes: int, seconds: float) -> None:
    """Measure what needs a site with 5,000 statements."""
    with Site() as site:
        with site.meanwhile():
            targets = site.all()
            with meter(targets) as measuring:
                measuring.rounds(5)  # caches, connections, statements of everybody's own
                site.fill()
                curves.learn(measuring, targets[0])
                found.text_bytes = site.text_bytes
                say("side by side")
                found.scraped = measuring.rounds(scrapes if "side-by-side" in parts else 5)
                found.proportional = {one: measuring.proportional(one) for one in targets}
                if "steady" in parts:
                    say("steady state")
                    known = statements.tracked(site.postgres)
                    found.hours = steady(measuring, seconds)
                    found.new_statements = statements.tracked(site.postgres) - known
            if "floors" in parts:
                say("floors")
                found.floors = floors.floors_table(site, targets[0], max(3, scrapes // 4))
        found.evicted = statements.evicted(site.postgres)
        if "firsts" in parts:
            say("firsts")
            found.firsts = firsts_table(site)
        if "links" in parts:
            say("links")
            found.far = links(site, max(3, scrapes // 20))


def growth(found: Results, parts: set[str], scrapes: int) -> None:
    """Measure the curves that are of one site, each with exporters of its own."""
    of_site = {
        "statements": curves.tracked,
        "metric-rows": curves.metric_rows,
        "runs": curves.runs,
        "connections": curves.connections,
        "processes": curves.processes,
        "probes": curves.probes,
    }
    if not parts.isdisjoint(of_site):
        with Site(connections=700) as site:
            for name, measure in of_site.items():
                if name in parts:
                    say(name)
                    found.curves.append(measure(site, scrapes))
    if "workers" in parts:
        say("workers")
        found.curves.append(curves.workers(scrapes))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(BESIDE + GROWTH)}; default all"
    )
    parser.add_argument(
        "--scrapes", type=int, default=100, help="of each exporter side by side; curves take a fifth"
    )
    parser.add_argument("--seconds", type=float, default=300, help="of the steady state")
    parser.add_argument("--write", action="store_true", help="write tests/bench/RESULTS.md and growth.svg")
    options = parser.parse_args()
    parts = set(options.parts or BESIDE + GROWTH)
    if unknown := parts - {*BESIDE, *GROWTH}:
        parser.error(f"no such part: {', '.join(unknown)}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    found = Results()
    if parts & set(BESIDE):
        beside(found, parts, options.scrapes, options.seconds)
    growth(found, parts, max(3, options.scrapes // 5))
    print(found.text())
    if options.write:
        results.write(found)


if __name__ == "__main__":
    main()
