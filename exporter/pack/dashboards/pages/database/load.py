"""Rows of the database's dashboard: its load, its connections, its locks and transactions."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.panel import Limit, Panel, fixed, graph, limit_line
from exporter.pack.dashboards.terms import SAMPLED, per_core, sessions

# Several exporters may watch one database: each of them sees all of it, so the greatest is meant and not the sum.
CORES = "max(mlflow_db_cpu_cores)"
ROOM = "max(mlflow_db_connections_limit - mlflow_db_connections_reserved)"


def active(matchers: str) -> str:
    """Return PromQL for all sessions with these labels at work on average."""
    rate = f"rate(mlflow_db_load_seconds_total{{{matchers}}}[$__rate_interval])"
    return f"max(sum without (wait_class, database) ({rate}) / {SAMPLED})"


def connections(state: str) -> str:
    """Return PromQL for the connections to MLflow's database in these states."""
    return f"max(sum without (state) (mlflow_db_connections{{state{state}}}))"


def areas(one: Panel) -> Panel:
    """Return the stacked graph without lines: those of series that are 0 would lie on the area below them."""
    one.json["fieldConfig"]["defaults"]["custom"] |= {"lineWidth": 0, "fillOpacity": 60}
    return one


def load_row() -> Row:
    return Row(
        "Load: sessions at work or waiting, on average",
        [
            [
                areas(
                    graph(
                        "Load by what sessions wait for",
                        "Sessions at work (cpu) or waiting, on average; who waits for its client is left out. Normal "
                        "is below the cores, most of it cpu. The colour that grows names the trouble: cpu, lwlock or "
                        "data_io is database-size, wal_io database-configuration, lock connections, temp_io a small "
                        "work_mem.",
                        {"{{wait_class}}": sessions("wait_class", 'wait_class!="client"'), "cores": CORES},
                        unit_="short",
                        stacked=True,
                        legend="side",
                        overrides=[limit_line("cores")],
                        width=12,
                        height=9,
                    )
                ),
                areas(
                    graph(
                        "Load by MLflow operation",
                        "The same sessions by what MLflow does in them; other is what is no usual operation, other "
                        "databases included. One operation that leads by far is a missing index (database-indexes) or "
                        "a loop in a job (logging-pattern), and no lack of hardware.",
                        {"{{operation}}": sessions("operation"), "cores": CORES},
                        unit_="short",
                        stacked=True,
                        legend="side",
                        overrides=[limit_line("cores")],
                        width=12,
                        height=9,
                    )
                ),
            ],
            [
                graph(
                    "CPU wanted for each core",
                    "Sessions that are at work or wait for a short lock in memory, for each core of the database. "
                    "Normal is below 0.7; above the line they queue: MlflowDatabaseCpuSaturated, or "
                    "MlflowReadsCrowdOutWrites where nearly all of it is reads.",
                    {"sessions per core": per_core('wait_class=~"cpu|lwlock"')},
                    unit_="short",
                    limit=Limit("MlflowDatabaseCpuSaturated", "load"),
                    at_least=1.2,
                ),
                graph(
                    "Whose load",
                    "Sessions at work or waiting in MLflow's database and in all others, and those that wait for their "
                    "client, which is no work of the database. Another database that leads is a neighbour: move it, or "
                    "MLflow.",
                    {
                        "MLflow": active('wait_class!="client", database="mlflow"'),
                        "other databases": active('wait_class!="client", database="other"'),
                        "waiting for clients": active('wait_class="client"'),
                    },
                    unit_="short",
                    overrides=[fixed("waiting for clients", colours.SERIES["client"])],
                ),
                graph(
                    "Load known",
                    "Share of the time in which the load was known, as it is sampled once a second. Normal is 100 %. "
                    "Where samples are missing the load is right but coarse; below 5 % it is not shown and its alerts "
                    "are silent.",
                    {"known": "max(rate(mlflow_db_load_sampled_seconds_total[$__rate_interval]))"},
                    unit_="percentunit",
                    at_least=1,
                ),
            ],
        ],
    )


