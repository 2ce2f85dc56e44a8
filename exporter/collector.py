"""What a collector is: a name, its metrics, and one way to read them from a source's session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from exporter.metric import Metric, Sample

if TYPE_CHECKING:
    from exporter.sources.facts import Facts

Row = Mapping[str, object]
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
    `every` is 0 for each scrape, else the seconds between two readings of a slow collector.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    every: ClassVar[float] = 0.0

    def collect(self, session: S) -> Iterable[Sample]:
        raise NotImplementedError


class Answers(Protocol):
    """What SQL collectors read: a scrape's pipeline of answers, and what is true of the server just now."""

    @property
    def facts(self) -> Facts: ...

    @property
    def round_trip(self) -> float:
        """Seconds from sending the scrape's first query to its answer."""

    def rows(self, query: str) -> Sequence[Row]:
        """Return the rows of one of the collector's own `queries`; raises that query's own SourceError."""

    def ask(self, query: str, *params: object) -> Sequence[Row]:
        """Run one more query of the directory in a round trip of its own; at most two a scrape."""


class SqlCollector(Collector[Answers]):
    """Read one subject by SQL: a column whose alias is a metric's name is a sample, the others are labels.

    `queries` are stems in `exporter/queries`. NULL makes no sample; a NULL label is the empty string.
    `needs_store` makes it a named failure, not an empty answer, that MLflow's tables are not within reach.
    """

    queries: ClassVar[tuple[str, ...]] = ()
    needs_store: ClassVar[bool] = False

    def collect(self, session: Answers) -> Iterable[Sample]:
        if self.needs_store:
            session.facts.require_store()
        for query in self.queries:
            for row in session.rows(query):
                yield from self.samples(row)

    def samples(self, row: Row) -> Iterable[Sample]:
        for metric in self.metrics:
            value = row.get(metric.name)
            if value is not None:
                assert isinstance(value, int | float), f"{metric.name} is {value!r}"
                yield metric(float(value), *(_label(row[label]) for label in metric.labels))


def _label(value: object) -> str:
    return "" if value is None else str(value)
