"""A day: what happens one after the other, and a night in which the exporter is only scraped.

Each day ends with the settings, rights and servers with which it began, but for the number of workers.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

from psycopg.errors import LockNotAvailable

from tests.lab.load import Load
from tests.lab.process import wait_for
from tests.lab.servers import PASSWORDS
from tests.soak.churn import Churn
from tests.soak.site import Site

NIGHT = "night"
NIGHT_SECONDS = 10.0
SPELL = 3.0  # seconds that something stays as bad as it was made: three scrapes
CALLS_PER_SECOND = 6.0
POINTS = 20_000
OURS = "pid <> pg_backend_pid() AND application_name = 'mlflow-exporter'"

# What the last reload may change: parts begin anew whose settings differ, others go on.
CHANGES = (
    {"statements": {"slowest": 20}},
    {"probes": {"interval": 1, "timeout": 1, "urls": {"ui": "http://127.0.0.1:1/"}}},
    {"statements": {"slowest": 5, "texts": False}, "probes": {"interval": 3, "version": False}},
)


SLOTS = tuple(f"mlflow_server_worker_cpu_seconds_total{{worker={slot}}}" for slot in (2, 3))


@dataclass(frozen=True)
class Event:
    """One thing that happens. Counters whose names start with one of `resets` may start from 0 in it."""

    name: str
    happen: Callable[[], None]
    resets: tuple[str, ...] = ()


def days(site: Site) -> Iterator[list[Event]]:
    """Return the events of one day after the other, no two days alike."""
    for number in itertools.count():
        chance = random.Random(number)
        daily = [
            Event("statements reset", partial(forget, site), ("mlflow_db_statements_evicted_total",)),
            Event("a worker killed", partial(kill_worker, site)),
            Event("locked tables", partial(lock, site)),
            Event("growth", partial(grow, site)),
            Event("same settings read again", partial(reload, site, {})),
            Event("a login refused", partial(refuse, site, number)),
            # The slots that a day had no worker for begin anew.
            Event("a server restarted", partial(restart, site, (4, 3, 2)[number % 3]), SLOTS),
            # Killed, it has lost its statistics: its counters start from 0.
            Event("Postgres killed", partial(stop, site, kill=True), ("mlflow_db_", "mlflow_store_"))
            if number % 3 == 2
            else Event("Postgres restarted", partial(stop, site, kill=False)),
            Event("settings changed", partial(change, site, number), ("mlflow_",)),
        ]
        chance.shuffle(daily)
        yield daily


def at_work(site: Site) -> tuple[Load, Churn]:
    """Return what goes on all day."""
    return Load(site.mlflow.url, 3, rate=CALLS_PER_SECOND), Churn(site.postgres)


def forget(site: Site) -> None:
    site.sql("SELECT pg_stat_statements_reset()")


def kill_worker(site: Site) -> None:
    site.mlflow.kill_worker()
    time.sleep(SPELL)


def lock(site: Site) -> None:
    """Lock tables, or wait for that as long: behind a waiting lock everybody waits, too."""
    with closing(site.postgres.connect(dbname="mlflow")) as session:
        # A worker may keep a transaction open while another of its requests waits for ours.
        session.execute(f"SET lock_timeout = '{SPELL:g}s'".encode())
        with suppress(LockNotAvailable), session.transaction():
            session.execute("LOCK TABLE runs, metrics, experiments IN ACCESS EXCLUSIVE MODE")
            time.sleep(SPELL)


def grow(site: Site) -> None:
    """Add points to the newest run, and remove the oldest runs with all that is in them."""
    site.sql(
        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
        " SELECT 'grown', random(), extract(epoch FROM clock_timestamp())::bigint * 1000 + step, run_uuid, step, false"
        " FROM (SELECT run_uuid FROM runs ORDER BY start_time DESC LIMIT 1) newest, generate_series(1, %s) step",
        POINTS,
    )
    runs = site.sql("SELECT run_uuid FROM runs WHERE status = 'FINISHED' ORDER BY start_time LIMIT 5")
    for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
        site.sql(f"DELETE FROM {table} WHERE run_uuid = ANY(%s)", [run for (run,) in runs])


def reload(site: Site, settings: dict[str, object]) -> None:
    site.configure(settings)
    site.exporter.reload()
    time.sleep(SPELL / 2)


def change(site: Site, number: int) -> None:
    """Read other settings, then a faulty file, which changes nothing, then the usual ones."""
    reload(site, dict(CHANGES[number % len(CHANGES)]))
    site.spoil()
    site.exporter.reload()
    time.sleep(SPELL / 2)
    reload(site, {})


def refuse(site: Site, number: int) -> None:
    """Cut the exporter off, and let no session of it in for a while."""
    secret = f"{PASSWORDS['exporter']}-{number}"
    site.sql(
        f"ALTER ROLE exporter PASSWORD '{secret}'" if number % 2 else "ALTER ROLE exporter CONNECTION LIMIT 1"
    )
    cut = site.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")
    assert cut, "the exporter had no session"
    time.sleep(SPELL)
    site.password(secret if number % 2 else PASSWORDS["exporter"])
    site.sql("ALTER ROLE exporter CONNECTION LIMIT -1")
    time.sleep(SPELL)
    site.sql(f"ALTER ROLE exporter PASSWORD '{PASSWORDS['exporter']}'")
    site.password(PASSWORDS["exporter"])


def restart(site: Site, workers: int) -> None:
    site.mlflow.stop()
    time.sleep(SPELL)
    site.mlflow.workers = workers
    site.mlflow.start()


def stop(site: Site, kill: bool) -> None:
    site.postgres.kill() if kill else site.postgres.stop()
    time.sleep(SPELL)
    site.postgres.start()
    wait_for(lambda: bool(site.sql("SELECT 1")), "Postgres answers")
