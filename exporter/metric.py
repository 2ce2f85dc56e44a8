"""What a metric is: declared once, called to make samples."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

AREAS = ("server", "host", "db", "store", "probe", "exporter")
UNITS = ("", "seconds", "bytes", "ratio", "cores", "timestamp_seconds")

# MLflow's own exporter has these: a second meaning under one name would break both.
RESERVED = re.compile(r"mlflow_(http|otlp|spans|trace)_|mlflow_exporter_info$")
NAME = re.compile(rf"mlflow_({'|'.join(AREAS)})_[a-z][a-z0-9_]*[a-z0-9]")
LABEL = re.compile(r"[a-z][a-z0-9_]*")


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Buckets:
    """One histogram value: cumulative `counts` for each of `bounds` and then for +Inf, and the `sum`."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


class Sample(NamedTuple):
    metric: Metric
    value: float | Buckets
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """Declare a metric; calling it makes a sample.

    `help` is a sentence that says when the metric is absent. `source` names where the value comes from:
    `view.column`, a `/proc` file, an endpoint. `unit` is the suffix that the name must carry.
    Names have at most 63 bytes: a SQL column alias is a metric's name, and Postgres cuts aliases there.
    Raises ValueError where the declaration breaks a naming rule.
    """

    name: str
    kind: Kind
    help: str
    source: str
    unit: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise ValueError(f"{self.name}: {'; '.join(faults)}")

    def __call__(self, value: float | Buckets, *labels: str) -> Sample:
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name}: {len(labels)} label values {labels} for {self.labels}")
        if isinstance(value, Buckets) is not (self.kind is Kind.HISTOGRAM):
            raise ValueError(f"{self.name}: a {self.kind} cannot take {value!r}")
        if not all(map(str.isascii, labels)):
            # Half of a pair, which Python makes of bytes that are not UTF-8, would cost the whole scrape.
            labels = tuple(label.encode(errors="replace").decode() for label in labels)
        return Sample(self, value, labels)

    def _faults(self) -> Iterable[str]:
        stem = self.name.removesuffix("_total")
        if not NAME.fullmatch(self.name) or len(self.name) > 63:
            yield f"not a name of the form mlflow_<{'|'.join(AREAS)}>_<thing> of at most 63 characters"
        if RESERVED.match(self.name):
            yield "reserved by MLflow's own exporter"
        if (self.kind is Kind.COUNTER) is not self.name.endswith("_total"):
            yield "counters, and only counters, end in _total"
        if self.unit not in UNITS:
            yield f"unit {self.unit!r} is not one of {UNITS}"
        for unit in UNITS[1:]:
            if stem.endswith("_" + unit) and self.unit not in (unit, "timestamp_" + unit):
                yield f"ends in _{unit} but its unit is {self.unit!r}"
        if self.unit and not stem.endswith("_" + self.unit):
            yield f"does not end in its unit {self.unit}"
        if stem.endswith(("_sum", "_count", "_bucket")):
            yield "ends as a histogram's series do"
        for label in self.labels:
            if not LABEL.fullmatch(label) or label in ("le", "quantile", "instance", "job", "type"):
                yield f"label {label!r} is not allowed"
        if not self.help.strip().endswith((".", ")")):
            yield "help is not a sentence"


def gauge(name: str, help: str, source: str, unit: str = "", labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, Kind.GAUGE, help, source, unit, labels)


def counter(name: str, help: str, source: str, unit: str = "", labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, Kind.COUNTER, help, source, unit, labels)


def histogram(name: str, help: str, source: str, unit: str = "", labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, Kind.HISTOGRAM, help, source, unit, labels)


def check(samples: Iterable[Sample], allowed: frozenset[Metric]) -> list[Sample]:
    """Return the samples as a list.

    Raises ValueError for a metric that is not declared and for a series that comes twice: Prometheus would
    refuse the whole scrape for it, so it has to be found where its collector can be named.
    """
    checked: list[Sample] = []
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for sample in samples:
        key = (sample.metric.name, sample.labels)
        if sample.metric not in allowed:
            raise ValueError(f"{sample.metric.name} is not declared by its collector")
        if key in seen:
            raise ValueError(
                f"{sample.metric.name}{dict(zip(sample.metric.labels, sample.labels, strict=True))} twice"
            )
        seen.add(key)
        checked.append(sample)
    return checked
