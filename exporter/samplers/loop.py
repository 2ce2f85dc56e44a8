"""Runs a sampler on a thread of its own, at fixed times that no scrape and no other sampler moves."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress

from exporter.exhausted import exhausted
from exporter.metric import Metric, Sample, counter
from exporter.samplers import Sampler

log = logging.getLogger(__name__)

TICKS = counter(
    "mlflow_exporter_sampler_ticks_total",
    "Readings that the sampler has finished, also those that failed; a reading under way is not in it yet.",
    "the exporter",
    labels=("sampler",),
)
MISSED = counter(
    "mlflow_exporter_sampler_missed_ticks_total",
    "Readings left out because the one before was still under way when they were due.",
    "the exporter",
    labels=("sampler",),
)
ERRORS = counter(
    "mlflow_exporter_sampler_errors_total",
    "Readings that the exporter could not make, or not tell: it had no file descriptor, memory or thread left, or it "
    "has a bug; the log says which.",
    "the exporter",
    labels=("sampler",),
)


def spread() -> float:
    """Return 0.8 to 1.2.

    Samples in step with what they sample see always the same of it: searches three times a second, 0.2 sessions of
    load, were seen as none for minutes. With a fifth of an interval they are out of step within some ticks.
    """
    return 0.8 + 0.4 * random.random()  # noqa: S311  # no secret


class Loop:
    """Call a sampler's `tick` every interval on average, the first time at a random moment of the first interval.

    A tick that is due while another is under way is counted and left out, never queued; the times of the
    others do not move. `spread` is by how many intervals the next is due. What `tick` raises costs that reading
    only, what its `samples` raises its samples in that scrape. `wait` sleeps for so many seconds and says whether the
    loop was closed meanwhile.
    """

    def __init__(
        self,
        sampler: Sampler,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        jitter: Callable[[], float] = random.random,
        spread: Callable[[], float] = spread,
    ) -> None:
        self.sampler = sampler
        self.name = sampler.name
        self.metrics: tuple[Metric, ...] = (*sampler.metrics, TICKS, MISSED, ERRORS)
        self._clock = clock
        self._jitter = jitter
        self._spread = spread
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._lock = threading.Lock()
        self._due: float | None = None  # when the tick under way was due; None between two
        self._ticks = 0
        self._missed = 0
        self._errors = 0
        self._said: dict[str, tuple[object, ...]] = {}

    def start(self) -> None:
        threading.Thread(target=self.run, name=f"sampler-{self.name}", daemon=True).start()

    def close(self) -> None:
        """End the loop and a tick under way; returns at once, without waiting for the thread."""
        self._closed.set()
        self.sampler.close()

    def samples(self) -> Iterable[Sample]:
        try:
            yield from tuple(self.sampler.samples())
        except Exception as error:  # noqa: BLE001 - costs this sampler's samples, not the scrape
            with suppress(MemoryError):
                self._failed("samples", error)
        else:
            self._worked("samples")
        with self._lock:
            # A tick that hangs is seen now, not when it ends.
            missed = self._missed + (0 if self._due is None else self._late(self._due))
            ticks, errors = self._ticks, self._errors
        yield TICKS(ticks, self.name)
        yield MISSED(missed, self.name)
        yield ERRORS(errors, self.name)

    def run(self) -> None:
        """Tick until closed; `start` gives it a thread."""
        due = self._clock() + self._jitter() * self.sampler.interval
        while not self._wait(max(0.0, due - self._clock())):
            with self._lock:
                self._due = due
            # Where memory is so short that a failure cannot even be told, it goes untold.
            with suppress(Exception):
                self._tick()
            with self._lock:
                late = self._late(due)
                self._ticks += 1
                self._missed += late
                self._due = None
            due += (late + self._spread()) * self.sampler.interval

    def _tick(self) -> None:
        try:
            self.sampler.tick()
        except Exception as error:  # noqa: BLE001 - costs this reading; logged when it is something new
            self._failed("tick", error)
        else:
            self._worked("tick")

    def _worked(self, part: str) -> None:
        if self._said.pop(part, None):
            log.info("sampler %s works again", self.name)

    def _failed(self, part: str, error: Exception) -> None:
        """Count a failure, and log what it was unless that was said last."""
        with self._lock:
            self._errors += 1
        ours = exhausted(error)
        # A bug by its place and not by its text, which may have a number in it that is another each time.
        place = traceback.extract_tb(error.__traceback__)[-1]
        subject = (ours.detail,) if ours else (type(error), place.filename, place.lineno)
        if subject == self._said.get(part):
            return
        self._said[part] = subject
        if ours:
            log.warning("sampler %s: %s: %s. Remedy: %s", self.name, ours.reason, ours.detail, ours.remedy)
        else:
            log.error("sampler %s: a bug of the exporter, please report it", self.name, exc_info=error)

    def _late(self, due: float) -> int:
        """Return how many later ticks have been due by now."""
        return max(0, math.ceil((self._clock() - due) / self.sampler.interval) - 1)
