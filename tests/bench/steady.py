"""What exporters cost in an hour when each is scraped every 15 seconds, with all that they do by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from tests.bench.exporters import Target
from tests.bench.meter import Meter, Scrape, Work, cpu_seconds
from tests.bench.report import table

INTERVAL = 15.0


@dataclass(frozen=True)
class Hours:
    """What one exporter cost in `seconds`, between its scrapes too."""

    seconds: float
    cpu: float
    work: Work
    scrapes: tuple[Scrape, ...]
    resident: int
    peak: int
    proportional: int

    def hourly(self, amount: float) -> float:
        return amount * 3600 / self.seconds


def steady(meter: Meter, seconds: float) -> dict[Target, Hours]:
    """Scrape each target every 15 s, evenly spread, and sum up what its process did and had Postgres do."""
    targets = meter.targets
    begun = time.monotonic()
    before = {one: (cpu_seconds(one.pid), meter.work(one)) for one in targets}
    scrapes: dict[Target, list[Scrape]] = {one: [] for one in targets}
    for turn in range(round(seconds / INTERVAL)):
        for place, one in enumerate(targets):
            due = begun + INTERVAL * (turn + (place + 0.5) / len(targets))
            time.sleep(max(0.0, due - time.monotonic()))
            scrapes[one].append(meter.scrape(one))
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
    return {one: _summed(meter, one, begun, before[one], scrapes[one]) for one in targets}


def _summed(
    meter: Meter, target: Target, begun: float, before: tuple[float, Work], scrapes: Sequence[Scrape]
) -> Hours:
    cpu, work = before
    memory = psutil.Process(target.pid).memory_full_info()
    return Hours(
        seconds=time.monotonic() - begun,
        cpu=cpu_seconds(target.pid) - cpu,
        work=meter.work(target).since(work),
        scrapes=tuple(scrapes),
        resident=memory.rss,
        peak=_peak(target.pid),
        proportional=memory.pss,
    )


def hourly_table(found: dict[Target, Hours]) -> str:
    us, *peers = found.values()

    def row(name: str, values: Sequence[float], unit: str, digits: int = 1) -> Sequence[str]:
        own, *each = values
        share = f"{own / sum(each):.2f}" if sum(each) and own else ""
        return [name, *(f"{value:,.{digits}f}{unit}" for value in (own, *each, sum(each))), share]

    def rows() -> Iterator[Sequence[str]]:
        all_of = (us, *peers)
        scraping = [one.hourly(sum(scrape.cpu for scrape in one.scrapes)) for one in all_of]
        total = [one.hourly(one.cpu) for one in all_of]
        in_scrapes = [one.hourly(sum(scrape.work.seconds for scrape in one.scrapes)) for one in all_of]
        database = [one.hourly(one.work.seconds) for one in all_of]
        yield row("CPU in an hour", total, " s")
        yield row("- in its scrapes", scraping, " s")
        yield row("- between them", _less(total, scraping), " s")
        yield row("database execution in an hour", database, " s")
        yield row("- in its scrapes", in_scrapes, " s")
        yield row("- between them", _less(database, in_scrapes), " s")
        yield row("sessions opened in an hour", [one.hourly(one.work.sessions) for one in all_of], "", 0)
        yield row("temporary blocks in an hour", [one.hourly(one.work.temp_blocks) for one in all_of], "", 0)
        yield row(
            "scrape, p50", [1000 * median(one.seconds for one in each.scrapes) for each in all_of], " ms"
        )
        yield row(
            "CPU of a scrape, p50", [1000 * median(one.cpu for one in each.scrapes) for each in all_of], " ms"
        )
        yield row("resident memory", [one.resident / 2**20 for one in all_of], " MiB")
        yield row("resident memory at its peak", [one.peak / 2**20 for one in all_of], " MiB")
        yield row("proportional memory", [one.proportional / 2**20 for one in all_of], " MiB")

    head = ["scraped every 15 s", *(target.name for target in found), "peers together", "ours / theirs"]
    return table(head, rows())


def _peak(pid: int) -> int:
    """Return the most bytes that a process has ever had resident."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _less(all_of: Sequence[float], some: Sequence[float]) -> list[float]:
    return [max(0.0, one - other) for one, other in zip(all_of, some, strict=True)]
