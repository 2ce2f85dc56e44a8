"""From a request to its exposition: read every part by the deadline, encode once."""

from __future__ import annotations

import gzip
import platform
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import ProcessCollector

from exporter import __version__
from exporter.exposition import Writer, written
from exporter.lane import Lane, Reading
from exporter.metric import Sample, gauge

BUILD_INFO = gauge(
    "mlflow_exporter_build_info",
    "Always 1; the exporter's version.",
    "the exporter",
    labels=("version", "python"),
)
SERIES = gauge(
    "mlflow_exporter_series",
    "Series in this exposition, this one and those of the exporter's own process not counted.",
    "the exporter",
)
METRICS = (BUILD_INFO, SERIES)


class Gives(Protocol):
    """A part that knows its samples without waiting: a sampler's loop, the state of the configuration."""

    def samples(self) -> Iterable[Sample]: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """All that is read for a scrape."""

    lanes: tuple[Lane, ...] = ()
    others: tuple[Gives, ...] = ()


@dataclass(frozen=True, slots=True)
class Exposition:
    text: bytes
    gzipped: bytes


@dataclass(slots=True)
class Flight:
    """A scrape under way that others who come meanwhile may share."""

    landed: threading.Event = field(default_factory=threading.Event)
    exposition: Exposition | None = None


class Scraper:
    """Answer scrapes of whatever `parts` are current; several Prometheus at once get one reading, one encoding."""

    def __init__(self, parts: Parts | None = None) -> None:
        self.parts = parts or Parts()
        self._latest: tuple[float, list[tuple[Lane, Reading]]] = (0.0, [])
        self._lock = threading.Lock()
        self._flight: Flight | None = None
        self._writer = Writer()
        # registry=None: nothing is registered, which would collect at once and keep state for ever.
        self._process = ProcessCollector(registry=None)

    def exposition(self, deadline: float) -> Exposition:
        """Return what is true by the deadline (of time.monotonic)."""
        with self._lock:
            flight, own = self._flight, Flight()
            if flight is None:
                self._flight = own
        if flight is not None:
            if flight.landed.wait(max(0.0, deadline - time.monotonic())) and flight.exposition is not None:
                return flight.exposition
            return self._encoded(self.read(deadline))
        try:
            own.exposition = self._encoded(self.read(deadline))
            return own.exposition
        finally:
            with self._lock:
                self._flight = None
            own.landed.set()

    def read(self, deadline: float) -> list[tuple[Lane, Reading]]:
        """Read all lanes side by side; together they take as long as the slowest, at most until the deadline."""
        lanes = self.parts.lanes
        runs = [lane.begin(deadline) for lane in lanes]
        readings = [(lane, lane.read(run, deadline)) for lane, run in zip(lanes, runs, strict=True)]
        self._latest = (time.monotonic(), readings)
        return readings

    def hurry(self) -> None:
        """Have scrapes under way answer with what is read by now."""
        for lane in self.parts.lanes:
            lane.hurry()

    @property
    def read_at(self) -> float:
        """When the lanes were last read, of time.monotonic; 0 before the first time."""
        return self._latest[0]

    def recent(self, age: float, deadline: float) -> list[tuple[Lane, Reading]]:
        """Return the latest readings, anew only where they are older than `age` or of other parts."""
        at, readings = self._latest
        if time.monotonic() - at < age and tuple(lane for lane, _ in readings) == self.parts.lanes:
            return readings
        return self.read(deadline)

    def _encoded(self, readings: Sequence[tuple[Lane, Reading]]) -> Exposition:
        samples = [BUILD_INFO(1, __version__, platform.python_version())]
        for lane, reading in readings:
            samples.extend(lane.samples(reading))
        for part in self.parts.others:
            samples.extend(part.samples())
        main, series = self._writer.text(samples)
        own, _ = Writer().text([SERIES(series)])
        text = (main + own).encode() + written(self._process.collect())
        # Level 1: level 9 takes five times as long for a tenth less on this text.
        return Exposition(text, gzip.compress(text, compresslevel=1, mtime=0))
