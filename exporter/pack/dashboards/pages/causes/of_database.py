"""Rows of the causes that show in the database."""

from __future__ import annotations

from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.pages.causes.row import row
from exporter.pack.dashboards.panel import Column, Limit, Panel, graph, limit_line, table
from exporter.pack.dashboards.terms import SAMPLED, per_core, sessions


def load() -> Panel:
    return graph(
        "Load by what it waits for",
        "Sessions at work on average, by what they wait for, idle clients left out. Above the cores they wait for each "
        "other; one colour that leads is the bottleneck.",
        {
            "{{wait_class}}": sessions("wait_class", 'wait_class!="client"'),
            "cores": "max(mlflow_db_cpu_cores)",
        },
        unit_="short",
        stacked=True,
        overrides=(limit_line("cores"),),
        legend="side",
    )


def operations() -> Panel:
    return graph(  # the legend below, since it stands on a third of a line too
        "Load by operation",
        "The same sessions by what MLflow does. One operation that leads by far is a missing index or a loop in "
        "somebody's code, and no lack of hardware.",
        {"{{operation}}": f"topk(6, {sessions('operation')} > 0)"},
        unit_="short",
        stacked=True,
    )


OUTSIDE = (
    "max by (name) (mlflow_db_setting_bytes) < max by (name) (mlflow_db_setting_recommended_min_bytes)"
    " or max by (name) (mlflow_db_setting_bytes) > max by (name) (mlflow_db_setting_recommended_max_bytes)"
)


def database_size() -> Row:
    return row(
        "database-size",
        "**Shows:** more sessions want CPU than there are cores, or they wait for the disk, and no single operation "
        "leads.\n\n"
        "**Now:** stop what is not MLflow's; raise the quota. Storage nearly full: enlarge it now.\n\n"
        "**For good:** more cores until load / cores is below 0.7, memory for the indexes, a faster disk.",
        [
            graph(
                "Sessions for each core",
                "Sessions that want CPU (at work, or at a short lock) for each core. Normal is below 0.7; above 1 they "
                "queue.",
                {"sessions": per_core('wait_class=~"cpu|lwlock"')},
                unit_="none",
                limit=Limit("MlflowDatabaseCpuSaturated", "load"),
            ),
            graph(
                "Sessions that wait for the disk",
                "Sessions that wait for blocks of tables and indexes. Normal is below 0.1: what is used often should "
                "be in memory.",
                {"data_io": sessions("wait_class", 'wait_class="data_io"')},
                unit_="short",
                limit=Limit("MlflowDatabaseIoBound"),
            ),
            graph(
                "Storage used",
                "Share of the file system with the database that is used. At the line act now: a full disk ends "
                "Postgres.",
                {"used": "max(1 - mlflow_db_storage_free_bytes / mlflow_db_storage_size_bytes)"},
                unit_="percentunit",
                limit=Limit("MlflowDatabaseStorageFilling", "level"),
                most=1,
            ),
        ],
        [load(), operations()],
    )


def read_load() -> Row:
    return row(
        "read-load",
        "**Shows:** searches and charts take the CPU, and what jobs log waits behind them.\n\n"
        "**Now:** `mlflow-exporter explain --for 30s` names the reads; stop the script or the poll.\n\n"
        "**For good:** an index if a table is read wholly; else a read replica for a second server for people.",
        [
            graph(
                "Reads against writes",
                "Sessions at work on reads (searches, charts, pages of runs) and on writes. Reads above 80 % of a full "
                "database are this cause.",
                {
                    "reads": "max(sum by (instance) (rate(mlflow_db_load_operation_seconds_total{operation=~"
                    '"fetch_runs|get_experiment|metric_history|search_experiments|search_runs"}[$__rate_interval]))'
                    f" / on (instance) {SAMPLED})",
                    "writes": "max(sum by (instance) (rate(mlflow_db_load_operation_seconds_total{operation!~"
                    '"fetch_runs|get_experiment|metric_history|search_experiments|search_runs|catalog|exporter|other"}'
                    f"[$__rate_interval])) / on (instance) {SAMPLED})",
                    "cores": "max(mlflow_db_cpu_cores)",
                },
                unit_="short",
                stacked=True,
                overrides=(limit_line("cores"),),
            ),
            operations(),
            graph(
                "Replica behind",
                "Seconds that the replica is behind its primary, as it says itself and as the primary says of it. "
                "Empty without a replica.",
                {
                    "replica": "max(mlflow_db_replica_lag_seconds)",
                    "standby": "max(mlflow_db_standby_lag_seconds)",
                },
                limit=Limit("MlflowReplicaLagging", "replica-lag"),
            ),
        ],
    )


