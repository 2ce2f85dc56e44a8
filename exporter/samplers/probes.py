"""What every probe does: attempt the same thing at its interval, count how it went and how long it took."""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate

from exporter.metric import Buckets, Metric, Sample, counter, gauge, histogram
from exporter.samplers.attempt import Attempt, Failure, ProbeError, late
from exporter.samplers.watchdog import Watchdog

log = logging.getLogger(__name__)

LABELS = ("probe", "vantage")

# 4 and 20 ms are where the lower tail tells a slow network from a busy server: for one round trip to the
# database and for /health. Bounds do not depend on the timeout, so that probes can be summed.
BOUNDS = (0.004, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

ATTEMPTS = counter(
    "mlflow_probe_attempts_total",
    "Attempts of the probe that have ended, well or badly.",
    "the probe",
    labels=LABELS,
)
FAILURES = counter(
    "mlflow_probe_failures_total",
    "Attempts that failed, by reason; the reasons that this probe can have start at 0.",
    "the probe",
    labels=(*LABELS, "reason"),
)
DURATION = histogram(
    "mlflow_probe_duration_seconds",
    "Latency of the attempts that succeeded, so its count over the attempts is the share that did: from name "
    "resolution to the last byte for HTTP, one round trip on a session that is ready for `database` "
    "(below 5 ms it is mostly the exporter's own noise).",
    "the probe",
    "seconds",
    LABELS,
)
PHASES = counter(
    "mlflow_probe_phase_seconds_total",
    "Seconds that all attempts spent in each phase, those that failed included; `connect` of `database` is all "
    "that comes before its round trip (absent for a phase never reached).",
    "the probe",
    "seconds",
    (*LABELS, "phase"),
)
SUCCESS = gauge(
    "mlflow_probe_success",
    "1 where the last attempt succeeded, 0 where it failed; absent when it is older than three intervals.",
    "the probe",
    labels=LABELS,
)
STATUS = gauge(
    "mlflow_probe_http_status_code",
    "HTTP status of the last attempt; absent when nothing answered or it is older than three intervals.",
    "the probe",
    labels=LABELS,
)
EXPIRY = gauge(
    "mlflow_probe_certificate_expiry_timestamp_seconds",
    "Unix time at which the server's own certificate expires, as in the last attempt; absent without TLS, when "
    "the handshake failed, or when the attempt is older than three intervals.",
    "the probe",
    "timestamp_seconds",
    LABELS,
)


@dataclass(frozen=True, slots=True)
class Last:
    """What the gauges show; `at` is the probe's clock."""

    at: float
    error: ProbeError | None
    status: int | None
    certificate_expiry: float | None


class Probe:
    """A sampler of attempts; subclasses say in `measure` what one is.

    `reasons` are the failures that it can have. They start at 0, for `increase()` does not see a counter that is
    born at 1, and one refused connection is worth seeing. One thread makes all attempts: where it hangs in the
    resolver, which nothing can interrupt, its attempt fails at the deadline and no other is begun.
    """

    metrics: tuple[Metric, ...] = (ATTEMPTS, FAILURES, DURATION, PHASES, SUCCESS, STATUS, EXPIRY)

    def __init__(
        self,
        *,
        name: str,
        vantage: str,
        interval: float,
        timeout: float,
        reasons: Iterable[Failure],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.interval = interval
        self._labels = (name, vantage)
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._under_way: Attempt | None = None
        self._watchdog = Watchdog(name, self._expire)
        self._attempts = 0
        self._failures: Counter[Failure] = Counter(dict.fromkeys(reasons, 0))
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self._phases: Counter[str] = Counter()
        self._last: Last | None = None

    def measure(self, attempt: Attempt) -> float:
        """Make one attempt and return its latency in seconds; raises ProbeError.

        What the exporter itself lacks is no failure of the attempt: such an error goes on to the loop.

        Returns soon after the attempt's end, wherever the server leaves it waiting.
        """
        raise NotImplementedError

    @property
    def error(self) -> ProbeError | None:
        """Why the last attempt failed; None where it succeeded or none was made."""
        last = self._last
        return last.error if last else None

    @property
    def attempted(self) -> bool:
        return self._last is not None

    def tick(self) -> None:
        attempt = Attempt(self._timeout, self._clock)
        self._watchdog.watch(attempt, self._timeout)  # first: unwatched, there is no attempt
        with self._lock:
            if self._closed:
                return
            self._under_way = attempt
        try:
            self._settle(attempt, self.measure(attempt))
        except ProbeError as error:
            self._settle(attempt, error)
        finally:
            self._watchdog.rest()
            attempt.close()
            with self._lock:
                self._under_way = None

    def samples(self) -> Iterable[Sample]:
        with self._lock:
            return list(self._samples())

    def close(self) -> None:
        self._watchdog.close()
        with self._lock:
            self._closed = True
            attempt = self._under_way
        if attempt is not None:
            attempt.end()

    def _samples(self) -> Iterable[Sample]:
        yield ATTEMPTS(self._attempts, *self._labels)
        for reason, failures in self._failures.items():
            yield FAILURES(failures, *self._labels, reason)
        yield DURATION(Buckets(BOUNDS, tuple(accumulate(self._counts)), self._sum), *self._labels)
        for phase, seconds in self._phases.items():
            yield PHASES(seconds, *self._labels, phase)
        last = self._last
        # An attempt that has failed and yet hangs is the present, however old it is.
        hangs = self._under_way is not None and self._under_way.settled
        if last is None or (self._clock() - last.at > 3 * self.interval and not hangs):
            return
        yield SUCCESS(float(last.error is None), *self._labels)
        if last.status is not None:
            yield STATUS(last.status, *self._labels)
        if last.certificate_expiry is not None:
            yield EXPIRY(last.certificate_expiry, *self._labels)

    def _expire(self, attempt: Attempt) -> None:
        """Fail an attempt at its deadline, then make its thread return where that can be done."""
        self._settle(attempt, late(attempt.phase))
        attempt.end()

    def _settle(self, attempt: Attempt, outcome: float | ProbeError) -> None:
        """Count how an attempt ended, once: its thread and the watchdog may both come here."""
        with self._lock:
            if attempt.settled or self._closed:
                return
            attempt.settled = True
            error = outcome if isinstance(outcome, ProbeError) else None
            self._attempts += 1
            self._phases.update(attempt.seconds())
            if isinstance(outcome, ProbeError):
                self._failures[outcome.failure] += 1
            else:
                self._counts[bisect_left(BOUNDS, outcome)] += 1
                self._sum += outcome
            before = self.error
            self._last = Last(self._clock(), error, attempt.status, attempt.certificate_expiry)
        if error is not None and (before is None or before.failure is not error.failure):
            log.warning("probe %s failed: %s", self.name, error)
        elif error is None and before is not None:
            log.info("probe %s succeeds again", self.name)
