"""What a scrape cannot see: read on threads of their own, at their own interval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from exporter.metric import Metric, Sample


class Sampler(Protocol):
    """Do one reading a `tick`, on one thread; give what is known without ever blocking.

    Counters and histograms only grow from the sampler's start. A gauge that is older than three intervals is
    not given.
    """

    name: str
    interval: float
    metrics: tuple[Metric, ...]

    def tick(self) -> None:
        """Take one reading; does not raise for what it watches, only for a bug of ours."""

    def samples(self) -> Iterable[Sample]:
        """Return what is known now, without waiting for a tick under way."""

    def close(self) -> None:
        """Give back connections and files, and end a tick under way; called once, from another thread."""
