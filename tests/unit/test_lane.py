"""A lane answers by the deadline whatever its source and its collectors do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from exporter.collector import Collector, Query, Reason, SourceError
from exporter.lane import Lane, Reading
from exporter.metric import Sample, gauge
from exporter.outcome import Memory, Outcome

pytestmark = pytest.mark.unit

ONE = gauge("mlflow_db_one", "One.", "nowhere")
TWO = gauge("mlflow_db_two", "Two.", "nowhere")
UP = gauge("mlflow_db_up", "Up.", "nowhere")
FAR = 5.0


class Session:
    """What the collectors of these tests read: a value, or an error to raise."""

    value: float | BaseException = 1.0


class FakeSource:
    """A source whose every step can be replaced, to stand for whatever a real one may do."""

    name = "fake"

    def __init__(self, opened: Callable[[], object] = Session) -> None:
        self.opened = opened
        self.settled: Callable[[], None] = lambda: None
        self.closed = threading.Event()
        self.openings = 0

    def open(self, queries: Sequence[Query], deadline: float) -> object:
        self.openings += 1
        return self.opened()

    def settle(self) -> None:
        self.settled()

    def close(self) -> None:
        self.closed.set()


class First(Collector[Session]):
    name = "first"
    metrics = (ONE,)

    def collect(self, session: Session) -> Iterable[Sample]:
        if isinstance(session.value, BaseException):
            raise session.value
        yield ONE(session.value)


class Second(Collector[Session]):
    name = "second"
    metrics = (TWO,)

    def collect(self, session: Session) -> Iterable[Sample]:
        yield TWO(2)


class Slow(Collector[Session]):
    name = "slow"
    metrics = (TWO,)
    every = 60.0

    def collect(self, session: Session) -> Iterable[Sample]:
        yield TWO(2)


@contextmanager
def lane_of(source: FakeSource, *collectors: Collector[Session]) -> Iterator[Lane]:
    lane = Lane(source, collectors, UP)
    try:
        yield lane
    finally:
        lane.close()


def read(lane: Lane, seconds: float = FAR) -> Reading:
    deadline = time.monotonic() + seconds
    # A run begins when the one before has settled, which may be a moment after its answers.
    while (run := lane.begin(deadline)) is None and time.monotonic() < deadline:
        pass
    return lane.read(run, deadline)


def exposed(lane: Lane, reading: Reading) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (s.metric.name, s.labels): s.value for s in lane.samples(reading) if isinstance(s.value, float | int)
    }


def test_samples_and_the_lanes_own_metrics_are_given() -> None:
    with lane_of(FakeSource(), First()) as lane:
        values = exposed(lane, read(lane))
    assert values["mlflow_db_one", ()] == 1.0
    assert values["mlflow_db_up", ()] == 1.0
    assert values["mlflow_exporter_source_up", ("fake",)] == 1.0
    assert values["mlflow_exporter_collector_success", ("first",)] == 1.0
    assert values["mlflow_exporter_collector_last_success_timestamp_seconds", ("first",)] == pytest.approx(
        time.time(), abs=60
    )


def test_one_failing_collector_costs_only_its_own_samples() -> None:
    session = Session()
    session.value = SourceError(Reason.PERMISSION, "not allowed", "GRANT it;")
    with lane_of(FakeSource(lambda: session), First(), Second()) as lane:
        reading = read(lane)
        values = exposed(lane, reading)
    assert reading.outcomes["first"].remedy == "GRANT it;"
    assert ("mlflow_db_one", ()) not in values
    assert values["mlflow_db_two", ()] == 2.0
    assert values["mlflow_exporter_collector_success", ("first",)] == 0.0
    assert values["mlflow_exporter_collector_errors_total", ("first", "permission")] == 1.0


def test_an_unforeseen_exception_is_a_bug_with_its_traceback_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = Session()
    session.value = ZeroDivisionError("division by zero")
    with lane_of(FakeSource(lambda: session), First()) as lane:
        assert [read(lane).outcomes["first"].reason for _ in range(3)] == [Reason.BUG] * 3
    assert len(caplog.records) == 1
    assert "in collect" in caplog.text


def test_what_the_exporter_lacks_is_no_bug_and_costs_the_collector_that_lacked_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = Session()
    session.value = MemoryError()
    with lane_of(FakeSource(lambda: session), First(), Second()) as lane:
        reading = read(lane)
        assert reading.outcomes["first"].reason is Reason.EXHAUSTED
        assert reading.outcomes["second"].reason is None
    assert "MemoryMax=" in caplog.text and "Traceback" not in caplog.text


def test_a_failure_for_which_there_is_no_memory_to_note_it_does_not_end_the_lane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = Session()
    session.value = MemoryError()

    def fail(*_: object) -> Outcome:
        raise MemoryError

    with lane_of(FakeSource(lambda: session), First()) as lane:
        with monkeypatch.context() as patch:
            patch.setattr(Memory, "note", fail)
            run = lane.begin(time.monotonic() + FAR)
            assert run is not None and run.ended.wait(FAR)
        assert lane.read(run, time.monotonic() + FAR).outcomes["first"].reason is Reason.TIMEOUT
        session.value = 1.0
        assert read(lane).outcomes["first"].reason is None


def test_a_scrape_that_is_hurried_takes_what_is_there() -> None:
    release = threading.Event()

    class Waits(Second):
        def collect(self, session: Session) -> Iterable[Sample]:
            release.wait(FAR)
            yield from super().collect(session)

    with lane_of(FakeSource(), First(), Waits()) as lane:
        deadline = time.monotonic() + FAR
        run = lane.begin(deadline)
        assert run is not None
        while "first" not in run.outcomes:
            pass
        lane.hurry()
        outcomes = lane.read(run, deadline).outcomes
        release.set()
        lane.close()
        lane._thread.join(FAR)  # or what it logs at its end would be in the next test
    assert (outcomes["first"].reason, outcomes["second"].reason) == (None, Reason.TIMEOUT)
    assert time.monotonic() < deadline


def test_a_source_that_cannot_be_opened_fails_all_its_collectors_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse() -> object:
        raise SourceError(Reason.UNREACHABLE, "refused", "start it")

    source = FakeSource(refuse)
    caplog.set_level(logging.INFO)
    with lane_of(source, First(), Second()) as lane:
        for _ in range(2):
            reading = read(lane)
            assert {outcome.reason for outcome in reading.outcomes.values()} == {Reason.UNREACHABLE}
            assert exposed(lane, reading)["mlflow_db_up", ()] == 0.0
        source.opened = Session
        assert read(lane).up
    assert [record.getMessage() for record in caplog.records] == [
        "source fake: unreachable: refused. Remedy: start it",
        "source fake works again",
    ]


def test_a_hung_source_is_timeout_at_the_deadline_then_busy_well_before_it_and_recovers() -> None:
    release = threading.Event()

    def hang() -> object:
        release.wait(FAR)
        return Session()

    source = FakeSource(hang)
    with lane_of(source, First()) as lane:
        assert read(lane, 0.15).outcomes["first"].reason is Reason.TIMEOUT
        deadline = time.monotonic() + 0.3
        run = lane.begin(deadline)
        assert run is None
        assert time.monotonic() < deadline - 0.05
        assert lane.read(run, deadline).outcomes["first"].reason is Reason.BUSY
        release.set()
        assert read(lane).outcomes["first"].reason is None
    assert source.openings == 2


def test_a_scrape_that_comes_while_a_late_answer_is_being_read_waits_for_its_end() -> None:
    release = threading.Event()
    source = FakeSource()
    source.settled = lambda: (release.wait(FAR), None)[1]
    with lane_of(source, First()) as lane:
        first = time.monotonic() + 0.15
        assert lane.read(lane.begin(first), first).outcomes["first"].reason is None
        while time.monotonic() < first:
            pass
        threading.Timer(0.05, release.set).start()
        deadline = time.monotonic() + FAR
        assert lane.read(lane.begin(deadline), deadline).outcomes["first"].reason is None
    assert source.openings == 2


def test_two_scrapes_at_once_share_one_reading() -> None:
    opened, release = threading.Event(), threading.Event()

    def hold() -> object:
        opened.set()
        release.wait(FAR)
        return Session()

    source = FakeSource(hold)
    with lane_of(source, First()) as lane:
        deadline = time.monotonic() + FAR
        first = lane.begin(deadline)
        opened.wait(FAR)
        second = lane.begin(deadline)
        release.set()
        assert first is second
        assert lane.read(second, deadline).outcomes["first"].reason is None
    assert source.openings == 1


def test_a_slow_collector_is_read_once_and_its_samples_are_kept_between() -> None:
    source = FakeSource()
    session = Session()
    source.opened = lambda: session
    with lane_of(source, Slow()) as lane:
        first = read(lane).outcomes["slow"]
        second = read(lane).outcomes["slow"]
    assert first is second
    assert [sample.value for sample in second.samples] == [2]


def test_a_slow_collectors_samples_outlive_a_failing_source() -> None:
    source = FakeSource()
    with lane_of(source, First(), Slow()) as lane:
        read(lane)

        def refuse() -> object:
            raise SourceError(Reason.UNREACHABLE, "refused")

        source.opened = refuse
        values = exposed(lane, read(lane))
    assert values["mlflow_db_up", ()] == 0.0
    assert ("mlflow_db_one", ()) not in values
    assert values["mlflow_db_two", ()] == 2.0


def test_a_slow_collector_that_becomes_due_while_others_are_read_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, now = FakeSource(), time.monotonic()
    with lane_of(source, First(), Slow()) as lane:
        assert read(lane).outcomes["slow"].reason is None

        def long() -> object:
            # As if the rest of the reading took until after the minute is over.
            monkeypatch.setattr("exporter.outcome.time.monotonic", lambda: now + 61)
            return Session()

        source.opened = long
        reading = read(lane)
    assert reading.outcomes["slow"].reason is None
    assert [sample.value for sample in reading.outcomes["slow"].samples] == [2]


def test_a_slow_collector_is_read_as_soon_as_its_source_is_back() -> None:
    def refuse() -> object:
        raise SourceError(Reason.TIMEOUT, "no connection before the deadline")

    source = FakeSource(refuse)
    with lane_of(source, Slow()) as lane:
        assert [read(lane).outcomes["slow"].reason for _ in range(3)] == [Reason.TIMEOUT] * 3
        source.opened = Session
        assert read(lane).outcomes["slow"].reason is None


@pytest.mark.parametrize("step", [86400.0, -86400.0])
def test_what_is_kept_of_a_slow_collector_grows_old_by_no_clock_that_can_be_set(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> object:
        raise SourceError(Reason.UNREACHABLE, "refused")

    source, monotonic, set_to = FakeSource(), time.monotonic, time.time() + step
    with lane_of(source, Slow()) as lane:
        assert read(lane).outcomes["slow"].reason is None
        source.opened = refuse
        monkeypatch.setattr("exporter.outcome.time.time", lambda: set_to)
        monkeypatch.setattr("exporter.outcome.time.monotonic", lambda: monotonic() + 170)
        assert [one.value for one in read(lane).outcomes["slow"].samples] == [2]
        monkeypatch.setattr("exporter.outcome.time.monotonic", lambda: monotonic() + 190)
        assert read(lane).outcomes["slow"].samples == ()


def test_a_slow_collector_that_gave_way_to_a_lock_is_read_again_soon_and_one_that_was_too_slow_is_not() -> (
    None
):
    session = Session()

    class Locked(Slow):
        def collect(self, session: Session) -> Iterable[Sample]:
            if isinstance(session.value, BaseException):
                raise session.value
            yield TWO(2)

    for reason, again in ((Reason.BUSY, None), (Reason.TIMEOUT, Reason.TIMEOUT)):
        session.value = SourceError(reason, "runs: canceled")
        with lane_of(FakeSource(lambda: session), Locked()) as lane:
            assert read(lane).outcomes["slow"].reason is reason
            session.value = 1.0
            assert read(lane).outcomes["slow"].reason is again


def test_a_scrape_that_comes_to_a_lane_closed_by_a_new_plan_does_not_wait_for_it() -> None:
    with lane_of(FakeSource(), First()) as lane:
        lane.close()
        assert lane.begin(time.monotonic() + FAR) is None


def test_a_closed_lane_ends_its_thread_and_closes_its_source() -> None:
    source = FakeSource()
    with lane_of(source, First()) as lane:
        read(lane)
    assert source.closed.wait(FAR)
