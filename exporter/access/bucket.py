"""A token bucket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Bucket:
    """Hold at most `burst` tokens, `rate` new ones a second; full at first."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._at = burst, clock()
        self._lock = threading.Lock()

    def take(self, tokens: float = 1.0) -> bool:
        """Take tokens if so many are there."""
        with self._lock:
            self._fill()
            if self._level < tokens:
                return False
            self._level -= tokens
            return True

    def charge(self, tokens: float) -> None:
        """Take tokens, or give them back where negative; what is not there is owed."""
        with self._lock:
            self._fill()
            self._level = min(self._burst, self._level - tokens)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
