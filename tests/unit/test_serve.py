"""Which signal the process follows, of those that wait, and what it does about its own memory."""

from __future__ import annotations

import platform
import queue
import resource
import signal
from pathlib import Path

import pytest

from exporter.serve import _next_event, give_back_memory

pytestmark = pytest.mark.unit

MIB = 1 << 20


def test_a_storm_of_sighup_is_one_reload_and_sigterm_comes_before_it() -> None:
    events: queue.SimpleQueue[int] = queue.SimpleQueue()
    for _ in range(1000):
        events.put(signal.SIGHUP)
    assert _next_event(events) == signal.SIGHUP
    assert events.empty()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        events.put(number)
    assert _next_event(events) == signal.SIGTERM


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways")
def test_what_is_free_between_what_is_in_use_is_given_back() -> None:
    before = _resident()
    made = [bytes(1500) for _ in range(20_000)]  # too large for Python's own pools, too small for a mapping
    assert _resident() - before > 20 * MIB
    kept = made[::100]
    made.clear()
    give_back_memory()
    assert _resident() - before < 10 * MIB
    assert len(kept) == 200


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
