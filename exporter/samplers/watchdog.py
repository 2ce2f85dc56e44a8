"""Calls back when something has not ended in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from exporter.exhausted import SHORT_SECONDS

T = TypeVar("T")


class Watchdog(Generic[T]):
    """Watch one thing after the other, on one thread that stays.

    One for each could not be had in bad times: where memory is short, to start a thread fails or never returns.
    """

    def __init__(self, name: str, late: Callable[[T], None]) -> None:
        self._name = name
        self._late = late
        self._lock = threading.Condition()
        self._watched: tuple[T, float] | None = None
        self._started = self._closed = False

    def watch(self, what: T, seconds: float) -> None:
        """Call `late` with it in so many seconds, unless something else is watched by then, or nothing."""
        with self._lock:
            if not self._started:
                threading.Thread(target=self._live, name=f"watchdog-{self._name}", daemon=True).start()
                self._started = True
            self._watched = (what, time.monotonic() + seconds)
            self._lock.notify()

    def rest(self) -> None:
        """Watch nothing."""
        with self._lock:
            self._watched = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._lock.notify()

    def _live(self) -> None:
        while not self._closed:
            try:
                self._wait()
            except Exception:  # noqa: BLE001 - memory is short; whoever is late is so after that, too
                time.sleep(SHORT_SECONDS)

    def _wait(self) -> None:
        with self._lock:
            if self._closed or self._watched is None:
                self._lock.wait_for(lambda: self._closed or self._watched is not None)
                return
            what, due = self._watched
            if (left := due - time.monotonic()) > 0:
                self._lock.wait(left)
                return
            self._watched = None
        self._late(what)