def connections_row() -> Row:
    return Row(
        "Connections",
        [
            [
                areas(
                    graph(
                        "Connections by state",
                        "Connections to MLflow's database. Many idle ones are normal: the workers' pools. Many active "
                        "ones wait for something, see the load; idle in transaction for long is a forgotten session; "
                        "other counts what our role may not see.",
                        {
                            "active": connections('="active"'),
                            "idle in transaction": connections('=~"idle in transaction.*"'),
                            "idle": connections('="idle"'),
                            "other": connections('!~"active|idle.*"'),
                        },
                        stacked=True,
                        overrides=[
                            fixed("active", "green"),
                            fixed("idle in transaction", "purple"),
                            fixed("idle", "light-blue"),
                        ],
                    )
                ),
                graph(
                    "Connections against the limit",
                    "Connections in use, and those that the pools of all replicas may open, against what ordinary "
                    "roles get of max_connections. A budget above the limit is harmless until a burst opens it: "
                    "MlflowConnectionBudgetTooLarge.",
                    {
                        "all databases": "max(mlflow_db_connections_used)",
                        "MLflow's": "max(mlflow_db_backends)",
                        "budget of pools": "sum(mlflow_server_database_connections_budget)",
                        "limit": ROOM,
                    },
                    overrides=[limit_line()],
                ),
                graph(
                    "Share of each limit in use",
                    "Connections against max_connections, the limit of MLflow's role and that of its database, where "
                    "these have one. At 100 % MLflow answers 503. Above the line see who holds them: "
                    "MlflowConnectionsNearLimit.",
                    {
                        "server": "max(mlflow_db_connections_used"
                        " / (mlflow_db_connections_limit - mlflow_db_connections_reserved))",
                        "role": "max(mlflow_db_role_connections / mlflow_db_role_connections_limit)",
                        "database": "max(sum without (state) (mlflow_db_connections)"
                        " / mlflow_db_database_connections_limit)",
                    },
                    unit_="percentunit",
                    limit=Limit("MlflowConnectionsNearLimit"),
                    at_least=1,
                ),
            ],
            [
                areas(
                    graph(
                        "Budget by engine",
                        "Connections that the pools of all replicas' workers may open, by SQLAlchemy engine, against "
                        "what the database gives. Normal is below the line; else a smaller POOL_SIZE and "
                        "MAX_OVERFLOW, fewer workers, or PgBouncer.",
                        {
                            "{{engine}}": "sum by (engine) (mlflow_server_database_connections_budget)",
                            "limit": ROOM,
                        },
                        stacked=True,
                        overrides=[limit_line()],
                    )
                ),
                graph(
                    "Workers' pools in use",
                    "Connections of a worker against what one of its pools may open, the fullest worker and the mean "
                    "of all. Bursts fill one for a moment. Above the line while calls wait or fail: "
                    "MlflowConnectionPoolExhausted, look for locks.",
                    {
                        "fullest": "max(mlflow_server_worker_database_connections"
                        " / mlflow_server_worker_database_pool_capacity)",
                        "mean": "avg(mlflow_server_worker_database_connections"
                        " / (mlflow_server_worker_database_pool_capacity > 0))",
                    },
                    unit_="percentunit",
                    limit=Limit("MlflowConnectionPoolExhausted"),
                    at_least=1,
                ),
                graph(
                    "New connections refused",
                    "Share of the database probe's connections that were turned away: too_many by a limit, refused by "
                    "nobody listening. Normal is 0. Above the line while Postgres runs: MlflowConnectionsRefused.",
                    {
                        "{{reason}}": 'sum by (reason) (rate(mlflow_probe_failures_total{probe="database",'
                        ' reason=~"too_many|refused"}[$__rate_interval])) / ignoring (reason) group_left ()'
                        ' (sum(rate(mlflow_probe_attempts_total{probe="database"}[$__rate_interval])) > 0)'
                    },
                    unit_="percentunit",
                    limit=Limit("MlflowConnectionsRefused"),
                    at_least=0.3,
                    named=("too_many", "refused"),
                ),
            ],
        ],
    )


