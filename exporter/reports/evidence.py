"""What two scrapes show of each cause: figures beside the thresholds of the alerts, judged by nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.causes import CAUSES
from exporter.pack.dashboards.headlines import Words, headline, limit, percent, share
from exporter.pack.dashboards.limits import signals
from exporter.reports.scrapes import Scrapes, ratio

READS = "fetch_runs|get_experiment|metric_history|search_experiments|search_runs"
OPERATIONS = "mlflow_db_load_operation_seconds_total"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; `threshold` is that of the alert that looks at the same, in the unit of `value`."""

    cause: str
    says: str
    value: float
    threshold: float | None
    threshold_says: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What two scrapes have shown; `blind` has the parts that could not be read, why, and what mends it."""

    server: str
    seconds: float
    figures: tuple[Figure, ...]
    blind: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of a cause; `place` names the alert's signal that looks at the same over a longer while."""

    cause: str
    words: Words
    value: Callable[[Scrapes], float | None]
    place: str = ""


def load(scrapes: Scrapes, name: str = "mlflow_db_load_seconds_total", /, **labels: str) -> float | None:
    """Return the mean number of sessions."""
    return ratio(scrapes.growth(name, **labels), scrapes.growth("mlflow_db_load_sampled_seconds_total"))


def largest(scrapes: Scrapes, part: str, whole: str) -> float | None:
    """Return the greatest quotient of series with equal labels."""
    wholes = scrapes.after.get(whole, {})
    shares = [value / wholes[key] for key, value in scrapes.after.get(part, {}).items() if wholes.get(key)]
    return max(shares, default=None)


def probe(scrapes: Scrapes, name: str) -> float | None:
    failed = scrapes.growth("mlflow_probe_failures_total", probe=name)
    return ratio(failed, scrapes.growth("mlflow_probe_attempts_total", probe=name))


def took(scrapes: Scrapes, name: str) -> float | None:
    """Return the mean seconds of a probe."""
    seconds = scrapes.growth("mlflow_probe_duration_seconds_sum", probe=name)
    return ratio(seconds, scrapes.growth("mlflow_probe_duration_seconds_count", probe=name))


def less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def negated(value: float | None) -> float | None:
    return less(1.0, value)


def busiest(scrapes: Scrapes) -> float | None:
    used = scrapes.growths("mlflow_server_worker_cpu_seconds_total").values()
    return max(used, default=0.0) / scrapes.seconds if used else None


