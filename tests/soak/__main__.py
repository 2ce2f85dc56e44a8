"""`python -m tests.soak`: live compressed days, then say whether anything grew; exit status 1 where it did."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from tests.lab.process import ServerError
from tests.lab.tools import ROOT, MissingToolError
from tests.soak import verdict
from tests.soak.day import NIGHT, NIGHT_SECONDS, at_work, days
from tests.soak.record import Record
from tests.soak.site import Site
from tests.soak.verdict import Finding
from tests.soak.watching import INTERVAL, LOOKS, Repeated, Scraper, Watch

OUT = ROOT / "build/soak/record.json"
FEWEST_DAYS = 2  # one to warm up
WARMING = 0.25  # of a run, and a day at least
BREATH = 2.0  # seconds after each event
SETTLED = 5.0  # seconds after an event in which what it has reset may be seen


def soak(site: Site, minutes: float) -> Record:
    """Let days pass until the minutes are over, two at least, the last one cut short; each ends with its night."""
    record = Record()
    watch, scraper = Watch(site, record), Scraper(site, record, curious=True)
    end = time.monotonic() + minutes * 60 - NIGHT_SECONDS
    with Repeated(watch.look, LOOKS), Repeated(scraper.scrape, INTERVAL):
        for number, day in enumerate(days(site), 1):
            load, churn = at_work(site)
            with ExitStack() as second, load, churn:
                for place, event in enumerate(day):
                    if place == len(day) // 2:
                        other = Scraper(site, record, curious=False)
                        second.enter_context(Repeated(other.scrape, INTERVAL))
                    if number <= FEWEST_DAYS or time.monotonic() < end:
                        with record.of(event):
                            event.happen()
                        time.sleep(BREATH)
            record.during = NIGHT
            time.sleep(NIGHT_SECONDS)
            record.during = ""
            last = record.held[-1]
            print(
                f"day {number}: {last.resident:.1f} MiB, {last.fds} fds, {last.threads} threads", flush=True
            )
            if number >= FEWEST_DAYS and time.monotonic() >= end:
                return record
    raise AssertionError("days do not end")


def judge(record: Record, log: str) -> list[Finding]:
    """Return the verdict; what grows is judged from the first night on that ends a day and a quarter of the run."""
    begin, end = record.held[0].at, record.held[-1].at
    every = record.nights()
    nights = [night for night in every[:-1] if night[0].at >= begin + (end - begin) * WARMING] + every[-1:]
    held = [one for one in record.held if one.at >= nights[0][0].at]
    middle = (held[0].at + held[-1].at) / 2

    def flat(name: str) -> Finding:
        half = len(nights) // 2
        parts = (
            *([one for night in some for one in night] for some in (nights[:half], nights[-half:])),
            *([one for one in held if one.at < middle], [one for one in held if one.at >= middle]),
        )
        counts = ([getattr(one, name) for one in part if getattr(one, name) is not None] for part in parts)
        return verdict.flat(name, *counts)

    seconds = sorted(one.seconds for one in record.scrapes)
    failed = [f"{one.error} during {one.during or 'work'}" for one in record.scrapes if one.error]
    answered = f"median {statistics.median(seconds) * 1000:.0f} ms, longest {seconds[-1] * 1000:.0f} ms"
    return [
        verdict.memory(
            [(one.at, one.resident) for one in held],
            sum(one.at >= held[0].at for one in record.scrapes),
            warm=held[0].at - begin,
        ),
        *map(flat, ("fds", "threads", "sessions")),
        verdict.none("scrapes failed or late", f"of {len(seconds)} ({answered})", failed),
        verdict.none("counters fell", "without a cause", record.undeclared(SETTLED)),
        verdict.made(record.errors, record.evictions),
        verdict.none("tracebacks", "in the log", [line for line in log.splitlines() if "Traceback" in line]),
    ]


def write(record: Record, findings: list[Finding], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    written = {"verdict": [dataclasses.asdict(one) for one in findings], "record": dataclasses.asdict(record)}
    out.write_text(json.dumps(written, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=60.0)
    parser.add_argument("--out", type=Path, default=OUT, help="where all that was seen is written")
    parser.add_argument(
        "--leak",
        default="",
        metavar="KIB|fd|thread",
        help="let the exporter lose so much a second: what the soak must see",
    )
    return parser.parse_args()


def main(minutes: float, leak: str, out: Path) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background jobs ignore it
        signal.signal(number, signal.default_int_handler)
    try:
        with Site(leak) as site:
            record = soak(site, minutes)
            findings = judge(record, site.exporter.log())
    except (ServerError, MissingToolError) as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        return 130
    print(verdict.table(findings), flush=True)
    write(record, findings, out)
    return 0 if all(one.passed for one in findings) else 1


if __name__ == "__main__":
    options = arguments()
    raise SystemExit(main(options.minutes, options.leak, options.out))
