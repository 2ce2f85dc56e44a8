"""What the exporter's role must be allowed to do: named here once, for `grants`, for `check` and for every error.

In the statements `{role}` is the exporter's role and `{store}` the schema of MLflow's tables, both quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

STATISTICS = "pg_read_all_stats"
SETTINGS = "pg_read_all_settings"
# What services let their administrators grant; it has both, and the right to read more.
MANAGED = "pg_monitor"
MONITOR = f"GRANT {STATISTICS} TO {{role}};  -- on RDS, Cloud SQL or Azure {MANAGED}, which has it"
EXTENSION = "CREATE EXTENSION pg_stat_statements;  -- once in MLflow's database, as a superuser or the service's admin"
GRANTS = "`mlflow-exporter grants` prints all that it needs"


@dataclass(frozen=True, slots=True)
class Table:
    """One of MLflow's tables: the columns that our own queries read, and for what; none where they read it never."""

    name: str
    columns: tuple[str, ...]
    why: str


# What exporter/queries/*.sql read of MLflow's tables.
READ = (
    Table("alembic_version", ("version_num",), "which MLflow release made the schema"),
    Table("experiments", ("experiment_id", "name", "lifecycle_stage"), "how many; who writes"),
    Table(
        "runs",
        ("run_uuid", "experiment_id", "user_id", "status", "start_time", "lifecycle_stage"),
        "how many, in which state; who writes",
    ),
    Table("metrics", ("run_uuid", "key", "timestamp"), "points per second of the fastest run"),
    Table("latest_metrics", ("run_uuid", "key", "step", "timestamp"), "which runs log just now"),
    Table("params", ("run_uuid",), "parameters per run, counted"),
    Table("tags", ("run_uuid", "key", "value"), "user, source and commit of who writes, in `explain`"),
)
# What MLflow's SELECTs of runs read besides, whose plans are asked for.
PLANNED = tuple(
    Table(name, (), "search of runs by dataset or experiment")
    for name in ("inputs", "input_tags", "datasets", "experiment_tags")
)

STORE = f"GRANT SELECT ON {', '.join(f'{{store}}.{table.name}' for table in READ)} TO {{role}};"


def filled(statement: str, names: Mapping[str, str]) -> str:
    """Put quoted names into a statement, in one pass: a role may be called `{store}`."""
    return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), statement)
