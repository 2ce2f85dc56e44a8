"""`docker compose -p demo --profile demo up`: clients of the tracking server in the compose file, and one cause made.

FAULT names a cause or `cause/fault` of those that a site can have from outside; none leaves it well. CALLS_PER_SECOND
is the clients' work, FAULT_AFTER the seconds until the cause begins. Stopping ends it by the runbook's fix, and so does
the next start where it was killed. Not on data that you keep: a cause may be a database without fsync.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from tests.faults import Fault, availability, connections, database_configuration, logging_pattern
from tests.lab.load import Load
from tests.lab.postgres import Postgres
from tests.lab.stack import Lab

SECRETS = Path("/run/secrets")
URL, DATABASE = "http://mlflow:5000", "postgres:5432"
ROUND = 10.0  # seconds between two lines of its log

# What needs no hand on the servers' own machine.
OUTSIDE = (
    availability.hide_tables,
    connections.lock,
    connections.leave_open,
    database_configuration.fsync_off,
    *(fault.make for fault in logging_pattern.FAULTS),
)
# Of these what outlives a demo that is killed, since it is kept by the database; the rest ends with its connections.
KEPT = (availability.hide_tables, database_configuration.fsync_off)
MODULES = (availability, connections, database_configuration, logging_pattern)
FAULTS: dict[str, Fault] = {
    str(one): one for module in MODULES for one in module.FAULTS if one.make in OUTSIDE
}


class Database(Postgres):
    """The compose file's Postgres: reached by network, with the passwords that its setup has made."""

    def __init__(self) -> None:
        """Start nothing; it runs already."""

    def dsn(self, user: str = "postgres", dbname: str = "postgres", password: str | None = None) -> str:
        secret = (SECRETS / user).read_text() if password is None else password
        return f"postgresql://{user}:{quote(secret, safe='')}@{DATABASE}/{dbname}"


class Site(Lab):
    """What a fault reaches for of the running site; the rest of a lab is not there."""

    def __init__(self) -> None:
        self._postgres = Database()
        self._made = ExitStack()

    @property
    def url(self) -> str:
        return URL


def chosen(name: str) -> Fault | None:
    """Return the fault of that name, or the first of that cause; None for no name. Exits where there is none."""
    if not name:
        return None
    for fault in FAULTS.values():
        if name in (fault.cause, str(fault)):
            return fault
    sys.exit(f"FAULT={name} is none that a site can have from outside; there are: {', '.join(FAULTS)}")


def mend(site: Site) -> None:
    """Apply the fix of whatever a demo that was killed may have left."""
    for fault in FAULTS.values():
        if fault.make in KEPT:
            fault.fix(site)


def main(fault: Fault | None, rate: float, after: float) -> None:
    """Load the site until SIGTERM or SIGINT, and make the fault after that many seconds."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    site, began, made, answered = Site(), time.monotonic(), False, 0
    mend(site)
    with Load(URL, clients=4, rate=rate) as load:
        try:
            while not ended.wait(ROUND):
                calls = load.succeeded.total()
                say(
                    f"{(calls - answered) / ROUND:.1f} calls a second, failed so far: {dict(load.errors) or 'none'}"
                )
                answered = calls
                if fault and not made and time.monotonic() - began >= after:
                    say(
                        f"The cause happens: {fault}. It should notify of {', '.join(sorted(fault.delivers))}."
                    )
                    made = True
                    fault.make(site)
        finally:  # before the clients end, which wait for their answers
            if fault and made:
                say("The runbook's fix is applied.")
                fault.fix(site)
                site.end()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    asked = os.environ
    main(chosen(asked.get("FAULT", "")), float(asked["CALLS_PER_SECOND"]), float(asked["FAULT_AFTER"]))
