"""The loop's schedule, with a clock that moves only when somebody waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

import pytest

from exporter.metric import Metric, Sample, gauge
from exporter.samplers.loop import Loop

pytestmark = pytest.mark.unit

SEEN = gauge("mlflow_exporter_seen", "Seen by the test's sampler.", "the test")


class Time:
    """A clock, and the loop's wait: it ends the loop after a number of waits."""

    def __init__(self, waits: int) -> None:
        self.now = 1000.0
        self.waits = waits

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        assert seconds >= 0
        self.now += seconds
        self.waits -= 1
        return self.waits < 0


class Recorder:
    """A sampler that notes when it ticks and does what the test wants meanwhile."""

    name = "recorder"
    interval = 10.0
    metrics: tuple[Metric, ...] = (SEEN,)

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.at: list[float] = []
        self.during: Callable[[int], None] = lambda tick: None
        self.closed = False

    def tick(self) -> None:
        self.at.append(self.clock())
        self.during(len(self.at))

    def samples(self) -> Iterable[Sample]:
        yield SEEN(len(self.at))

    def close(self) -> None:
        self.closed = True


def made(waits: int, jitter: float = 0.0, spread: float = 1.0) -> tuple[Loop, Recorder, Time]:
    time = Time(waits)
    sampler = Recorder(time.clock)
    return Loop(sampler, time.clock, time.wait, lambda: jitter, lambda: spread), sampler, time


def values(loop: Loop) -> dict[str, object]:
    return {sample.metric.name.removeprefix("mlflow_exporter_"): sample.value for sample in loop.samples()}


def test_the_first_tick_comes_at_a_random_moment_of_the_first_interval() -> None:
    loop, sampler, _ = made(waits=1, jitter=0.73)

    loop.run()

    assert sampler.at == [1007.3]


def test_the_distance_of_ticks_varies_so_that_none_is_in_step_with_what_it_samples() -> None:
    loop, sampler, _ = made(waits=3, spread=0.8)

    loop.run()

    assert sampler.at == [1000, 1008, 1016]
    assert values(loop)["sampler_missed_ticks_total"] == 0


def test_the_time_a_tick_takes_does_not_move_the_next() -> None:
    loop, sampler, time = made(waits=4)

    def take_some_time(_: int) -> None:
        time.now += 3

    sampler.during = take_some_time
    loop.run()

    assert sampler.at == [1000, 1010, 1020, 1030]
    assert values(loop)["sampler_missed_ticks_total"] == 0


def test_ticks_due_during_a_long_one_are_counted_and_not_made_up_for() -> None:
    loop, sampler, time = made(waits=3)

    def take_long_once(tick: int) -> None:
        time.now += 35 if tick == 1 else 0

    sampler.during = take_long_once
    loop.run()

    assert sampler.at == [1000, 1040, 1050]
    assert values(loop)["sampler_missed_ticks_total"] == 3
    assert values(loop)["sampler_ticks_total"] == 3


def test_a_tick_that_takes_exactly_its_interval_misses_none() -> None:
    loop, sampler, time = made(waits=3)

    def take_an_interval(_: int) -> None:
        time.now += 10

    sampler.during = take_an_interval
    loop.run()

    assert sampler.at == [1000, 1010, 1020]
    assert values(loop)["sampler_missed_ticks_total"] == 0


def test_missed_ticks_show_while_the_long_one_is_still_under_way_and_never_fall() -> None:
    loop, sampler, time = made(waits=2)
    seen: list[object] = []

    def look(tick: int) -> None:
        for seconds in (5, 10, 10) if tick == 1 else ():
            time.now += seconds
            seen.append(values(loop)["sampler_missed_ticks_total"])

    sampler.during = look
    loop.run()

    assert seen == [0, 1, 2]
    assert values(loop)["sampler_missed_ticks_total"] == 2


def test_a_bug_is_logged_once_with_its_traceback_and_does_not_end_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, sampler, _ = made(waits=5)

    def break_sometimes(tick: int) -> None:
        if tick != 4:
            raise ZeroDivisionError(f"tick {tick}")

    sampler.during = break_sometimes
    with caplog.at_level(logging.DEBUG):
        loop.run()

    assert len(sampler.at) == 5
    assert values(loop)["sampler_errors_total"] == 4
    # Ticks 1 to 3 break at one place although their texts differ; tick 5 breaks after one that did not.
    assert [record.exc_info is not None for record in caplog.records] == [True, False, True]
    assert "sampler recorder works again" in caplog.text
    assert "ZeroDivisionError: tick 1" in caplog.text
    assert "ZeroDivisionError: tick 5" in caplog.text


def test_a_different_bug_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    loop, sampler, _ = made(waits=2)

    def break_in_two_ways(tick: int) -> None:
        raise (KeyError if tick == 1 else ValueError)

    sampler.during = break_in_two_ways
    loop.run()

    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        KeyError,
        ValueError,
    ]


def test_samples_that_break_cost_their_sampler_only_are_counted_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop, sampler, _ = made(waits=1)
    loop.run()

    def broken() -> Iterable[Sample]:
        yield SEEN(1)
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(sampler, "samples", broken)
        assert values(loop) == {
            "sampler_ticks_total": 1,
            "sampler_missed_ticks_total": 0,
            "sampler_errors_total": 1,
        }
        assert values(loop)["sampler_errors_total"] == 2
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert values(loop)["seen"] == 1


def test_the_samplers_own_samples_come_first() -> None:
    loop, _, _ = made(waits=2)

    loop.run()

    assert values(loop) == {
        "seen": 2,
        "sampler_ticks_total": 2,
        "sampler_missed_ticks_total": 0,
        "sampler_errors_total": 0,
    }
    assert {sample.metric for sample in loop.samples()} <= set(loop.metrics)


def test_close_ends_the_thread_in_the_middle_of_its_interval_and_closes_the_sampler() -> None:
    ticked = threading.Event()
    sampler = Recorder(lambda: 0.0)
    sampler.interval = 3600.0
    sampler.during = lambda _: ticked.set()
    loop = Loop(sampler, jitter=lambda: 0.0)
    loop.start()
    assert ticked.wait(10)
    thread = next(one for one in threading.enumerate() if one.name == "sampler-recorder")

    loop.close()

    thread.join(10)
    assert not thread.is_alive()
    assert sampler.closed
    assert len(sampler.at) == 1
