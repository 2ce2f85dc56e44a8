"""What a collector is: a name, its metrics, and one way to read them from a source's session."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, Generic, NamedTuple, TypeVar

from exporter.logs import harmless
from exporter.metric import Metric, Sample

S = TypeVar("S")
LONGEST_DETAIL = 1_000


class Reason(StrEnum):
    """Why a source or a collector gave nothing; the only values of the label `reason`."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    PERMISSION = "permission"
    UNSUPPORTED = "unsupported"
    BAD_ANSWER = "bad_answer"
    BUSY = "busy"
    EXHAUSTED = "exhausted"
    BUG = "bug"


class SourceError(Exception):
    """Say why nothing could be read.

    `detail` is for the log and the status page and holds no secret; what a server said in it becomes one line that can
    be printed. `remedy` is the exact statement, setting or command that mends it, or empty where nothing of that kind
    would.
    """

    def __init__(self, reason: Reason, detail: str, remedy: str = "") -> None:
        detail = harmless(detail[:LONGEST_DETAIL])
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.remedy = remedy


class Query(NamedTuple):
    """A query that a source is asked to answer: a stem in `exporter/queries`, its parameters, seconds it may run."""

    name: str
    params: tuple[object, ...] = ()
    timeout: float = 2.0


class Collector(Generic[S]):
    """Read one subject from a session, whole or not at all.

    An instance lives as long as the target it watches, so what must be known between scrapes (deltas, slots)
    is its attributes. Only one thread at a time calls `collect`. It does not catch: errors of the source
    arrive as SourceError, anything else is reported as `bug`.
    `every` is 0 for each scrape, else the seconds between two readings of a slow collector. `queries` are the
    stems in `exporter/queries` that it wants answered, each with `params`; only SQL collectors have some. None
    may run longer than `timeout` seconds, nor than the scrape has left: a query that takes longer is a burden on a
    database that is in trouble already.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    queries: ClassVar[tuple[str, ...]] = ()
    params: ClassVar[tuple[object, ...]] = ()
    timeout: ClassVar[float] = 2.0
    every: ClassVar[float] = 0.0

    @classmethod
    def wanted(cls) -> list[Query]:
        return [Query(name, cls.params, cls.timeout) for name in cls.queries]

    def collect(self, session: S) -> Iterable[Sample]:
        raise NotImplementedError
