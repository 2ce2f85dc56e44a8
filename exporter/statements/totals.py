"""What statements did by class, added up from reading to reading; the class is known once their text was read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from exporter.collector import Reason, SourceError
from exporter.sql import Answers
from exporter.statements import KNOWN, Statement, classify
from exporter.statements.counts import Counts, Reading, Shape, deltas
from exporter.statements.sticky import SlowStatements
from exporter.statements.texts import driver, shown

# Reading texts costs the server the whole file of them, 52 ms at 14 MB and as much again in temporary files: at most a
# thousandth of its time, as MLflow makes new statements without end. What they counted is kept meanwhile.
REST = 1_000
LONGEST_REST = 120.0
# While more are waiting than are read at once, as after a start of ours: a hundredth.
SHORT_REST = 100
# What is asked for at once, 1 MB of texts at most: 2,000 left the process 8 MiB larger, for good.
BATCH = 500

# A driver is in use whose statements ran so long before the last of any: idle hours change nothing.
LATELY = 900.0


class Known(NamedTuple):
    """What a statement's text told; `text` is the part of it that may be shown, if any is."""

    statement: Statement
    driver: str
    text: str


# What says that no text was read, and so at no cost: tried again by the next scrape.
NOTHING_READ = (Reason.UNREACHABLE, Reason.BUSY, Reason.EXHAUSTED)

# Most of MLflow's statements differ in the length of a list alone, far behind what is shown of them: 5,000 kept apart
# take 2 MiB more.
_known = lru_cache(1_000)(Known)

# What a statement counts as whose text was gone before it was read.
GONE = Known(Statement("other", "", False), "", "")


class Totals:
    """The counters; those of KNOWN classes start at 0.

    `last` is the reading up to which they count, `slow` at most `slowest` statements with the start of their
    `texts`. `sees_mlflow` says whether any statement that was seen is MLflow's.
    """

    def __init__(self, slowest: int, texts: bool, clock: Callable[[], float]) -> None:
        self.by_class: dict[Statement, Counts] = dict.fromkeys(KNOWN, Counts())
        self.slow = SlowStatements(slowest)
        self.sees_mlflow = False
        self._texts = texts
        self._clock = clock
        self.last: Reading | None = None
        self._drivers: dict[str, float] = {}
        self._known: dict[Shape, Known] = {}
        self._pending: dict[Shape, Counts] = {}
        self._rested = -math.inf
        self._failure: tuple[Reason, str, str] | None = None

    @property
    def pending(self) -> int:
        """How many statements wait for their text."""
        return len(self._pending)

    def drivers(self) -> Iterator[str]:
        """Return the drivers whose statements ran lately."""
        latest = max(self._drivers.values(), default=0.0)
        return (name for name, ran in self._drivers.items() if ran > latest - LATELY)

    def by_operation(self) -> dict[tuple[str, bool], Counts]:
        """Return the sums of each operation's statements that read, and of those that write."""
        sums: dict[tuple[str, bool], Counts] = {}
        for one, counts in self.by_class.items():
            key = (one.operation, one.writes)
            sums[key] = sums.get(key, Counts()).plus(counts)
        return sums

    def add(self, now: Reading) -> None:
        """Add what was counted since the last reading."""
        if self.last is None or self.last.keys is not now.keys:
            self._track(now.shapes())
        before = self.last
        self.last = now  # at once: whatever goes wrong from here on, nothing is counted twice
        for shape, counts in deltas(before, now):
            if known := self._known.get(shape):
                self._count(shape, known, counts)
            else:
                # The text of one that never runs is never read: of 5,000 tracked, some hundred are at work.
                waiting = self._pending.get(shape)
                self._pending[shape] = waiting.plus(counts) if waiting else counts
        if now.hidden and not self.sees_mlflow:
            for shape in now.shapes() - self._known.keys():
                self._pending.setdefault(shape, Counts())

    def read_texts(self, session: Answers) -> None:
        """Read the texts of pending statements, many together, when the server has rested from the last time.

        Raises what the last reading raised until one succeeds: without texts the counters would stand still
        while the database is busy.
        """
        started = self._clock()
        if not self._pending:
            self._failure = None
        elif started >= self._rested:
            batch = list(self._pending)[:BATCH]
            try:
                rows = session.ask("statement_texts", sorted({queryid for queryid, _ in batch}))
                self._failure = None
            except SourceError as error:
                self._failure = (error.reason, error.detail, error.remedy)
            now = self._clock()
            rest = REST if len(batch) == len(self._pending) else SHORT_REST
            self._rested = now + min(rest * (now - started), LONGEST_REST)
            if self._failure is not None and self._failure[0] in NOTHING_READ:
                self._rested = now
            if self._failure is None:
                texts = {row["queryid"]: str(row["text"] or "") for row in rows}
                # One without a text was reset or evicted since we read the counts. It stays pending until it is
                # gone from those too, or is back.
                for shape in batch:
                    if shape[0] in texts:
                        self._classify(shape, texts[shape[0]])
        if self._failure is not None:
            raise SourceError(*self._failure)

    def choose_slow(self) -> None:
        self.slow.choose(self._clock(), self._describe)

    def _track(self, shapes: set[Shape]) -> None:
        """Forget the statements that are no longer tracked, so that we hold no more than the server does."""
        self._known = {shape: known for shape, known in self._known.items() if shape in shapes}
        self.slow.keep({queryid for queryid, top in shapes if top})
        for shape in self._pending.keys() - shapes:
            self._classify(shape, None)

    def _classify(self, shape: Shape, text: str | None) -> None:
        known = GONE
        if text is not None:
            statement = classify(text, shape[1])
            known = _known(statement, driver(text, statement), shown(text) if self._texts else "")
            self._known[shape] = known
        self.sees_mlflow = self.sees_mlflow or bool(known.statement.table)
        self._count(shape, known, self._pending.pop(shape))

    def _count(self, shape: Shape, known: Known, counts: Counts) -> None:
        statement = known.statement
        self.by_class[statement] = self.by_class.get(statement, Counts()).plus(counts)
        if not counts.calls:
            return
        if known.driver:
            self._drivers[known.driver] = self._clock()
        # What runs inside of others is in their time already.
        if known is not GONE and shape[1] and statement.operation != "exporter":
            self.slow.add(shape[0], counts.calls, counts.milliseconds)

    def _describe(self, queryid: int) -> tuple[Statement, str]:
        known = self._known[queryid, True]
        return known.statement, known.text
