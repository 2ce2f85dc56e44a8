"""Which signal the process follows, of those that wait."""

from __future__ import annotations

import queue
import signal

import pytest

from exporter.serve import _next_event

pytestmark = pytest.mark.unit


def test_a_storm_of_sighup_is_one_reload_and_sigterm_comes_before_it() -> None:
    events: queue.SimpleQueue[int] = queue.SimpleQueue()
    for _ in range(1000):
        events.put(signal.SIGHUP)
    assert _next_event(events) == signal.SIGHUP
    assert events.empty()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        events.put(number)
    assert _next_event(events) == signal.SIGTERM
