"""Postgres as a source: one connection kept open, one pipeline a scrape."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from exporter import queries
from exporter.collector import Query, Reason, SourceError
from exporter.sources.conninfo import Target
from exporter.sources.facts import Facts
from exporter.sources.pipeline import Limits, Link, Row, Ticket, connect

log = logging.getLogger(__name__)

# A connect gets half of what is left, and no more than this, so that the scrape is not all waiting.
CONNECT_SECONDS = 5.0
# Longer than any statement of ours may run. A link that is silent for so long may be one that a firewall has forgotten,
# which would go unnoticed for half a minute. It is given up as soon as another one can be had, and only then.
SILENCE_SECONDS = 8.0
FOLLOW_UPS = 2
FACTS = Query("facts")


class PostgresSession:
    """The answers of one scrape, as they arrive."""

    def __init__(self, link: Link, facts: Facts, round_trip: float, deadline: float) -> None:
        self.facts = facts
        self.round_trip = round_trip
        self._link = link
        self._deadline = deadline
        self._tickets: dict[str, Ticket] = {}
        self._refused: dict[str, SourceError] = {}
        self._asked = 0

    def submit(self, wanted: Sequence[Query]) -> None:
        for query in wanted:
            # Two collectors may want the same one.
            if query.name in self._tickets or query.name in self._refused:
                continue
            try:
                if ticket := self._send(query):
                    self._tickets[query.name] = ticket
            except SourceError as error:
                if error.reason is Reason.UNREACHABLE:
                    raise
                self._refused[query.name] = error

    def rows(self, query: str) -> Sequence[Row]:
        """Return the rows of a query of this scrape; none where this server's version has no such query."""
        if query in self._refused:
            raise self._refused[query]
        return self._answer(self._tickets.get(query))

    def ask(self, query: str, *params: object) -> Sequence[Row]:
        """Run one more query in a round trip of its own.

        Raises SourceError `busy` after the second one of a scrape: on a slow link each costs its delay.
        """
        self._asked += 1
        if self._asked > FOLLOW_UPS:
            raise SourceError(
                Reason.BUSY, f"{query}: this scrape has had its {FOLLOW_UPS} further round trips"
            )
        return self._answer(self._send(Query(query, params)))

    def _answer(self, ticket: Ticket | None) -> Sequence[Row]:
        try:
            return [] if ticket is None else self._link.wait(ticket, self._deadline)
        except SourceError as error:
            raise self.facts.exact(error) from None

    def _send(self, query: Query) -> Ticket | None:
        text = queries.sql(query.name, self.facts.major)
        if text is None:
            return None
        left = max(0.0, self._deadline - time.monotonic())
        return self._link.submit(
            query.name, self.facts.filled(text), query.params, Limits(min(query.timeout, left))
        )


class PostgresSource:
    """Keep one connection and read it for one scrape at a time; for one thread."""

    name = "postgres"

    def __init__(self, target: Target) -> None:
        self.target = target
        self._link: Link | None = None
        self._facts: Facts | None = None
        self._said: set[tuple[str, str]] = set()

    def open(self, wanted: Sequence[Query], deadline: float) -> PostgresSession:
        """Send the scrape's queries and wait for the first answer, which shows that the server is up."""
        kept = self._link is not None and self._link.open
        try:
            return self._begin(wanted, deadline)
        except SourceError as error:
            if not kept or error.reason is not Reason.UNREACHABLE:
                raise
        # The connection had died since the last scrape: Postgres may be back already.
        return self._begin(wanted, deadline)

    def _begin(self, wanted: Sequence[Query], deadline: float) -> PostgresSession:
        link = self._connected(deadline)
        started = time.monotonic()
        ping = self._ask(link, FACTS, deadline)
        session: PostgresSession | None = None
        if self._facts is not None:
            session = PostgresSession(link, self._facts, 0.0, deadline)
            session.submit(wanted)
        facts = Facts.from_row(link.wait(ping, deadline)[0])
        round_trip = ping.arrived - started
        if session is None or facts != self._facts:
            # The first scrape of a connection, or the server changed under us: the queries sent with the old
            # facts, if any, are read and dropped by settle(), and sent anew with the right ones.
            self._say(facts)
            self._facts = facts
            session = PostgresSession(link, facts, round_trip, deadline)
            session.submit(wanted)
        session.round_trip = round_trip
        return session

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """What limits the answers without being a failure, as of the last reading; each with what mends it."""
        return tuple(self._facts.remarks()) if self._facts else ()

    def _say(self, facts: Facts) -> None:
        for remark in facts.remarks():
            if remark not in self._said:
                log.info("%s%s", remark[0], f". Remedy: {remark[1]}" if remark[1] else "")
        self._said = set(facts.remarks())

    def settle(self) -> None:
        """Read what is still under way after the answers were given; may take long, not on a silent link."""
        if self._link is not None:
            self._link.settle(SILENCE_SECONDS)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()

    def _connected(self, deadline: float) -> Link:
        kept = self._link if self._link is not None and self._link.open else None
        if kept is not None and kept.settle(0.0) and kept.open:
            return kept
        self._facts = None
        conninfo = self.target.conninfo()  # first, as a password command may take its time
        now = time.monotonic()
        budget = min(CONNECT_SECONDS, max(0.0, deadline - now) / 2)
        try:
            self._link = connect(conninfo, now + budget)
        except SourceError as error:
            raise self.target.exact(error) from None
        if kept is not None:
            kept.close()
        return self._link

    def _ask(self, link: Link, query: Query, deadline: float) -> Ticket:
        text = queries.sql(query.name, 0)
        assert text is not None
        left = max(0.0, deadline - time.monotonic())
        return link.submit(query.name, text, query.params, Limits(min(query.timeout, left)))
