"""The parts of the current plan, and the change from one plan to the next.

A part whose spec is equal in both plans keeps running with its counters; the others start from zero, which
Prometheus takes as a reset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from exporter import collectors
from exporter.collector import Collector
from exporter.collectors import DATABASE_UP
from exporter.collectors.statements import Statements
from exporter.discovery import Discovery
from exporter.lane import Lane
from exporter.plan import TOLD, HostSpec, LaneSpec, Plan, ProbeSpec, SamplerSpec, SqliteSpec
from exporter.samplers.database_probe import DatabaseProbe
from exporter.samplers.http_probe import HttpProbe, HttpProbeSpec
from exporter.samplers.load import LoadSampler, LoadSpec
from exporter.samplers.loop import Loop
from exporter.samplers.probes import Probe
from exporter.scrape import Gives, Parts, Scraper
from exporter.sources.absent import Absence, AbsentSource
from exporter.sources.conninfo import Target
from exporter.sources.host import HostSource
from exporter.sources.postgres import PostgresSource
from exporter.sources.sqlite import SqliteSource

K = TypeVar("K")
P = TypeVar("P", Lane, Loop)


class Running:
    """The parts of the current plan."""

    def __init__(self, scraper: Scraper, always: tuple[Gives, ...] = ()) -> None:
        self._scraper = scraper
        self._always = always
        self._lanes: dict[LaneSpec, Lane] = {}
        self._loops: dict[SamplerSpec, Loop] = {}

    def apply(self, plan: Plan, discovery: Discovery) -> None:
        """Go over to a plan; whatever fails in it fails before anything has changed."""
        lanes, new_lanes = _next(plan.lanes, self._lanes, lambda spec: _lane(spec, discovery))
        new: list[Lane | Loop] = [*new_lanes]
        try:
            loops, new_loops = _next(plan.samplers, self._loops, _loop)
            new += new_loops
            for loop in new_loops:
                loop.start()
        except Exception:
            for part in new:
                part.close()
            raise
        gone: list[Lane | Loop] = [part for spec, part in self._lanes.items() if spec not in lanes]
        gone += [part for spec, part in self._loops.items() if spec not in loops]
        self._lanes, self._loops = lanes, loops
        self._scraper.parts = Parts(tuple(lanes.values()), (*self._always, *loops.values()))
        for part in gone:
            part.close()

    @property
    def loops(self) -> tuple[Loop, ...]:
        return tuple(self._loops.values())

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        for loop in self._loops.values():
            loop.close()


def _next(specs: tuple[K, ...], current: dict[K, P], build: Callable[[K], P]) -> tuple[dict[K, P], list[P]]:
    """Return the parts of the specs, current ones where a spec is equal, and those newly built."""
    parts: dict[K, P] = {}
    new: list[P] = []
    try:
        for spec in specs:
            if spec not in current:
                new.append(build(spec))
            parts[spec] = current[spec] if spec in current else new[-1]
    except Exception:
        for part in new:
            part.close()
        raise
    return parts, new


def _lane(spec: LaneSpec, discovery: Discovery) -> Lane:
    match spec.source:
        case HostSpec():
            return Lane(HostSource(discovery), _built(spec))
        case Target():
            return Lane(PostgresSource(spec.source), _built(spec), DATABASE_UP)
        case SqliteSpec():
            return Lane(SqliteSource(spec.source.path), _built(spec), DATABASE_UP)
        case Absence():
            # No `up`: nothing is known to be down.
            return Lane(AbsentSource(spec.source), _built(spec))


def _built(spec: LaneSpec) -> list[Collector[Any]]:
    return [_collector(name, spec) for name in spec.collectors]


def _collector(name: str, spec: LaneSpec) -> Collector[Any]:
    if name in TOLD:
        return TOLD[name](spec.capacity)
    if name == Statements.name and spec.statements:
        return Statements(spec.statements.slowest, spec.statements.texts)
    return collectors.BY_NAME[name]()


def _loop(spec: SamplerSpec) -> Loop:
    return Loop(LoadSampler(spec) if isinstance(spec, LoadSpec) else probe_of(spec))


def probe_of(spec: ProbeSpec) -> Probe:
    return HttpProbe(spec) if isinstance(spec, HttpProbeSpec) else DatabaseProbe(spec)