def database_configuration() -> Row:
    return row(
        "database-configuration",
        "**Shows:** commits wait for the log, checkpoints are forced, dead rows pile up, or a setting endangers "
        "data.\n\n"
        "**Now:** `fsync` or `full_page_writes` off: a backup, then on again. All else can wait until morning.\n\n"
        "**For good:** the settings in the runbook; most take a reload, some a restart.",
        [
            graph(
                "Sessions in COMMIT",
                "Sessions that wait in COMMIT until the log is on the disk. Normal is below 0.1; it rises with the "
                "number of "
                "commits and with a slow disk.",
                {"commit": sessions("operation", 'operation="commit"')},
                unit_="short",
                limit=Limit("MlflowCommitsWaitForWal"),
            ),
            graph(
                "Checkpoints in 15 minutes",
                "Forced ones, because `max_wal_size` was reached, and those that were due by the clock. Forced ones "
                "should be "
                "rare, as each makes all pages be written whole again.",
                {
                    "forced": "max(increase(mlflow_db_checkpoints_requested_total[15m]))",
                    "by the clock": "max(increase(mlflow_db_checkpoints_timed_total[15m]))",
                },
                unit_="none",
                limit=Limit("MlflowDatabaseWalTooSmall", "checkpoints"),
            ),
            graph(
                "Dead rows",
                "Rows that are dead and not yet vacuumed, by table. They are read with the others; autovacuum takes "
                "them when they are a fifth of the table, or less where it is set so.",
                {"{{table}}": "topk(4, max by (table) (mlflow_db_table_dead_rows) > 0)"},
            ),
            graph(
                "Transaction ids used",
                "Age of the oldest transaction id against the age at which Postgres refuses to write. Normal is below "
                "0.2.",
                {"used": "max(mlflow_db_transaction_id_age_ratio)"},
                limit=Limit("MlflowAutovacuumBehind", "transaction-ids"),
                most=1,
            ),
        ],
        [
            table(
                "Settings outside what is recommended",
                "Sizes that are below or above what fits the machine, as far as it is known. A hint, and no alarm: the "
                "runbook says for each what it costs and whether it takes a restart.",
                {
                    "now": f"max by (name) (mlflow_db_setting_bytes) and on (name) ({OUTSIDE})",
                    "least": f"max by (name) (mlflow_db_setting_recommended_min_bytes) and on (name) ({OUTSIDE})",
                    "most": f"max by (name) (mlflow_db_setting_recommended_max_bytes) and on (name) ({OUTSIDE})",
                },
                [
                    Column("name", "Setting"),
                    Column("Value #A", "Now", "bytes"),
                    Column("Value #B", "At least", "bytes"),
                    Column("Value #C", "At most", "bytes"),
                ],
                unit_="bytes",
                height=6,
            ),
        ],
    )


def database_indexes() -> Row:
    return row(
        "database-indexes",
        "**Shows:** a table is read from end to end for what an index answers at once.\n\n"
        "**Now:** `mlflow-exporter explain --for 30s` prints the statement: `CREATE INDEX CONCURRENTLY ...`, no "
        "restart, nobody waits.\n\n"
        "**For good:** the same index; check it after each migration.",
        [
            graph(
                "Sessions in one operation",
                "Sessions at work on each operation. One that takes a third of a session and reads a table wholly "
                "lacks an index.",
                {"{{operation}}": f"topk(4, {sessions('operation')} > 0)"},
                unit_="short",
                limit=Limit("MlflowSearchScansRuns"),
            ),
            graph(
                "Rows read by whole tables",
                "Rows a second that were read from end to end of a table, by table. Small tables are read so rightly; "
                "millions of `runs` or `metrics` are not.",
                {
                    "{{table}}": "topk(6, max by (table)"
                    " (rate(mlflow_db_table_sequential_rows_read_total[$__rate_interval])) > 0)"
                },
                unit_="cps",
            ),
            table(
                "Indexes that are missing or invalid",
                "Indexes that this release of MLflow makes and the database does not have, or that a break left "
                "unusable. An "
                "empty table is what you want. The one on `runs` that MLflow lacks is not among them: see the runbook.",
                {
                    "missing": "max by (table, columns) (mlflow_db_missing_index_info)",
                    "invalid": "max by (table, columns) (mlflow_db_invalid_index_info)",
                },
                [
                    Column("table", "Table", width=150),
                    Column("columns", "Columns"),
                    Column("Value #A", "Missing", "none", 90),
                    Column("Value #B", "Invalid", "none", 90),
                ],
            ),
        ],
    )


def connections() -> Row:
    return row(
        "connections",
        "**Shows:** Postgres or a worker's pool has no connection left, or sessions wait for locks.\n\n"
        "**Now:** who holds them: the runbook's first query. End the blocker, not the waiters, and raise no limit.\n\n"
        "**For good:** pools x workers x replicas below `max_connections`, jobs through the server, timeouts by role.",
        [
            graph(
                "Connections",
                "Sessions of all databases of this Postgres, and how many it takes without the reserved ones. Normal "
                "is below half.",
                {
                    "used": "max(mlflow_db_connections_used)",
                    "limit": "max(mlflow_db_connections_limit - mlflow_db_connections_reserved)",
                },
                overrides=(limit_line(),),
            ),
            graph(
                "A worker's pool",
                "Connections of the fullest worker against what one of its pools may open. At 1, with sessions at "
                "work in the database, calls wait 30 s and are lost.",
                {
                    "used": "max(mlflow_server_worker_database_connections"
                    " / mlflow_server_worker_database_pool_capacity)"
                },
                unit_="percentunit",
                limit=Limit("MlflowConnectionPoolExhausted"),
            ),
            graph(
                "Waiting for locks",
                "Sessions that wait for another's lock. Normal is below 0.05; many with one blocker are a migration "
                "or a forgotten transaction.",
                {"lock": sessions("wait_class", 'wait_class="lock"')},
                unit_="short",
                limit=Limit("MlflowLockWaits"),
            ),
            graph(
                "Idle in transaction",
                "Age of the oldest session that does nothing inside a transaction. Normal is below a second.",
                {"oldest": "max(mlflow_db_oldest_idle_in_transaction_seconds)"},
                limit=Limit("MlflowIdleInTransaction"),
            ),
        ],
    )
