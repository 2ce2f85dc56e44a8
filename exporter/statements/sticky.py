"""The few statements that take most time, chosen so that they stay: each change is new series for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from heapq import nlargest

from exporter.statements import Statement

# Who is shown is shown at least so long: Prometheus' usual range, in which a rate can be seen.
ROUND_SECONDS = 300.0
# Less than this part of the time of all statements is not worth a series, and only from that part on one is shown
# before its round is over: at a server's start everything is slow once.
SHARE = 0.01
AT_ONCE = 0.1


@dataclass(slots=True)
class Slow:
    """A statement that is shown, and what it did since then.

    Its counters start at 0 whenever it comes in. One that returns looks like any counter that was reset: Prometheus
    adds what came after, and what it did meanwhile is in no rate, rather than all at once in one.
    """

    statement: Statement
    text: str
    calls: float = 0.0
    milliseconds: float = 0.0


class SlowStatements:
    """Choose the top-level statements that took most time, `limit` at most, in rounds of five minutes.

    At a round's end those make room that were not among the first 2 x `limit`, so that one that is now tenth and now
    eleventh does not come and go, and the places are filled. One that takes much time gets a free place at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shown: dict[int, Slow] = {}
        self._spent: dict[int, float] = {}
        self._ends: float | None = None

    def __iter__(self) -> Iterator[tuple[int, Slow]]:
        return iter(self._shown.items())

    def add(self, queryid: int, calls: float, milliseconds: float) -> None:
        if not self._limit:
            return
        self._spent[queryid] = self._spent.get(queryid, 0.0) + milliseconds
        if slow := self._shown.get(queryid):
            slow.calls += calls
            slow.milliseconds += milliseconds

    def keep(self, queryids: Set[int]) -> None:
        """Forget all others, which the server no longer tracks."""
        self._spent = {queryid: spent for queryid, spent in self._spent.items() if queryid in queryids}
        self._shown = {queryid: slow for queryid, slow in self._shown.items() if queryid in queryids}

    def choose(self, now: float, describe: Callable[[int], tuple[Statement, str]]) -> None:
        """Fill free places, at a round's end after making some; `describe` is asked for each that comes in."""
        if self._ends is None:
            self._ends = now + ROUND_SECONDS
        over = now >= self._ends
        if not over and len(self._shown) >= self._limit:
            return
        first = nlargest(2 * self._limit, self._spent, key=self._spent.__getitem__)
        if over:
            self._shown = {queryid: self._shown[queryid] for queryid in first if queryid in self._shown}
        least = (SHARE if over else AT_ONCE) * sum(self._spent.values())
        for queryid in first:
            if len(self._shown) >= self._limit or self._spent[queryid] < least:
                break
            if queryid not in self._shown:
                self._shown[queryid] = Slow(*describe(queryid))
        if over:
            self._spent.clear()
            self._ends = now + ROUND_SECONDS
