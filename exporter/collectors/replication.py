"""Replicas as their primary sees them and as they see themselves, and slots that keep WAL.

Standbys have no label: their names are the operator's, and the slowest is the one that matters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from exporter.collector import Reason, SourceError
from exporter.metric import Sample, counter, gauge
from exporter.rights import MONITOR
from exporter.sources.facts import quoted
from exporter.sources.pipeline import Row
from exporter.sql import Answers, SqlCollector


class Standbys(SqlCollector):
    """Read who streams from this server, which other roles are not shown in full."""

    name = "standbys"
    queries = ("standbys",)
    metrics = (
        gauge(
            "mlflow_db_standbys",
            "Standbys that are connected to this server; who only decodes or stores WAL (change capture, "
            "subscriptions, pg_basebackup, pg_receivewal) is not counted.",
            "pg_stat_replication.state",
        ),
        gauge(
            "mlflow_db_synchronous_standbys",
            "Standbys and other receivers of WAL that commits may wait for.",
            "pg_stat_replication.sync_state",
        ),
        gauge(
            "mlflow_db_standby_lag_bytes",
            "WAL that the slowest standby has yet to replay; absent where none is connected.",
            "pg_stat_replication.replay_lsn",
            "bytes",
        ),
        gauge(
            "mlflow_db_standby_lag_seconds",
            "Time from a commit here to its replay on the slowest standby, 0 where it has replayed all; absent where "
            "none is connected or none has reported.",
            "pg_stat_replication.replay_lag",
            "seconds",
        ),
    )

    def collect(self, session: Answers) -> Iterable[Sample]:
        (row,) = session.rows("standbys")
        if row["hidden"]:
            role = quoted(session.facts.role)
            raise SourceError(
                Reason.PERMISSION,
                f"{row['hidden']} standbys are hidden from role {role}",
                MONITOR.format(role=role),
            )
        return self.samples(row)


LAG = gauge(
    "mlflow_db_replica_lag_seconds",
    "How old this replica's data may be: 0 where it is connected and has replayed all that it received, else the time "
    "since the exporter last saw that or, if less, the age of the last transaction replayed; absent on a primary and "
    "before the first transaction.",
    "pg_last_xact_replay_timestamp()",
    "seconds",
)


class Replication(SqlCollector):
    """Read what all roles may see: slots, and how a replica sees itself."""

    name = "replication"
    queries = ("slots", "replica", "replica_conflicts")
    metrics = (
        gauge(
            "mlflow_db_replication_slots",
            "Replication slots, temporary ones not counted.",
            "pg_replication_slots",
        ),
        gauge(
            "mlflow_db_replication_slots_inactive",
            "Replication slots that nobody reads from, for which WAL is kept all the same.",
            "pg_replication_slots.active",
        ),
        gauge(
            "mlflow_db_replication_slots_lost",
            "Replication slots whose WAL is gone, so that their replica must be made anew.",
            "pg_replication_slots.wal_status",
        ),
        gauge(
            "mlflow_db_replication_slot_retained_bytes",
            "WAL kept on disk for the slot that is furthest behind; absent where no slot keeps any.",
            "pg_replication_slots.restart_lsn",
            "bytes",
        ),
        LAG,
        gauge(
            "mlflow_db_replica_receiving",
            "1 where this replica is connected to its primary, 0 where not; absent on a primary.",
            "pg_stat_wal_receiver.pid",
        ),
        gauge(
            "mlflow_db_replica_lag_bytes",
            "WAL that this replica has received and not yet replayed; absent on a primary and where WAL comes from an "
            "archive.",
            "pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()",
            "bytes",
        ),
        counter(
            "mlflow_db_replica_conflicts_total",
            "Queries of MLflow's database cancelled on this replica in favour of recovery, by reason; absent on a "
            "primary.",
            "pg_stat_database_conflicts",
            labels=("reason",),
        ),
    )

    def __init__(self) -> None:
        self._level_at = -math.inf

    def samples(self, row: Row) -> Iterable[Sample]:
        """Make samples, with a lag that is not the age of a primary's idleness.

        Even an idle primary writes a little WAL now and then. Read in the millisecond in which that is received and
        not yet replayed, the last transaction may be hours old, and the data are not.
        """
        lag = row.get(LAG.name)
        if not isinstance(lag, int | float):
            return super().samples(row)
        now = time.monotonic()
        if lag == 0:
            self._level_at = now
        return super().samples({**row, LAG.name: min(lag, now - self._level_at)})
