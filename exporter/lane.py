"""A source on its own thread: every collector guarded alone, every scrape answered by its deadline.

This is the one place that catches everything: whatever goes wrong in a collector costs that collector, has a
reason, is counted, and is logged when it changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from exporter.collector import Collector, Query, Reason, SourceError
from exporter.exhausted import SHORT_SECONDS, exhausted
from exporter.metric import Metric, Sample, check, gauge
from exporter.outcome import DURATION, ERRORS, LAST_SUCCESS, SUCCESS, Memory, Outcome, Teller

T = TypeVar("T")

SOURCE_UP = gauge(
    "mlflow_exporter_source_up",
    "1 where the source answered in this scrape, 0 where it did not.",
    "the exporter",
    labels=("source",),
)
METRICS = (SUCCESS, DURATION, ERRORS, LAST_SUCCESS, SOURCE_UP)

# The thread stops waiting a little before the scrape does, so that what it has to say still gets out.
LEAD_SECONDS = 0.1

# What an earlier reading left under way is often read in no time once its source answers again: the first scrape after
# that shall not be told that it is busy. Longer would make each scrape of a source that hangs wait for it.
GRACE_SECONDS = 1.0

BUSY = SourceError(Reason.BUSY, "an earlier reading is still waiting for its source")
MISSED = SourceError(Reason.TIMEOUT, "not read before the scrape's deadline")


class Source(Protocol):
    """What collectors read from; used by one thread, and not opened again before `settle` has returned."""

    name: str

    def open(self, queries: Sequence[Query], deadline: float) -> Any:
        """Start a reading of the queries and return its session.

        Raises SourceError, at the deadline (of time.monotonic) at the latest.
        """

    def settle(self) -> None:
        """Finish what the reading left under way, after its answers were given; may take long."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Run:
    """One reading of a source; `outcomes` fills as collectors end, `ended` is set when none is left."""

    deadline: float
    up: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a scrape takes from a lane: whether the source answered, and each collector's latest outcome."""

    up: bool
    outcomes: dict[str, Outcome]


