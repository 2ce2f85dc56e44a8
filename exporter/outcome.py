"""What became of a collector's readings: the last one, what is kept of it, its counts, and what the log says."""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from exporter.collector import Collector, Reason, SourceError
from exporter.metric import Sample, counter, gauge

log = logging.getLogger(__name__)

SUCCESS = gauge(
    "mlflow_exporter_collector_success",
    "1 where the collector's last reading was complete, 0 where it failed.",
    "the exporter",
    labels=("collector",),
)
DURATION = gauge(
    "mlflow_exporter_collector_duration_seconds",
    "Seconds that the collector's last reading took; absent where it was not even tried.",
    "the exporter",
    "seconds",
    ("collector",),
)
ERRORS = counter(
    "mlflow_exporter_collector_errors_total",
    "Readings of the collector that failed, by reason; a reason appears with its first failure.",
    "the exporter",
    labels=("collector", "reason"),
)
LAST_SUCCESS = gauge(
    "mlflow_exporter_collector_last_success_timestamp_seconds",
    "Unix time of the collector's last complete reading; absent before the first.",
    "the exporter",
    "timestamp_seconds",
    ("collector",),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one collector's reading gave: `samples`, or why there are none; `reason` None is success.

    `at` is Unix time, for people; `seconds` is None where the reading did not take place.
    """

    at: float
    seconds: float | None
    samples: tuple[Sample, ...] = ()
    reason: Reason | None = None
    detail: str = ""
    remedy: str = ""
    trace: str = ""

    @classmethod
    def failed(cls, error: SourceError, seconds: float | None = None) -> Outcome:
        trace = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else ""
        return cls(time.time(), seconds, (), error.reason, error.detail, error.remedy, trace)


class Teller:
    """Log how a subject fares when that changes, not at every scrape."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Reason, str]] = {}

    def tell(self, subject: str, outcome: Outcome | None) -> None:
        """Say of the subject that it failed as the outcome says, or, with None or a success, that it works."""
        if outcome is None or outcome.reason is None:
            if self._said.pop(subject, None):
                log.info("%s works again", subject)
            return
        if self._said.get(subject) == (outcome.reason, outcome.remedy):
            return
        self._said[subject] = (outcome.reason, outcome.remedy)
        remedy = f". Remedy: {outcome.remedy}" if outcome.remedy else ""
        trace = f"\n{outcome.trace}" if outcome.trace else ""
        log.warning("%s: %s: %s%s%s", subject, outcome.reason, outcome.detail, remedy, trace)


class Memory:
    """What is known of one collector from reading to reading; guarded by the lane's lock."""

    def __init__(self, collector: Collector[Any]) -> None:
        self._name = collector.name
        self._every = collector.every
        self._pace = collector.every
        self._due = 0.0
        self._last: Outcome | None = None
        self._success: Outcome | None = None
        self._success_at: float | None = None
        self._fresh_until = 0.0  # of time.monotonic: the time of day may be set at any moment
        self._errors: Counter[Reason] = Counter()

    def resting(self) -> Outcome | None:
        """Return a slow collector's last outcome until it is due again, None when it is."""
        return self._last if time.monotonic() < self._due else None

    def with_kept(self, outcome: Outcome) -> Outcome:
        """Give a slow collector's failure the samples of its last success, while they are young enough."""
        kept = self._success
        if outcome.reason is not None and kept and time.monotonic() < self._fresh_until:
            return replace(outcome, samples=kept.samples)
        return outcome

    def note(self, outcome: Outcome) -> Outcome:
        """Count an outcome, and set when a slow collector is due again."""
        if outcome.reason is None:
            self._success_at = outcome.at
        else:
            self._errors[outcome.reason] += 1
        if self._every and outcome.seconds is not None:
            self._schedule(outcome)
        return outcome

    def samples(self) -> Iterable[Sample]:
        for reason, count in self._errors.items():
            yield ERRORS(count, self._name, reason)
        if self._success_at is not None:
            yield LAST_SUCCESS(self._success_at, self._name)

    def _schedule(self, outcome: Outcome) -> None:
        self._last = outcome
        if outcome.reason is None:
            self._success = outcome
            self._fresh_until = time.monotonic() + 3 * self._every
            self._pace = self._every
        elif outcome.reason is Reason.TIMEOUT:
            # Asked again as often, a query that is too slow would be a load of its own.
            self._pace = min(2 * self._pace, 16 * self._every)
        pace = self._pace
        if outcome.reason is Reason.BUSY and outcome.seconds is not None:
            # It gave way, to a lock or to recovery, which may be over soon: again, for at most a twentieth of the time.
            pace = min(pace, 20 * outcome.seconds)
        elif outcome.reason is Reason.EXHAUSTED:
            pace = 0.0  # nobody was asked anything: again as soon as we can
        # Half a second early: a scrape every 60 s must not find a 60 s collector due in 10 ms.
        self._due = time.monotonic() + pace - 0.5
