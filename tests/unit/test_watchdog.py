"""The watchdog calls for what is late, and for nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from exporter.samplers.watchdog import Watchdog

pytestmark = pytest.mark.unit

FAR = 5.0


class Late:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.called = threading.Event()
        self.watchdog = Watchdog("test", self)

    def __call__(self, name: str) -> None:
        self.names.append(name)
        self.called.set()


@pytest.fixture
def late() -> Iterator[Late]:
    made = Late()
    yield made
    made.watchdog.close()


def test_what_is_late_is_called_for_once_and_what_ended_is_not(late: Late) -> None:
    late.watchdog.watch("ended", 0.02)
    late.watchdog.rest()
    late.watchdog.watch("replaced", 0.02)
    late.watchdog.watch("late", 0.01)
    assert late.called.wait(FAR)
    late.called.clear()
    late.watchdog.watch("later", 0.0)
    assert late.called.wait(FAR)
    assert late.names == ["late", "later"]


def test_an_error_of_who_is_called_does_not_end_it() -> None:
    called = threading.Event()

    def fail(name: str) -> None:
        if name == "first":
            raise MemoryError
        called.set()

    watchdog = Watchdog("test", fail)
    watchdog.watch("first", 0.0)
    while watchdog._watched is not None:
        pass
    watchdog.watch("second", 0.0)
    assert called.wait(FAR)
    watchdog.close()


def test_its_thread_ends_when_it_is_closed(late: Late) -> None:
    before = set(threading.enumerate())
    late.watchdog.watch("ended", FAR)
    (thread,) = set(threading.enumerate()) - before
    late.watchdog.close()
    thread.join(FAR)
    assert not thread.is_alive()
