"""What a collector is: a name, its metrics, and one way to read them from a source's session."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, Generic, TypeVar

from exporter.metric import Metric, Sample

S = TypeVar("S")


class Reason(StrEnum):
    """Why a source or a collector gave nothing; the only values of the label `reason`."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    PERMISSION = "permission"
    UNSUPPORTED = "unsupported"
    BAD_ANSWER = "bad_answer"
    BUSY = "busy"
    BUG = "bug"


class SourceError(Exception):
    """Say why nothing could be read.

    `detail` is for the log and the status page and holds no secret; `remedy` is the exact statement, setting
    or command that mends it, or empty where nothing of that kind would.
    """

    def __init__(self, reason: Reason, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.remedy = remedy


class Collector(Generic[S]):
    """Read one subject from a session, whole or not at all.

    An instance lives as long as the target it watches, so what must be known between scrapes (deltas, slots)
    is its attributes. Only one thread at a time calls `collect`. It does not catch: errors of the source
    arrive as SourceError, anything else is reported as `bug`.
    `every` is 0 for each scrape, else the seconds between two readings of a slow collector. `queries` are the
    stems in `exporter/queries` that it wants answered; only SQL collectors have some.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    queries: ClassVar[tuple[str, ...]] = ()
    every: ClassVar[float] = 0.0

    def collect(self, session: S) -> Iterable[Sample]:
        raise NotImplementedError
