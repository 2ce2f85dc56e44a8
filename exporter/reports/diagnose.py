"""`mlflow-exporter diagnose`: which cause it is, the evidence, what to do; from Prometheus, or from two scrapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TextIO

import msgspec

from exporter.collector import SourceError
from exporter.reports import diagnose_text as text
from exporter.reports.asking import ask, fleet, places
from exporter.reports.concluded import diagnosis_of
from exporter.reports.evidence import Seen, figures
from exporter.reports.explain import watched
from exporter.reports.explained import Problem
from exporter.reports.explained import Report as Explained
from exporter.reports.prometheus import Prometheus
from exporter.reports.scrapes import Scrapes
from exporter.reports.terminal import painter, printable
from exporter.service import Service
from exporter.settings import Settings, SettingsError

PATIENCE_SECONDS = 10.0
WHOSE = (
    "This is that of this machine's tracking server, or the one that database.dsn names here: Prometheus has no word "
    "on whether {} uses it."
)
WELL, FAILED, FIRES = 0, 1, 3  # 2 is for faulty settings or usage, as of all commands


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to diagnose: `seconds` to watch, one tracking server or all, `at` a Unix time or None for now."""

    seconds: float
    job: str = ""
    tracking_server: str = ""
    at: float | None = None


class Report:
    """Writes each part as soon as it is known; as JSON all at the end."""

    def __init__(self, out: TextIO, as_json: bool) -> None:
        self._out, self._json = out, as_json
        self._parts: dict[str, Any] = {}
        self.paint = painter(out)

    def add(self, lines: Iterable[str], **parts: object) -> None:
        if not self._json:
            first = "\n" if self._parts else ""
            self._out.write(first + "\n".join(lines) + "\n")
            self._out.flush()
        self._parts |= parts

    def close(self) -> None:
        if self._json:
            self._out.write(msgspec.json.format(msgspec.json.encode(self._parts), indent=2).decode() + "\n")


def diagnose(load: Callable[[], Settings], wanted: Wanted, as_json: bool, out: TextIO) -> int:
    """Write the report; returns the exit status: 0 nothing fires, 1 no diagnosis, 3 something fires.

    Without a Prometheus nothing can fire: 0 where anything could be read. Raises SettingsError.
    """
    settings, report = load(), Report(out, as_json)
    if not settings.prometheus.url and (wanted.at or wanted.job or wanted.tracking_server):
        raise SettingsError(
            ("flags: --at, --job and --tracking-server choose in a Prometheus, give --prometheus URL",)
        )
    try:
        if settings.prometheus.url:
            return _asked(settings, wanted, report)
        return _scraped(load, settings, wanted, report)
    except SourceError as error:
        why = Problem.of("prometheus", error)
        report.add(text.failed(why), problems=[why])
        return FAILED
    finally:
        report.close()


def _asked(settings: Settings, wanted: Wanted, report: Report) -> int:
    at = wanted.at or time.time()
    with closing(Prometheus(settings.prometheus)) as prometheus:
        meant = places(prometheus, at, wanted.job, wanted.tracking_server)
        common = {"at": at, "prometheus": prometheus.url}
        if len(meant) > 1:
            found = fleet(prometheus, at, meant, wanted.job, wanted.tracking_server)
            report.add(text.of_fleet(found, at, report.paint), **common, fleet=found)
            return FIRES if found.firing else WELL
        asked, remarks = ask(prometheus, at, meant[0])
    diagnosis = diagnosis_of(asked)
    lines = text.of_prometheus(diagnosis, text.named(*meant[0]), at, remarks, report.paint)
    report.add(lines, **common, **meant[0]._asdict(), remarks=remarks, diagnosis=diagnosis)
    if wanted.at is None:  # what writes now says nothing of another time
        # Who has to choose has several, and this machine's may be another.
        chosen = wanted.job or wanted.tracking_server
        remark = WHOSE.format(meant[0].tracking_server or "the one above") if chosen else ""
        _add(_watched(settings, wanted.seconds), report, remark)
    return FIRES if diagnosis.fires else WELL


def _scraped(load: Callable[[], Settings], settings: Settings, wanted: Wanted, report: Report) -> int:
    service = Service(load)
    try:
        before, began = _scrape(service), time.monotonic()
        database = _watched(settings, wanted.seconds)
        time.sleep(max(0.0, began + wanted.seconds - time.monotonic()))
        seconds = time.monotonic() - began
        found = tuple(figures(Scrapes.of(before, _scrape(service), seconds)))
        seen = Seen(service.server, seconds, found, tuple(_blind(service)))
    finally:
        service.close()
    report.add(text.of_scrapes(seen, report.paint), at=time.time(), scrapes=seen)
    _add(database, report)
    return WELL if found else FAILED


def _scrape(service: Service) -> str:
    return service.scraper.exposition(time.monotonic() + PATIENCE_SECONDS).text.decode()


def _blind(service: Service) -> Iterator[tuple[str, str, str]]:
    """Give what the last scrape could not read; of a source that is gone it is said once."""
    for lane, reading in service.scraper.recent(PATIENCE_SECONDS, time.monotonic() + PATIENCE_SECONDS):
        failed = {name: one for name, one in reading.outcomes.items() if one.reason}
        if not reading.up:
            failed = {f"source {lane.source.name}": one for one in list(failed.values())[:1]}
        for name, one in failed.items():
            yield name, f"{one.reason}: {printable(one.detail, 300)}", one.remedy


def _watched(settings: Settings, seconds: float) -> tuple[str, Explained] | Problem:
    try:
        return watched(settings, seconds)
    except SourceError as error:
        return Problem.of("database", error)


def _add(database: tuple[str, Explained] | Problem, report: Report, remark: str = "") -> None:
    if isinstance(database, Problem):
        report.add(text.without_database(database, report.paint), problems=[database])
        return
    place, found = database
    lines = text.of_database(place, found, report.paint, remark)
    report.add(lines, database=found, database_place=place, database_remark=remark)
