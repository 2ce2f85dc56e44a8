"""Turns what the kernel counts, for processes that come and go, into counters that start at 0 and never fall."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from exporter.host.processes import Stat


class CpuGrowth:
    """Tell how much CPU time each process has used since the previous reading."""

    def __init__(self) -> None:
        self._before: dict[tuple[int, int], float] = {}
        self._read_at: int | None = None

    def since(self, stats: Iterable[Stat], now: float) -> dict[tuple[int, int], float]:
        """Return seconds by identity. `now`, in ticks since boot, is from before the processes were listed.

        A process born since the previous reading counts from its birth: all it has used lies between these two
        readings, so that a rate over them is true. Any other that was not there before (another server is
        watched now, or the first reading) may have used hours long ago, and starts at 0. What a process uses
        between its last reading and its end is lost.
        """
        grown: dict[tuple[int, int], float] = {}
        seen: dict[tuple[int, int], float] = {}
        for stat in stats:
            seen[stat.identity] = stat.cpu_seconds
            born = self._read_at is not None and stat.started >= self._read_at
            before = self._before.get(stat.identity, 0.0 if born else stat.cpu_seconds)
            grown[stat.identity] = max(stat.cpu_seconds - before, 0.0)
        self._before = seen
        # Births are given in whole ticks, rounded down.
        self._read_at = int(now)
        return grown


class Growth:
    """Add up how much a count of the kernel grows, from 0 at the first reading."""

    def __init__(self) -> None:
        self._last: tuple[Hashable, float] | None = None
        self._total = 0.0

    def to(self, value: float, owner: Hashable) -> float:
        """Return the total; a count of another `owner` (a new control group, another namespace) adds nothing."""
        if self._last and self._last[0] == owner:
            self._total += max(value - self._last[1], 0.0)
        self._last = (owner, value)
        return self._total