ROWS = (
    Row("availability", percent("server's processes {} up"), lambda s: s.last("mlflow_server_up")),
    Row("availability", percent("database {} up"), lambda s: s.last("mlflow_db_up")),
    Row("availability", percent("{} of API probes fail"), lambda s: probe(s, "api"), 'signal="api-failing"'),
    Row("availability", Words("API probe takes {} ms", 1000, 1), lambda s: took(s, "api")),
    Row("availability", Words("/version takes {} ms", 1000, 1), lambda s: took(s, "version")),
    Row(
        "sqlite-backend",
        share("file locked {} of the time"),
        lambda s: ratio(s.last("mlflow_db_sqlite_lock_wait_seconds"), 0.5),
        'signal="lock-wait"',
    ),
    Row(
        "database-size",
        Words("{} sessions a core want CPU"),
        lambda s: ratio(load(s, wait_class="cpu|lwlock"), s.last("mlflow_db_cpu_cores")),
        'signal="cpu", measure="load"',
    ),
    Row(
        "database-size",
        Words("{} sessions wait for the disk"),
        lambda s: load(s, wait_class="data_io"),
        'signal="data-io"',
    ),
    Row(
        "database-size",
        percent("storage {} full"),
        lambda s: negated(
            ratio(s.last("mlflow_db_storage_free_bytes"), s.last("mlflow_db_storage_size_bytes"))
        ),
        'signal="storage", measure="level"',
    ),
    Row(
        "read-load",
        percent("{} of the sessions' time is reads"),
        lambda s: ratio(load(s, OPERATIONS, operation=READS), load(s, OPERATIONS)),
    ),
    Row(
        "read-load",
        Words("replica {} s behind", 1, 1),
        lambda s: s.last("mlflow_db_replica_lag_seconds"),
        'signal="replica-lag"',
    ),
    Row(
        "database-configuration",
        Words("{} sessions wait in COMMIT"),
        lambda s: load(s, OPERATIONS, operation="commit", database="mlflow"),
        'signal="commit"',
    ),
    Row(
        "database-configuration",
        Words("checkpoints forced: {}", 1, 1),
        lambda s: s.growth("mlflow_db_checkpoints_requested_total"),
    ),
    Row(
        "database-configuration",
        percent("{} of log writes: full buffers"),
        lambda s: ratio(s.growth("mlflow_db_wal_buffers_full_total"), s.growth("mlflow_db_wal_writes_total")),
        'signal="wal-buffers"',
    ),
    Row(
        "database-configuration",
        percent("fsync {} on"),
        lambda s: s.last("mlflow_db_setting", name="fsync"),
    ),
    Row(
        "logging-pattern",
        Words("{} logging calls/s"),
        lambda s: s.rate("mlflow_store_log_calls_total"),
        'signal="points-one-by-one"',
    ),
    Row(
        "logging-pattern",
        Words("{} points a call"),
        lambda s: ratio(
            s.growth("mlflow_store_points_logged_total"), s.growth("mlflow_store_log_calls_total")
        ),
    ),
    Row(
        "logging-pattern",
        Words("{} parameters/s"),
        lambda s: s.rate("mlflow_store_params_logged_total"),
        'signal="params-one-by-one"',
    ),
    Row(
        "logging-pattern",
        Words("one run logs {} points/s"),
        lambda s: s.last("mlflow_store_fastest_run_points_per_second"),
        'signal="run-rate"',
    ),
    Row("server-resources", percent("busiest worker uses {} of a core"), busiest, 'signal="cpu"'),
    Row(
        "server-resources",
        percent("{} of the memory limit"),
        lambda s: largest(s, "mlflow_server_memory_usage_bytes", "mlflow_server_memory_limit_bytes"),
        'signal="memory"',
    ),
    Row(
        "server-resources",
        Words("workers missing: {}", 1, 1),
        lambda s: less(s.last("mlflow_server_workers_configured"), s.last("mlflow_server_workers_alive")),
        'signal="missing-processes"',
    ),
    Row(
        "server-resources",
        Words("workers replaced: {}", 1, 1),
        lambda s: s.growth("mlflow_server_worker_replacements_total"),
    ),
    Row(
        "server-resources",
        Words("connections not accepted: {}", 1, 1),
        lambda s: s.last("mlflow_server_accept_queue_length"),
        'signal="accept-queue"',
    ),
    Row(
        "network-latency",
        Words("a round trip to the database: {} ms", 1000, 0.1),
        lambda s: s.last("mlflow_db_round_trip_seconds"),
    ),
    Row(
        "database-indexes",
        Words("searches keep {} sessions busy"),
        lambda s: load(s, OPERATIONS, operation="search_runs", database="mlflow"),
        'signal="runs-scanned"',
    ),
    Row(
        "database-indexes",
        Words("{} rows/s of runs read in whole scans", 1, 1),
        lambda s: s.rate("mlflow_db_table_sequential_rows_read_total", table="runs"),
    ),
    Row(
        "database-indexes",
        Words("{} of MLflow's indexes missing", 1, 1),
        lambda s: s.last("mlflow_db_indexes_missing"),
    ),
    Row(
        "open-files",
        percent("{} of a worker's open files used"),
        lambda s: largest(s, "mlflow_server_worker_open_fds", "mlflow_server_worker_max_fds"),
        'signal="fds"',
    ),
    Row(
        "connections",
        percent("{} of connections used"),
        lambda s: ratio(
            s.last("mlflow_db_connections_used"),
            less(s.last("mlflow_db_connections_limit"), s.last("mlflow_db_connections_reserved")),
        ),
        'signal="near-limit"',
    ),
    Row(
        "connections",
        percent("{} of a pool used"),
        lambda s: largest(
            s, "mlflow_server_worker_database_connections", "mlflow_server_worker_database_pool_capacity"
        ),
        'signal="pool"',
    ),
    Row(
        "connections",
        Words("{} sessions wait for locks"),
        lambda s: s.last("mlflow_db_lock_waiters"),
        'signal="lock-waits"',
    ),
    Row(
        "connections",
        Words("idle in transaction for {} s", 1, 1),
        lambda s: s.last("mlflow_db_oldest_idle_in_transaction_seconds"),
        'signal="idle-in-transaction"',
    ),
)


def figures(scrapes: Scrapes) -> Iterator[Figure]:
    """Give what is there, in the causes' order; what is not there is left out."""
    thresholds = {(one.cause, one.place): one.threshold for one in signals()}
    for cause in CAUSES:
        for row in ROWS:
            if row.cause == cause.slug and (value := row.value(scrapes)) is not None:
                threshold = thresholds[row.cause, row.place] if row.place else None
                beside = "" if threshold is None else limit(row.words, threshold)
                yield Figure(cause.slug, headline(row.words, value), value, threshold, beside)
