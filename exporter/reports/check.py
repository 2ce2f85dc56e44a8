"""`mlflow-exporter check`: the plan, tried once, with the exact statement or setting for what will not work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

from exporter.access import gate_of
from exporter.lane import Lane, Reading
from exporter.logs import harmless
from exporter.running import probe_of
from exporter.service import Service
from exporter.settings import Settings
from exporter.sources.postgres import PostgresSource
from exporter.status import place

PATIENCE_SECONDS = 10.0


def check(load: Callable[[], Settings]) -> str:
    """Return the report; raises SettingsError where the settings have faults.

    A database that is down or a missing right is reported and is no fault: the exporter starts all the same.
    """
    service = Service(load)
    try:
        # What it quotes may be another user's, or a server's.
        return "".join(f"{harmless(line)}\n" for line in _lines(service))
    finally:
        service.close()


def _lines(service: Service) -> Iterator[str]:
    yield "settings   ok"
    yield f"listen     {service.settings.web.listen}, {gate_of(service.settings.web.config.file)}"
    yield f"server     {service.server}"
    if service.found:
        workers = service.sighting.workers_configured
        yield f"workers    {'an unknown number' if workers is None else workers} configured"
    if service.plan.database:
        yield f"database   {service.plan.database.place}"
    for problem in service.problems:
        yield f"problem    {problem}"
    yield ""
    readings = service.scraper.read(time.monotonic() + PATIENCE_SECONDS)
    width = max((len(name) for _, reading in readings for name in reading.outcomes), default=0)
    for lane, reading in readings:
        yield from _of_lane(lane, reading, width)
    if not readings:
        yield "collector  none: the setting `collectors` leaves none of those that apply here"
    yield ""
    yield from _probes(service)
    if service.plan.load:
        yield "sampler    load, once a second"


def _of_lane(lane: Lane, reading: Reading, width: int) -> Iterator[str]:
    if not reading.up:
        # All its collectors fail of the same; said once.
        why = next(iter(reading.outcomes.values()))
        yield f"source     {lane.source.name}: {why.reason}: {why.detail}"
        if why.remedy:
            yield f"           -> {why.remedy}"
        yield f"           without it: {', '.join(reading.outcomes)}"
        return
    for name, outcome in reading.outcomes.items():
        count = f"ok, {len(outcome.samples)} series" if outcome.samples else "ok, nothing to read here"
        yield f"collector  {name:<{width}}  {f'{outcome.reason}: {outcome.detail}' if outcome.reason else count}"
        if outcome.remedy:
            yield f"           {'':<{width}}  -> {outcome.remedy}"
    if isinstance(lane.source, PostgresSource):
        for remark, remedy in lane.source.remarks:
            yield f"remark     {remark}"
            if remedy:
                yield f"           -> {remedy}"


def _probes(service: Service) -> Iterator[str]:
    """Try each probe once, one after the other."""
    for spec in service.plan.probes:
        with closing(probe_of(spec)) as probe:
            probe.tick()
        said = f"{probe.error.failure}: {probe.error.detail}" if probe.error else "ok"
        yield f"probe      {spec.name}: {place(spec)}: {said}"
        if probe.error and probe.error.remedy:
            yield f"           -> {probe.error.remedy}"
    if not service.plan.probes:
        yield "probe      none: no server is known, set server.url"
