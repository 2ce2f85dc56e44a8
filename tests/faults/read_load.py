"""Reads crowd out writes, and replicas that do not do what they are for.

The fix of the first is a replica that the tracking server reads from; that of the others is on the replica.
"""

from __future__ import annotations

import contextlib
import threading
from functools import partial

import psycopg

from tests.faults import Fault, Lab, Needs
from tests.lab.bigdata import POPULATED
from tests.lab.load import Load
from tests.lab.replica import Standby
from tests.lab.shapes import Searches

READ = "SELECT count(*) FROM latest_metrics"


def many_readers(lab: Lab) -> None:
    """Sort tables of 20,000 runs by a metric, for four people at once, on a database of 0.4 cores.

    Each such search takes it 0.05 s of CPU with all indexes there, and MLflow 0.02 s: sixteen a second want twice what
    there is, on a machine twice as quick all of it, and on a busy one the database is still what they wait for.
    """
    lab.group("postgres").cpu(0.4)
    search = partial(Searches, experiments=POPULATED, order_by=["metrics.`key-1` DESC"])
    lab.begin(Load(lab.url, 4, rate=16, client=search))


def read_from_a_replica(lab: Lab) -> None:
    replica = lab.begin(Standby(lab.postgres, online=True))
    lab.mlflow.options += ("--read-replica-backend-store-uri", replica.dsn("mlflow", "mlflow"))
    lab.restart_mlflow()


class Reader:
    """Somebody with one transaction on the replica, and vacuum on the primary of what it has read.

    Once, for the query that stays; or again and again, each time with a new transaction.
    """

    def __init__(self, lab: Lab, every: float = 0.0) -> None:
        self.lab, self.every = lab, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="reader")

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(psycopg.Error), self.lab.replica.connect("mlflow", "mlflow") as session:
                session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                session.execute(READ)
                self.lab.sql("UPDATE latest_metrics SET value = value + 1")
                self.lab.sql("VACUUM latest_metrics")
                self._ended.wait(self.every or None)


def query_that_holds_replay(lab: Lab) -> None:
    """Let one query stay, and replay wait for it: the lag grows by a second a second, and is gone at its end."""
    lab.replica.execute("ALTER SYSTEM SET max_standby_streaming_delay = -1")
    lab.replica.execute("SELECT pg_reload_conf()")
    lab.begin(Reader(lab))


def end_that_query(lab: Lab) -> None:
    lab.replica.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'mlflow' AND xact_start < clock_timestamp() - interval '5 seconds'"
    )


def queries_cancelled(lab: Lab) -> None:
    """Read what vacuum then removes on the primary: 0.65 conflicts a second, none more once feedback is on."""
    lab.begin(Reader(lab, every=1.5))


def feedback(lab: Lab) -> None:
    lab.replica.execute("ALTER SYSTEM SET hot_standby_feedback = on")
    lab.replica.execute("SELECT pg_reload_conf()")


FAULTS = (
    Fault(
        "read-load",
        "many readers",
        frozenset({"MlflowReadsCrowdOutWrites"}),
        many_readers,
        read_from_a_replica,
        Needs(data="million", groups=frozenset({"postgres"}), role="exporter"),
        ci=True,
    ),
    Fault(
        "read-load",
        "replay held back",
        frozenset({"MlflowReplicaLagging"}),
        query_that_holds_replay,
        end_that_query,
        Needs(replica=True, role="exporter"),
    ),
    Fault(
        "read-load",
        "queries cancelled on the replica",
        frozenset({"MlflowReplicaConflicts"}),
        queries_cancelled,
        feedback,
        Needs(replica=True, role="exporter"),
    ),
)
