"""`mlflow-exporter explain`: what MLflow's slowest SELECTs read, which index would help, whether SQL is the wait."""

from __future__ import annotations

from typing import TextIO

import msgspec
from msgspec import structs

from exporter.collector import Reason, SourceError
from exporter.discovery import Discovery
from exporter.plan import HostSpec, plan
from exporter.reports import explain_text
from exporter.reports.explained import Problem, Report, report_of
from exporter.reports.watch import watch
from exporter.settings import Settings
from exporter.sources.absent import Absence
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSource


def explain(settings: Settings, seconds: float, as_json: bool, out: TextIO) -> int:
    """Watch for that long and write the report; returns 0, or 1 where nothing could be read."""
    try:
        _, report = watched(settings, seconds)
    except SourceError as error:
        problem = Problem.of("database", error)
        out.write(_json({"problems": [problem]}) if as_json else explain_text.failed(problem))
        return 1
    out.write(_json(report) if as_json else explain_text.text(report))
    return 0


def watched(settings: Settings, seconds: float) -> tuple[str, Report]:
    """Watch the database for that long; returns where it is and the report. Raises SourceError."""
    discovery = Discovery(settings.server.port, settings.server.user)
    target = _target(settings, discovery)
    source = PostgresSource(target)
    try:
        return target.place, report_of(watch(source, discovery, seconds))
    finally:
        source.close()


def _target(settings: Settings, discovery: Discovery) -> Target:
    """Return the database that the exporter would watch; raises SourceError where there is none to explain."""
    # Which collectors run is no question here.
    every = structs.replace(settings, collectors=())
    sighting = discovery.look()
    lanes = plan(every, sighting.found, sighting.ambiguous).lanes
    source = next(lane.source for lane in lanes if not isinstance(lane.source, HostSpec))
    match source:
        case Target():
            return source
        case Absence():
            raise SourceError(source.reason, source.detail, source.remedy)
        case _:
            raise SourceError(
                Reason.UNSUPPORTED, "SQLite keeps no statistics of statements: nothing to explain"
            )


def _json(report: object) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
