"""A link to a database that is far: bytes come later, in windows that grow as TCP's do, and are counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.lab.proxy import Proxy

FIRST_WINDOW = (
    10 * 1448
)  # bytes that Linux sends before it has heard of the other side, and again after a rest
REST_SECONDS = 0.2  # and a round trip: the shortest time after which it does so


class Window:
    """How much a TCP sender has under way where nothing is lost: what has arrived makes it as much larger."""

    def __init__(self, round_trip: float) -> None:
        self.round_trip = round_trip
        self._size = self._most = FIRST_WINDOW
        self._under_way: deque[tuple[float, int]] = deque()  # when it is acknowledged, bytes
        self._sum = 0
        self._last = 0.0

    def arrival(self, now: float, size: int) -> float:
        """Return when the last of these bytes is there, which come behind all bytes before."""
        at = max(now, self._last)
        self._acknowledge(at)
        if not self._sum and at - self._last > REST_SECONDS + self.round_trip:
            self._size = self._most = FIRST_WINDOW
        while size:
            part = min(size, self._size - self._sum)
            if part:
                self._under_way.append((at + self.round_trip, part))
                self._sum += part
                size -= part
                self._most = max(self._most, self._sum)
            else:
                at = self._under_way[0][0]
                self._acknowledge(at)
        self._last = at
        return at + self.round_trip / 2

    def _acknowledge(self, at: float) -> None:
        while self._under_way and self._under_way[0][0] <= at:
            _, part = self._under_way.popleft()
            self._sum -= part
            # A window that was not used up does not grow.
            self._size = max(self._size, min(self._size + part, 2 * self._most))


class Link(Proxy):
    """A proxy whose bytes need half of `round_trip` each way; without `slow_start`, at any rate.

    `waits` counts how often something was asked after something had been answered: on a link with a delay those are
    the round trips, as what is sent without waiting for an answer is sent before there is one.
    """

    def __init__(self, target: int, round_trip: float, slow_start: bool = False) -> None:
        super().__init__(target, round_trip / 2)
        self.round_trip = round_trip
        self.slow_start = slow_start
        self.passed = 0  # bytes, both ways
        self.waits = 0
        self._outward = False

    def pace(self, outward: bool) -> Callable[[float, int], float]:
        window = Window(self.round_trip)

        def arrival(now: float, size: int) -> float:
            self.passed += size
            self.waits += outward and not self._outward
            self._outward = outward
            return window.arrival(now, size) if self.slow_start else now + self.delay

        return arrival
