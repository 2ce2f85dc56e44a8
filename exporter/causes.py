"""Why a tracking server gets slow: the causes of the scaling guide, each with one name everywhere.

A cause's slug is the name of its rules, their tests, its runbook, its faults, its dashboard row and its page
on the exporter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["cause", "error", "symptom", "monitor"]


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause, or for the other kinds what it shows as.

    `heading` is the guide's own, empty where the guide has none. `leads_to` names the causes whose alerts may
    rightly come with it, since they report what users feel of it.
    """

    slug: str
    kind: Kind
    title: str
    heading: str
    leads_to: tuple[str, ...] = ()


CAUSES = (
    Cause("availability", "symptom", "Users cannot work", "MLflow's tracking server can become a bottleneck"),
    Cause(
        "sqlite-backend", "cause", "The backend store is SQLite", "The Database Bottleneck", ("availability",)
    ),
    Cause(
        "database-size",
        "cause",
        "The database is too small",
        "Inadequate Database Instance Size",
        # Our own queries wait as well, and what they cannot tell is said: the other causes are blind meanwhile.
        ("availability", "exporter"),
    ),
    Cause(
        "read-load",
        "cause",
        "Reads crowd out writes",
        "Lack of Database Read Replicas (for read-heavy workloads)",
        ("availability",),
    ),
    Cause(
        "database-configuration",
        "cause",
        "The database is configured badly",
        "Inefficient Database Configuration",
    ),
    Cause(
        "logging-pattern",
        "cause",
        "Jobs log inefficiently",
        "Suboptimal mlflow.log_param and mlflow.log_metric Usage",
    ),
    Cause(
        "server-resources",
        "cause",
        "The tracking server lacks resources",
        "Insufficient Tracking Server Resources",
        ("availability",),
    ),
    Cause("network-latency", "cause", "The network is slow", "Network Latency"),
    Cause(
        "database-indexes",
        "cause",
        "An index is missing",
        "Database Indexing",
        ("availability",),
    ),
    Cause("open-files", "error", "Too many open files", '"Too many open files"', ("availability",)),
    Cause("connections", "error", "Connections run out", '"Connection refused"', ("availability",)),
    Cause("exporter", "monitor", "The monitoring is blind", ""),
)
