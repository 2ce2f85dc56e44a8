"""What is written down while days pass, and what it says of nights and of counters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.soak.day import NIGHT, Event


@dataclass(frozen=True)
class Scrape:
    """One answer; `error` is empty where it came in time and can be read."""

    at: float
    during: str
    seconds: float
    size: int
    error: str


@dataclass(frozen=True)
class Held:
    """What the exporter's process holds at one moment; sessions are unknown while Postgres is away."""

    at: float
    during: str
    resident: float  # MiB
    proportional: float  # MiB
    fds: int
    threads: int
    sessions: int | None


@dataclass(frozen=True)
class Span:
    """When an event was, and which counters it may have set back."""

    name: str
    start: float
    end: float
    resets: tuple[str, ...]


@dataclass(frozen=True)
class Fall:
    """A counter that was lower than when it was seen last."""

    seen: float
    at: float
    what: str


@dataclass
class Record:
    """All of it, with times of time.monotonic()."""

    during: str = ""
    held: list[Held] = field(default_factory=list)
    scrapes: list[Scrape] = field(default_factory=list)
    series: list[tuple[float, int]] = field(default_factory=list)
    falls: list[Fall] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)  # of collectors, by reason
    evictions: int = 0

    @contextmanager
    def of(self, event: Event) -> Iterator[None]:
        """Note that the event happens in this block."""
        self.during, start = event.name, time.monotonic()
        yield
        self.spans.append(Span(event.name, start, time.monotonic(), event.resets))
        self.during = ""

    def nights(self) -> list[list[Held]]:
        """Return what was held in each night."""
        nights: list[list[Held]] = []
        before = ""
        for one in self.held:
            if one.during == NIGHT:
                if before != NIGHT:
                    nights.append([])
                nights[-1].append(one)
            before = one.during
        return nights

    def undeclared(self, settled: float) -> list[str]:
        """Return the falls that no event, and so many seconds after it, may have caused."""
        return [
            fall.what
            for fall in self.falls
            if not any(
                one.start <= fall.at and fall.seen <= one.end + settled and fall.what.startswith(one.resets)
                for one in self.spans
            )
        ]
