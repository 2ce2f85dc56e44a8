"""What the database's sessions are busy with, looked at once a second.

In the background, although Prometheus' guidance is to read when asked: what happens between two scrapes cannot be
seen afterwards, and one look at each scrape would take hours to tell a load from a chance.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from exporter import queries
from exporter.collector import Reason, SourceError
from exporter.metric import Metric, Sample, counter
from exporter.outcome import ERRORS, LAST_SUCCESS, SUCCESS, Outcome, Teller
from exporter.rights import MONITOR
from exporter.samplers.wait_classes import CLASSES, wait_class
from exporter.sources.conninfo import Target
from exporter.sources.pipeline import Limits, Link, Row, Ticket, connect
from exporter.sources.postgres import SILENCE_SECONDS
from exporter.statements import KNOWN, classify

NAME = "load"
STATEMENT_SECONDS = 0.5
ANSWER_SECONDS = 0.9  # before the next look is due
CONNECT_SECONDS = 5.0
LONGEST_PAUSE = 15.0

SAMPLED_BY = (
    "Sampled once a second in the background, since what happens between two scrapes cannot be seen afterwards; "
    "absent before the first sample"
)
LOAD = counter(
    "mlflow_db_load_seconds_total",
    "Seconds that client sessions and their parallel workers were active, by what they waited for (cpu: nothing; "
    "client: the next message, which is no work of the database) and whether in MLflow's database or another; its "
    "rate is the average number of active sessions. The exporter's own are left out. "
    f"{SAMPLED_BY}, and for `other` where the exporter's role cannot see other roles' sessions.",
    "pg_stat_activity.wait_event",
    "seconds",
    ("wait_class", "database"),
)
OPERATION = counter(
    "mlflow_db_load_operation_seconds_total",
    "The same seconds without those of class client, by MLflow operation; sessions of other databases are `other`. "
    f"An operation that is not one of the usual appears with its first second. {SAMPLED_BY}.",
    "pg_stat_activity.query",
    "seconds",
    ("operation", "database"),
)
SAMPLED = counter(
    "mlflow_db_load_sampled_seconds_total",
    "Seconds that the load was known: its rate is 1 while no sample is missing, and the load's rate divided by it is "
    f"true where some are. {SAMPLED_BY}.",
    "the exporter",
    "seconds",
)

OPERATIONS = tuple(dict.fromkeys(known.operation for known in KNOWN))


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """A database whose load is sampled; equal as long as the sampler need not be rebuilt."""

    target: Target
    interval: float = 1.0


class Load:
    """Seconds by wait class and by operation, of samples taken one after the other."""

    def __init__(self) -> None:
        self.waits: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.operations: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.seconds = 0.0
        self.sees_all = False

    def add(self, rows: Sequence[Row], seconds: float) -> None:
        """Credit the seconds to each session; raises SourceError, before anything, where some cannot be seen."""
        for row in rows:
            if row["mlflow"] and row["hidden"]:
                raise SourceError(
                    Reason.PERMISSION,
                    "sessions of other roles in MLflow's database are hidden",
                    MONITOR.format(role="the exporter's role"),
                )
            if row["mlflow"] and row["untracked"]:
                raise SourceError(
                    Reason.UNSUPPORTED,
                    "sessions of MLflow's database do not show what they do",
                    "track_activities = on  -- postgresql.conf or parameter group, or of the role or database",
                )
        self.sees_all = bool(rows[0]["sees_all"])
        self.seconds += seconds
        for row in rows:
            if row["sessions"] and not row["hidden"] and not row["untracked"]:
                self._add(row, seconds)

    def samples(self) -> Iterable[Sample]:
        yield SAMPLED(self.seconds)
        databases = ("mlflow", "other") if self.sees_all else ("mlflow",)
        for database in databases:
            yield from (LOAD(self.waits[name, database], name, database) for name in CLASSES)
            usual = OPERATIONS if database == "mlflow" else ("other",)
            seen = [name for name, where in self.operations if where == database]
            for name in dict.fromkeys((*usual, *seen)):
                yield OPERATION(self.operations[name, database], name, database)

    def _add(self, row: Row, seconds: float) -> None:
        text, kind, event = (row[name] for name in ("query", "wait_event_type", "wait_event"))
        assert isinstance(row["sessions"], int)
        operation = "other" if text is None else classify(str(text)).operation
        if operation == "exporter":
            return
        database = "mlflow" if row["mlflow"] else "other"
        name = wait_class(*(None if part is None else str(part) for part in (kind, event)))
        self.waits[name, database] += seconds * row["sessions"]
        if name != "client":
            operation = operation if row["mlflow"] else "other"
            self.operations[operation, database] += seconds * row["sessions"]


class LoadSampler:
    """Look at the sessions at each tick, over one kept connection.

    A tick that fails waits for no second try: the next is due in a second. What a late answer says is dropped.
    """

    name = NAME
    metrics: tuple[Metric, ...] = (LOAD, OPERATION, SAMPLED, SUCCESS, ERRORS, LAST_SUCCESS)

    def __init__(
        self,
        spec: LoadSpec,
        open_link: Callable[[bytes, float], Link] = connect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.interval = spec.interval
        self._open_link = open_link
        self._clock = clock
        self._link: Link | None = None
        self._ticket: Ticket | None = None
        self._pause = 0.0
        self._retry_at = 0.0
        self._replaced_at = 0.0  # when a silent link was last to be replaced
        self._teller = Teller()
        self._ticking = threading.Lock()  # held through a tick, by whoever may touch the link
        self._closed = threading.Event()
        self._lock = threading.Lock()  # for what samples() reads; never held while waiting
        self._load = Load()
        self._sampled_at: float | None = None
        self._last: tuple[float, SourceError | None] | None = None
        self._success_at: float | None = None
        self._errors: Counter[Reason] = Counter()

    @property
    def failure(self) -> SourceError | None:
        """Why the last sample failed, None where it did not or there was none."""
        return self._last[1] if self._last else None

    def tick(self) -> None:
        try:
            with self._ticking:
                if not self._closed.is_set():
                    self._look()
        finally:
            if self._closed.is_set():
                self._give_back()

    def samples(self) -> Iterable[Sample]:
        with self._lock:
            samples = [ERRORS(count, NAME, reason) for reason, count in self._errors.items()]
            if self._success_at is not None:
                samples += [*self._load.samples(), LAST_SUCCESS(self._success_at, NAME)]
            if self._last and self._clock() - self._last[0] < 3 * self.interval:
                samples.append(SUCCESS(float(self._last[1] is None), NAME))
        return samples

    def close(self) -> None:
        """Give the connection back, at the end of a tick under way if there is one: within some seconds."""
        self._closed.set()
        self._give_back()

    def _give_back(self) -> None:
        # Where the lock is taken, a tick has it and comes here next.
        if self._ticking.acquire(blocking=False):
            try:
                if self._link is not None:
                    self._link.close()
            finally:
                self._ticking.release()

    def _look(self) -> None:
        try:
            self._note(self._rows())
        except SourceError as error:
            # Kept and raised again while no connection is tried: it must not hold the frames that it went through.
            self._fail(error.with_traceback(None))

    def _rows(self) -> Sequence[Row]:
        now = self._clock()
        if now < self._retry_at and self._last and self._last[1]:
            raise self._last[1]
        link = self._connected(now)
        if self._ticket is not None and not self._ticket.done:
            link = self._drained(link, self._ticket)
        deadline = self._clock() + ANSWER_SECONDS
        text = queries.sql("load", 0)
        assert text is not None
        self._ticket = link.submit(NAME, text, (), Limits(STATEMENT_SECONDS))
        return link.wait(self._ticket, deadline)

    def _connected(self, now: float) -> Link:
        if self._link is None or not self._link.open:
            self._ticket = None
            self._link = None
            self._link = self._open_link(self.spec.target.conninfo(), now + CONNECT_SECONDS)
        return self._link

    def _drained(self, link: Link, late: Ticket) -> Link:
        """Wait for the late answer to an earlier look, which nobody wants now; returns the link to look over.

        That is another one where this one is long silent and another can be had.
        """
        try:
            link.wait(late, self._clock() + ANSWER_SECONDS)
        except SourceError:
            now = self._clock()
            if late.done:
                return link  # that look has failed, which was counted; the link is fine
            if not link.open or now - max(link.heard, late.sent, self._replaced_at) <= SILENCE_SECONDS:
                raise
            self._replaced_at = now
            self._link = self._open_link(self.spec.target.conninfo(), now + CONNECT_SECONDS)
            link.close()
            return self._link
        return link

    def _note(self, rows: Sequence[Row]) -> None:
        now = self._clock()
        # A longer gap is a gap: what happened in it is not known.
        elapsed = 0.0 if self._sampled_at is None else min(now - self._sampled_at, 2 * self.interval)
        with self._lock:
            self._load.add(rows, elapsed)
            self._last = (now, None)
            self._success_at = time.time()
        self._sampled_at = now
        self._pause = 0.0
        self._teller.tell("sampler load", None)

    def _fail(self, error: SourceError) -> None:
        now = self._clock()
        if now >= self._retry_at and (self._link is None or not self._link.open):
            self._pause = min(max(1.0, 2 * self._pause), LONGEST_PAUSE)
            self._retry_at = now + self._pause
        with self._lock:
            self._last = (now, error)
            self._errors[error.reason] += 1
        self._teller.tell("sampler load", Outcome.failed(error))
