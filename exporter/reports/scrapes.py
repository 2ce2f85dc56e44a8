"""Two scrapes a while apart, and what follows from them: values, growth, sums."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

# Counters that begin with the process that is scraped: what was not there at its first scrape has grown from 0.
OWN = ("mlflow_db_load_", "mlflow_probe_")

Values = Mapping[str, Mapping[frozenset[tuple[str, str]], float]]


@dataclass(frozen=True, slots=True)
class Scrapes:
    """Labels are given as regular expressions that match as a whole; None stands for what was not there."""

    before: Values
    after: Values
    seconds: float

    @classmethod
    def of(cls, before: str, after: str, seconds: float) -> Scrapes:
        return cls(_values(before), _values(after), seconds)

    def values(self, name: str, /, **labels: str) -> list[float]:
        return [value for _, value in self._series(name, labels)]

    def last(self, name: str, /, **labels: str) -> float | None:
        """Return the greatest value at the second scrape."""
        return max(self.values(name, **labels), default=None)

    def total(self, name: str, /, **labels: str) -> float | None:
        found = self.values(name, **labels)
        return sum(found) if found else None

    def growths(self, name: str, /, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return by how much each counter has grown; one that has begun anew has grown from 0."""
        old = self.before.get(name, {})
        return {
            key: value - was if value >= (was := old.get(key, 0.0)) else value
            for key, value in self._series(name, labels)
            if key in old or name.startswith(OWN)
        }

    def growth(self, name: str, /, **labels: str) -> float | None:
        found = self.growths(name, **labels)
        return sum(found.values()) if found else None

    def rate(self, name: str, /, **labels: str) -> float | None:
        found = self.growth(name, **labels)
        return None if found is None else found / self.seconds

    def _series(
        self, name: str, labels: Mapping[str, str]
    ) -> Iterator[tuple[frozenset[tuple[str, str]], float]]:
        for key, value in self.after.get(name, {}).items():
            own = dict(key)
            if all(re.fullmatch(pattern, own.get(label, "")) for label, pattern in labels.items()):
                yield key, value


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return the quotient, None where one of both is missing or there is nothing to divide by."""
    return None if part is None or not whole else part / whole


def _values(text: str) -> Values:
    found: defaultdict[str, dict[frozenset[tuple[str, str]], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][frozenset(sample.labels.items())] = sample.value
    return found