def locks_row() -> Row:
    return Row(
        "Locks and transactions",
        [
            [
                graph(
                    "Waiting for locks",
                    "Sessions of MLflow's database that wait for a lock, on average and now, and those that hold what "
                    "they wait for. Normal is nearly 0. Above the line: MlflowLockWaits; many waiters with one "
                    "blocker are a migration, an ALTER or a LOCK by hand.",
                    {
                        "waiting, on average": active('wait_class="lock", database="mlflow"'),
                        "waiting now": "max(mlflow_db_lock_waiters)",
                        "blocking now": "max(mlflow_db_lock_blockers)",
                    },
                    unit_="short",
                    limit=Limit("MlflowLockWaits"),
                    at_least=1,
                ),
                graph(
                    "Longest wait for a lock",
                    "How long the session has waited that has waited longest. Normal is 0 with short peaks below 1 s; "
                    "calls that wait fill their worker's pool, and then all calls fail. SELECT pg_blocking_pids(pid) "
                    "of the waiter names the blocker.",
                    {"longest wait": "max(mlflow_db_longest_lock_wait_seconds)"},
                    at_least=1,
                ),
                graph(
                    "Oldest transactions",
                    "Age of the oldest open transaction, and how long a session has been idle in one. Seconds are "
                    "normal. Idle above the line: MlflowIdleInTransaction, a forgotten psql or a job with the "
                    "database's URI; it holds up vacuum and keeps its locks.",
                    {
                        "oldest transaction": "max(mlflow_db_oldest_transaction_seconds)",
                        "idle in transaction": "max(mlflow_db_oldest_idle_in_transaction_seconds)",
                    },
                    limit=Limit("MlflowIdleInTransaction"),
                    at_least=10,
                    overrides=[fixed("idle in transaction", "purple")],
                ),
            ],
            [
                graph(
                    "Commits and rollbacks",
                    "Transactions of MLflow's database that ended, a second. Rollbacks are normally near 0; many are "
                    "calls that fail, by duplicates, deadlocks or timeouts. Commits that fall while clients still "
                    "write: see the locks and the log of changes.",
                    {
                        "commits": "max(rate(mlflow_db_commits_total[$__rate_interval]))",
                        "rollbacks": "max(rate(mlflow_db_rollbacks_total[$__rate_interval]))",
                    },
                ),
                graph(
                    "Deadlocks, a minute",
                    "Deadlocks that Postgres found and ended by cancelling a session. Normal is 0; some come when "
                    "many processes log to one run before MLflow 3.16, which repeats them. Give each process a run of "
                    "its own.",
                    {"deadlocks": "60 * max(rate(mlflow_db_deadlocks_total[$__rate_interval]))"},
                    unit_="short",
                    at_least=1,
                ),
                graph(
                    "Rows written, a second",
                    "Rows that sessions of MLflow's database write, a second. A point that is logged is a row "
                    "inserted, and mostly one updated. Deletions are mostly mlflow gc.",
                    {
                        "inserted": "max(rate(mlflow_db_rows_inserted_total[$__rate_interval]))",
                        "updated": "max(rate(mlflow_db_rows_updated_total[$__rate_interval]))",
                        "deleted": "max(rate(mlflow_db_rows_deleted_total[$__rate_interval]))",
                    },
                    unit_="short",
                ),
                graph(
                    "Rows read, a second",
                    "Rows fetched through indexes, and rows read by all scans, a second. Scanned rows far above the "
                    "fetched ones while searches are slow: tables are read wholly, see the indexes below "
                    "(database-indexes).",
                    {
                        "fetched by index": "max(rate(mlflow_db_rows_fetched_total[$__rate_interval]))",
                        "scanned": "max(rate(mlflow_db_rows_returned_total[$__rate_interval]))",
                    },
                    unit_="short",
                ),
            ],
        ],
    )
