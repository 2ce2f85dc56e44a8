"""The collectors that read by SQL: usually a list of queries and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol

from exporter.collector import Collector
from exporter.logs import harmless
from exporter.metric import Sample
from exporter.sources.facts import Facts
from exporter.sources.pipeline import Row


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

    NULL makes no sample; a NULL label is the empty string.
    `needs_store` makes it a named failure, not an empty answer, that MLflow's tables are not within reach.
    """

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
    # Names in a database are whatever somebody called them; an exposition is printed to terminals, too.
    return "" if value is None else harmless(str(value))
