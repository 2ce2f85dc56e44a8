"""What pg_stat_statements counts of each statement, and by what two readings of it differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import add, lt, sub
from struct import Struct
from typing import NamedTuple, cast

from exporter.collector import Reason, SourceError
from exporter.sources.pipeline import Row

Key = tuple[int, int]
"""Role and level (twice the role's oid, and 1 at top level), queryid."""
Shape = tuple[int, bool]
"""Queryid, whether it ran at top level: what has one class."""


class Counts(NamedTuple):
    """What was counted of a statement or of a class of them."""

    calls: float = 0.0
    milliseconds: float = 0.0
    rows: float = 0.0
    blocks_hit: float = 0.0
    blocks_read: float = 0.0
    temp_blocks: float = 0.0
    wal_bytes: float = 0.0
    io_milliseconds: float = 0.0

    def plus(self, other: Counts) -> Counts:
        return Counts(*map(add, self, other))


# What `statements` gives of each: role and level, queryid; and since when it is counted, then its counts.
KEY = Struct(">qq")
ROW = Struct(">qqdqqqqqd")
# Of Postgres' binary form of a time: microseconds, from 2000 on.
MICROSECONDS = 1e6
YEAR_2000 = 946_684_800
# Twenty times the default. Each takes some 600 bytes here, up to 2 kB with its text.
MOST_STATEMENTS = 100_000
# So many rows are compared at once: of 5,000 statements a scrape finds a few to have moved.
PART = 64 * ROW.size


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """All statements at one time, their counts in the binary form in which they came.

    Times are the server's, `reset` is 0 before Postgres 14. `hidden` is how many our role may not see.
    """

    server_started: float
    reset: float
    read_at: float
    identity: bytes
    keys: list[Key]
    index: dict[Key, int]
    counts: bytes

    @classmethod
    def of(cls, info: Row, row: Row, before: Reading | None) -> Reading:
        """Read the rows of `statements_info` and `statements`; keys are shared with an equal reading before.

        Raises SourceError where there are more than can be kept in mind.
        """
        started, reset, read_at = (
            cast(float, one) for one in (info["server_started"], info["reset"], row["read_at"])
        )
        # Without a single statement the aggregates are NULL.
        identity, counts = (cast(bytes, row[name] or b"") for name in ("statements", "counts"))
        statements, rest = divmod(len(identity), KEY.size)
        if rest or len(counts) != statements * ROW.size:
            raise SourceError(Reason.BAD_ANSWER, "statements and their counts are not as many")
        if statements > MOST_STATEMENTS:
            raise SourceError(
                Reason.UNSUPPORTED,
                f"pg_stat_statements tracks more than {MOST_STATEMENTS:,} statements of this database",
                "pg_stat_statements.max = 5000  -- its default; postgresql.conf or parameter group, then restart",
            )
        if before is not None and before.identity == identity:
            keys, index = before.keys, before.index
        else:
            keys = cast("list[Key]", list(KEY.iter_unpack(identity)))
            index = {key: number for number, key in enumerate(keys) if key[1]}
        return cls(started, reset, read_at, identity, keys, index, counts)

    @property
    def hidden(self) -> int:
        return len(self.keys) - len(self.index)

    def shapes(self) -> set[Shape]:
        return {(queryid, bool(role & 1)) for role, queryid in self.index}

    def at(self, number: int) -> tuple[float, ...]:
        """Return since when a statement is counted, long ago before Postgres 17, and then its counts."""
        since, *counts = ROW.unpack_from(self.counts, number * ROW.size)
        return (since / MICROSECONDS + YEAR_2000, *counts)


def deltas(before: Reading | None, now: Reading) -> Iterator[tuple[Shape, Counts]]:
    """Return what was counted between two readings; never more than the truth.

    Less by what ran before the first reading, what was born and evicted between two readings, and what ran
    after the last reading before a reset, an eviction or a restart of the server.
    """
    # Another server (failover), or ours after a restart: there is nothing to subtract from.
    if before is None or before.server_started != now.server_started:
        return
    # Our role was allowed to see more: what appears now may be old.
    baseline = now.hidden < before.hidden
    reset = now.reset > before.read_at
    for number, place in _pairs(before, now, reset):
        role, queryid = now.keys[number]
        if not queryid or (place is None and baseline):
            continue
        counts = now.at(number)
        old = None if place is None or reset or counts[0] > before.read_at else before.at(place)
        # Evicted and back, or after a reset, all it has came after the last reading. Where the server does not
        # tell (evictions before Postgres 17, resets before 14) one that is back with more than it had looks as if
        # it had stayed, and counts for the difference: too little, never too much.
        back = old is None or any(map(lt, counts, old))
        _, *moved = counts if old is None or back else map(sub, counts, old)
        yield (queryid, bool(role & 1)), Counts(*moved)


def _pairs(before: Reading, now: Reading, reset: bool) -> Iterator[tuple[int, int | None]]:
    """Return where the statements that moved are in the second reading and in the first; after a reset, all."""
    if now.keys is before.keys and not reset:
        for number in _differing(before.counts, now.counts):
            yield number, number
        return
    size = ROW.size
    for key, number in now.index.items():
        place = before.index.get(key)
        if (
            place is None
            or reset
            or (
                now.counts[number * size : (number + 1) * size]
                != before.counts[place * size : (place + 1) * size]
            )
        ):
            yield number, place


def _differing(before: bytes, now: bytes) -> Iterator[int]:
    for start in range(0, len(now), PART):
        if before[start : start + PART] != now[start : start + PART]:
            for place in range(start, min(start + PART, len(now)), ROW.size):
                if before[place : place + ROW.size] != now[place : place + ROW.size]:
                    yield place // ROW.size
