"""`python -m tests.faults --healthy MINUTES`: what a healthy site does, in which nothing may be delivered.

Three servers on one database count as one tracking server. Days follow each other: teams at work with bursts, people
who search and look at charts, a rolling restart, and a night without load in which `mlflow gc`, VACUUM and a dump run.
Before that a stock installation, SQLite and nobody there. Minutes are of this machine; rules see ten times as many.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial

from tests.faults.trial import fired
from tests.lab import tools
from tests.lab.load import Load
from tests.lab.needs import Needs
from tests.lab.shapes import Histories, PointsTogether, Searches
from tests.lab.stack import FACTOR, Lab, healthy, light

STOCK_MINUTES = 3.0  # half an hour of the rules': longer than any `for` with its window
DAY = 240.0  # seconds: forty minutes of the rules', a day with little sleep
SITE = Needs(replicas=2, options=("--expose-prometheus", "metrics"), background="idle")


def main(minutes: float) -> int:
    """Run both; prints what was delivered and returns the exit status."""
    with Lab(Needs(sqlite=True, background="idle")) as lab:
        healthy(lab)
        time.sleep(min(STOCK_MINUTES, minutes) * 60)
        quiet = verdict("a stock installation, idle", lab)
    with Lab(SITE) as lab:
        healthy(lab)
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            day(lab)
        return 0 if verdict("a busy healthy site", lab) and quiet else 1


def verdict(what: str, lab: Lab) -> bool:
    """Print what was delivered, and what fired and told nobody; says whether it was nothing."""
    delivered = [one for one in lab.receiver.deliveries() if one.firing]
    for one in delivered:
        print(f"DELIVERED {one.alert}: {' '.join(one.annotations.get('description', '').split())}")
    findings = ", ".join(sorted(fired(lab) - {one.alert for one in delivered})) or "none"
    print(f"{what}: {len(delivered)} delivered; fired and told nobody: {findings}", flush=True)
    return not delivered


def day(lab: Lab) -> None:
    """Let a day pass, with what happens on it one after the other."""
    for what, seconds, work in (
        ("teams at work", DAY / 4, partial(at_work, lab)),
        ("a rolling restart", 0.0, partial(deploy, lab)),
        ("teams at work again", DAY / 4, partial(at_work, lab)),
        ("a burst", DAY / 24, partial(burst, lab)),
        ("teams at work till late", DAY / 8, partial(at_work, lab)),
        ("a night with gc, vacuum and a dump", DAY / 4, partial(night, lab)),
    ):
        print(f"{what}: {seconds * FACTOR / 60:.0f} min", flush=True)
        work(seconds)


def at_work(lab: Lab, seconds: float) -> None:
    with teams(lab):
        time.sleep(seconds)


@contextlib.contextmanager
def teams(lab: Lab) -> Iterator[None]:
    """Train on each server, search and look at charts on one, and log in steps as a library does."""
    ((runs,),) = lab.sql(
        "SELECT coalesce(array_agg(run_uuid), '{}') FROM (SELECT run_uuid FROM runs LIMIT 50) r"
    )
    searches = partial(Searches, experiments=["0", "1"], max_results=100)
    histories = partial(Histories, runs=runs or ["none"], keys=["loss"])
    with contextlib.ExitStack() as stack:
        for number, server in enumerate(lab.replicas):
            stack.enter_context(Load(server.url, 2, rate=3.0, seed=number))
        last = lab.replicas[-1].url
        stack.enter_context(Load(last, 1, rate=1.0, client=searches))
        stack.enter_context(Load(last, 1, rate=1.0, client=PointsTogether))
        if runs:
            stack.enter_context(Load(last, 1, rate=1.0, client=histories))
        yield


def burst(lab: Lab, seconds: float) -> None:
    """Let twelve jobs begin at once: as fast as it goes, a minute and a half of the rules' time."""
    with Load(lab.mlflow.url, 12, seed=200):
        time.sleep(seconds)


def deploy(lab: Lab, _: float) -> None:
    """Restart one server after the other, each when the one before is back, under load."""
    with light(lab.mlflow.url):
        for server in lab.replicas:
            server.stop()
            server.start()
            time.sleep(5)


def night(lab: Lab, seconds: float) -> None:
    end = time.monotonic() + seconds
    for chore in (gc, vacuum, dump):
        chore(lab)
    time.sleep(max(0.0, end - time.monotonic()))


def gc(lab: Lab) -> None:
    """Delete some runs as users do, and remove them for good as the nightly job does."""
    lab.sql(
        "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid IN (SELECT run_uuid FROM runs LIMIT 5)"
    )
    command = [str(tools.mlflow()), "gc", "--backend-store-uri", lab.postgres.dsn("mlflow", "mlflow")]
    tracking = {"MLFLOW_TRACKING_URI": lab.mlflow.url, "MLFLOW_DISABLE_TELEMETRY": "true"}
    own = dict.fromkeys(("HOME", "TMPDIR"), str(lab.mlflow.directory))  # it leaves files in both
    done = subprocess.run(
        command, env=os.environ | tracking | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"mlflow gc: {done.stderr[-2000:]}"


def vacuum(lab: Lab) -> None:
    lab.sql("VACUUM (ANALYZE)")


def dump(lab: Lab) -> None:
    """Read all tables as pg_dump does: in one transaction of one snapshot, by COPY."""
    with contextlib.closing(lab.postgres.connect(dbname="mlflow")) as session, session.transaction():
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        tables = session.execute("SELECT relid::regclass::text FROM pg_stat_user_tables").fetchall()
        for (table,) in tables:
            with session.cursor().copy(f"COPY {table} TO STDOUT".encode()) as rows:
                for _ in rows:
                    pass
