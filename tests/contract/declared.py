"""What series there are, by declaration: names, kinds, labels, and the values that a label can have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import exporter
from exporter.backend import DIALECTS
from exporter.collector import Reason
from exporter.collectors.tables import TABLES as STORED
from exporter.host import commands
from exporter.metric import Kind
from exporter.plan import NAMES
from exporter.reports.reference import declared
from exporter.samplers.attempt import Failure
from exporter.samplers.http_probe import PATHS
from exporter.samplers.probes import BOUNDS
from exporter.samplers.wait_classes import CLASSES
from exporter.statements import OPERATIONS, TABLES

# What the scrape configuration puts on every series.
TARGET = frozenset(("job", "instance", "tracking_server"))


@dataclass(frozen=True, slots=True)
class Series:
    kind: str
    labels: frozenset[str]


# What is not the exporter's: Prometheus' own, MLflow's of --expose-prometheus, and what a site records for a database
# whose machine is out of reach (alerts/inputs).
FOREIGN = {
    "up": Series("gauge", TARGET),
    "ALERTS": Series("gauge", TARGET | {"alertname", "alertstate", "severity", "cause", "class"}),
    "mlflow_http_request_total": Series("counter", TARGET | {"method", "status"}),
    **{
        f"mlflow_http_request_duration_seconds_{part}": Series(
            "counter",
            TARGET | {"method", "status", "mlflow_version"} | ({"le"} if part == "bucket" else frozenset()),
        )
        for part in ("bucket", "sum", "count")
    },
    # The exporter's own process, by prometheus_client.
    **{
        f"process_{what}": Series("gauge", TARGET)
        for what in (
            *("open_fds", "max_fds", "start_time_seconds"),
            *("resident_memory_bytes", "virtual_memory_bytes"),
        )
    },
    "process_cpu_seconds_total": Series("counter", TARGET),
    "mlflow:db_host_cpu:ratio": Series("gauge", frozenset(("job", "tracking_server"))),
    "mlflow:db_host_storage_free:ratio": Series("gauge", frozenset(("job", "tracking_server"))),
}

# The buckets of MLflow's own histogram: prometheus_client's defaults.
MLFLOW_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

CODE = Path(exporter.__file__).parent


def quoted(*files: str) -> frozenset[str]:
    """Return the words in quotes of queries or modules: what a label made there can say."""
    found: set[str] = set()
    for file in files:
        mark = "'" if file.endswith(".sql") else '"'
        found.update(re.findall(rf"{mark}([^{mark}\n]*){mark}", (CODE / file).read_text(encoding="utf-8")))
    return frozenset(found)


def le(bounds: tuple[float, ...]) -> frozenset[str]:
    return frozenset((*map(repr, bounds), "+Inf"))


ROLES = quoted("host/servers.py", "host/commands.py") & frozenset(
    ("parent", "supervisor", "worker", "job_runner", "consumer", "job", "resource_tracker", "other")
)

# By label, or by metric and label where one label means several things; a label that is not here is open.
VALUES: dict[str, frozenset[str]] = {
    "backend": frozenset(DIALECTS.values()),
    "collector": frozenset(NAMES),
    "database": frozenset(("mlflow", "other")),
    "driver": frozenset(("psycopg2", "psycopg3")),
    "engine": quoted("collectors/budget.py"),
    "name": quoted("queries/settings.sql"),
    "operation": frozenset(OPERATIONS),
    "phase": quoted("samplers/http_phases.py"),
    "role": ROLES,
    "sampler": frozenset((*PATHS, "database", "load")),
    "server": frozenset(commands.KINDS),
    "source": frozenset(("host", "postgres", "sqlite")),
    "state": quoted("queries/connections.sql"),
    "table": frozenset((*TABLES, *STORED, "other", "")),
    "wait_class": frozenset(CLASSES),
    "alertstate": frozenset(("pending", "firing")),
    "mlflow_db_info role": quoted("collectors/database.py"),
    "mlflow_db_io_bytes_total operation": quoted("queries/io.from_18.sql"),
    "mlflow_db_io_seconds_total operation": quoted("queries/io.from_18.sql"),
    "mlflow_db_replica_conflicts_total reason": quoted("queries/replica_conflicts.sql"),
    "mlflow_exporter_collector_errors_total reason": frozenset(Reason),
    "mlflow_exporter_build_info version": frozenset((exporter.__version__,)),
    "mlflow_probe_failures_total reason": frozenset(Failure),
    "mlflow_probe_duration_seconds_bucket le": le(BOUNDS),
    "mlflow_http_request_duration_seconds_bucket le": le(MLFLOW_BOUNDS),
    **{
        f"mlflow_db_io_{what}_total backend": frozenset(("client", "autovacuum", "background"))
        for what in ("bytes", "seconds", "fsyncs")
    },
}


@cache
def series() -> dict[str, Series]:
    """Return every series that a rule may name, its own pack's records included."""
    found = dict(FOREIGN)
    for _, metrics in declared():
        for metric in metrics:
            labels = TARGET | frozenset(metric.labels)
            if metric.kind is Kind.HISTOGRAM:
                found[f"{metric.name}_bucket"] = Series("counter", labels | {"le"})
                found[f"{metric.name}_sum"] = found[f"{metric.name}_count"] = Series("counter", labels)
            else:
                found[metric.name] = Series(metric.kind, labels)
    return found


def collectors_of(name: str) -> frozenset[str]:
    """Return the parts of the exporter that make the series of that name."""
    return frozenset(
        part
        for part, metrics in declared()
        for metric in metrics
        if name == metric.name or name.removesuffix("_bucket").removesuffix("_count") == metric.name
    )


def values(metric: str, label: str) -> frozenset[str] | None:
    """Return what the label of that metric can say; None where that is open."""
    return VALUES.get(f"{metric} {label}", VALUES.get(label))
