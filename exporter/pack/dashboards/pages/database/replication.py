"""Rows of the database's dashboard that not everybody has: replication, and SQLite."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.panel import Limit, above, fixed, graph, limit_line, stat

CONFLICTS = {
    "snapshot": "blue",
    "lock": "purple",
    "bufferpin": "green",
    "deadlock": "#C9B458",
    "tablespace": "light-blue",
}


def replication_row() -> Row:
    return Row(
        "Replication: empty on a single server",
        [
            [
                stat(
                    "Standbys",
                    "Standbys that are connected to this primary. One fewer than in the last hour: "
                    "MlflowReplicaLagging.",
                    "max(mlflow_db_standbys)",
                ),
                stat(
                    "Synchronous",
                    "Standbys that commits may wait for. Not 0 and slow commits: the wait is for them, see the "
                    "sessions in COMMIT.",
                    "max(mlflow_db_synchronous_standbys)",
                ),
                stat(
                    "Replica receives",
                    "Whether this replica is connected to its primary. NO: its data gets older every second.",
                    "min(mlflow_db_replica_receiving)",
                    maps={0: ("NO", colours.CRITICAL), 1: ("YES", colours.OK)},
                    absent_="no replica",
                ),
                stat(
                    "Slots",
                    "Replication slots, for each of which the log of changes is kept until it is read. Normal is one "
                    "for each replica.",
                    "max(mlflow_db_replication_slots)",
                ),
                stat(
                    "Unread slots",
                    "Slots that nobody reads from. They keep the log until the disk is full: drop them, or bring their "
                    "replica back.",
                    "max(mlflow_db_replication_slots_inactive)",
                    steps=[above(colours.OK, 0), above(colours.WARNING, 1)],
                ),
                stat(
                    "Lost slots",
                    "Slots whose log is gone: their replica must be made anew. Normal is 0.",
                    "max(mlflow_db_replication_slots_lost)",
                    steps=[above(colours.OK, 0), above(colours.CRITICAL, 1)],
                ),
            ],
            [
                graph(
                    "Lag",
                    "How old the data of the slowest standby or of this replica may be. Below a second is normal. "
                    "Above the line: MlflowReplicaLagging; a long query holds replay back, or the replica is too "
                    "small. Empty without a replica.",
                    {
                        "slowest standby": "max(mlflow_db_standby_lag_seconds)",
                        "this replica": "max(mlflow_db_replica_lag_seconds)",
                    },
                    limit=Limit("MlflowReplicaLagging", "replica-lag"),
                    at_least=66,
                ),
                graph(
                    "Log to replay",
                    "Log that the slowest standby, or this replica, has yet to replay. It grows while replay is held "
                    "back and says how long catching up takes. Empty without a replica.",
                    {
                        "slowest standby": "max(mlflow_db_standby_lag_bytes)",
                        "this replica": "max(mlflow_db_replica_lag_bytes)",
                    },
                ),
            ],
            [
                graph(
                    "Log kept for slots",
                    "Log kept on disk for the slot that is furthest behind, and how much may be kept. It grows "
                    "without end where nobody reads and no limit is set. Empty without a slot.",
                    {
                        "kept": "max(mlflow_db_replication_slot_retained_bytes)",
                        "limit": 'max(mlflow_db_setting_bytes{name="max_slot_wal_keep_size"})',
                    },
                    overrides=[limit_line()],
                ),
                graph(
                    "Queries cancelled in 5 minutes",
                    "Queries that this replica cancelled in favour of the primary's changes, by reason. Normal is 0. "
                    "Above the line: MlflowReplicaConflicts; snapshot is vacuum on the primary. Empty on a primary.",
                    {"{{reason}}": "max by (reason) (increase(mlflow_db_replica_conflicts_total[5m]))"},
                    limit=Limit("MlflowReplicaConflicts"),
                    at_least=3,
                    overrides=[fixed(name, colour) for name, colour in CONFLICTS.items()],
                ),
                graph(
                    "Queries cancelled, all in all",
                    "The same as Postgres counts it for the database, a second. 0 on a primary.",
                    {"cancelled": "max(rate(mlflow_db_conflicts_total[$__rate_interval]))"},
                ),
            ],
        ],
        closed=True,
    )


def sqlite_row() -> Row:
    return Row(
        "SQLite: empty with Postgres",
        [
            [
                graph(
                    "Share of time the file is locked",
                    "How long a read of ours waited for the file's lock in 5 minutes, of the half second that it "
                    "waits at most. Normal is below 5 %. Above the line: MlflowSqliteLocked; end what holds the file, "
                    "then move to Postgres (sqlite-backend).",
                    {"locked": "max(avg_over_time(mlflow_db_sqlite_lock_wait_seconds[5m])) / 0.5"},
                    unit_="percentunit",
                    limit=Limit("MlflowSqliteLocked"),
                    at_least=1,
                ),
                graph(
                    "Wait for the lock",
                    "Each read's wait, up to half a second. Milliseconds are normal; half a second means that it was "
                    "given up because a writer held the file.",
                    {"wait": "max(mlflow_db_sqlite_lock_wait_seconds)"},
                    at_least=0.5,
                ),
                graph(
                    "File size",
                    "Bytes of the file and of its write-ahead log. Beyond some GB, or with more than four jobs at "
                    "once, move to Postgres. A log that grows without end: a reader that never finishes.",
                    {
                        "file": "max(mlflow_db_sqlite_file_bytes)",
                        "write-ahead log": "max(mlflow_db_sqlite_wal_bytes)",
                    },
                ),
                stat(
                    "Lock",
                    "Whether the last read of ours was given up because a writer held the lock. Normal is FREE; see "
                    "MlflowSqliteLocked.",
                    "max(mlflow_db_sqlite_locked)",
                    maps={0: ("FREE", colours.OK), 1: ("LOCKED", colours.CRITICAL)},
                    width=3,
                    height=8,
                    absent_="no SQLite",
                ),
            ],
        ],
        closed=True,
    )