class Lane:
    """Read one source for its collectors, on one daemon thread that lives as long as the lane."""

    def __init__(
        self, source: Source, collectors: Sequence[Collector[Any]], up: Metric | None = None
    ) -> None:
        self.source = source
        # Slow collectors come last in the pipeline, so that nothing waits behind them.
        self.collectors = tuple(sorted(collectors, key=lambda collector: collector.every > 0))
        self._up = up
        self._lock = threading.Condition()
        self._run: Run | None = None
        self._settled = True
        self._closing = False
        self._memory = {collector.name: Memory(collector) for collector in self.collectors}
        self._teller = Teller()
        self._thread = threading.Thread(target=self._live, name=f"source-{source.name}", daemon=True)
        self._thread.start()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        own = (self._up,) if self._up else ()
        return (*own, *(metric for collector in self.collectors for metric in collector.metrics))

    def begin(self, deadline: float) -> Run | None:
        """Start a run, or share the one in flight; None where one past its deadline keeps holding the thread."""
        with self._lock:
            if not self._free():
                grace = min(GRACE_SECONDS, (deadline - time.monotonic()) / 2)
                self._lock.wait_for(self._free, max(0.0, grace))
            if self._closing:  # by a new plan, after the scrape that comes here had begun
                return None
            if self._settled:
                self._run = Run(deadline - LEAD_SECONDS)
                self._settled = False
                self._lock.notify_all()
                return self._run
            run = self._run
            assert run is not None
            return run if time.monotonic() < run.deadline else None

    def read(self, run: Run | None, deadline: float) -> Reading:
        """Wait for a run until the deadline and return what is there by then."""
        if run is not None:
            run.ended.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            outcomes = {}
            for name, memory in self._memory.items():
                # Whether a slow collector rests is settled when a run begins: it may become due during the run.
                outcome = run.outcomes.get(name) if run else memory.resting()
                if outcome is None:
                    outcome = memory.note(Outcome.failed(MISSED if run else BUSY))
                    self._tell(name, outcome, run is None or not run.up)
                outcomes[name] = memory.with_kept(outcome)
            return Reading(run is not None and run.up, outcomes)

    def samples(self, reading: Reading) -> Iterable[Sample]:
        """Give a reading's samples, and the lane's own about it."""
        yield SOURCE_UP(float(reading.up), self.source.name)
        if self._up:
            yield self._up(float(reading.up))
        with self._lock:
            for name, outcome in reading.outcomes.items():
                yield from outcome.samples
                yield SUCCESS(float(outcome.reason is None), name)
                if outcome.seconds is not None:
                    yield DURATION(outcome.seconds, name)
                yield from self._memory[name].samples()

    def close(self) -> None:
        """Let the thread end as soon as it is free; it closes the source itself, since only it may touch it."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()

    def _free(self) -> bool:
        """Say whether a scrape that comes now need not wait: the thread is idle, or its run can be shared."""
        under_way = self._run is not None and time.monotonic() < self._run.deadline
        return self._settled or under_way or self._closing

    def hurry(self) -> None:
        """Have those who wait for the run under way take what is there by now."""
        with self._lock:
            if self._run is not None:
                self._run.ended.set()

    def _live(self) -> None:
        more = True
        while more:
            try:
                more = self._turn()
            except Exception:  # noqa: BLE001 - memory too short even to note a failure: that is then `MISSED`
                time.sleep(SHORT_SECONDS)
        _guarded(self.source.close)

    def _turn(self) -> bool:
        """Wait for the next run and read it; returns False once the lane is closed."""
        run = self._next()
        if run is None:
            return False
        try:
            self._read_all(run)
        finally:
            run.ended.set()
            try:
                _guarded(self.source.settle)
            finally:
                with self._lock:
                    self._settled = True
                    self._lock.notify_all()
        return True

    def _next(self) -> Run | None:
        with self._lock:
            self._lock.wait_for(lambda: self._closing or not self._settled)
            return None if self._settled else self._run

    def _read_all(self, run: Run) -> None:
        with self._lock:
            due = []
            for collector in self.collectors:
                if resting := self._memory[collector.name].resting():
                    run.outcomes[collector.name] = resting
                else:
                    due.append(collector)
        queries = [query for collector in due for query in collector.wanted()]
        started = time.monotonic()
        session = _guarded(partial(self.source.open, queries, run.deadline))
        failed = isinstance(session, SourceError)
        run.up = not failed
        for collector in due:
            answer = session if failed else _guarded(partial(_samples, collector, session))
            seconds = time.monotonic() - started
            started = time.monotonic()
            outcome = (
                # Where the source failed the collector was not tried, and a slow one stays due.
                Outcome.failed(answer, None if failed else seconds)
                if isinstance(answer, SourceError)
                else Outcome(time.time(), seconds, answer)
            )
            with self._lock:
                run.outcomes[collector.name] = self._memory[collector.name].note(outcome)
                self._tell(collector.name, outcome, failed)

    def _tell(self, collector: str, outcome: Outcome, of_source: bool) -> None:
        """Log for the source what all its collectors fail of, for a collector what is its own."""
        source = f"source {self.source.name}"
        if of_source:
            self._teller.tell(source, outcome)
        else:
            self._teller.tell(source, None)
            self._teller.tell(f"collector {collector}", outcome)


def _samples(collector: Collector[Any], session: Any) -> tuple[Sample, ...]:
    return tuple(check(collector.collect(session), frozenset(collector.metrics)))


def _guarded(act: Callable[[], T]) -> T | SourceError:
    try:
        return act()
    except SourceError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the one guard; the outcome says `bug` and carries the traceback
        if ours := exhausted(error):
            return ours
        bug = SourceError(Reason.BUG, type(error).__name__, "Please report it with the traceback in the log.")
        bug.__cause__ = error
        return bug
