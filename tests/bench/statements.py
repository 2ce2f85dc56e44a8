"""Fill pg_stat_statements with texts as MLflow sends them: lists of runs, each length a statement of its own."""

from __future__ import annotations

from contextlib import closing

from tests.lab.postgres import Postgres

TABLES = ("runs", "latest_metrics", "params", "tags", "metrics")
COLUMNS = {
    "runs": ("name", "status", "start_time", "end_time", "artifact_uri"),
    "latest_metrics": ("key", "value", "timestamp", "step", "is_nan"),
    "params": ("key", "value"),
    "tags": ("key", "value"),
    "metrics": ("key", "value", "timestamp", "step", "is_nan"),
}
KEYS = 540  # of one statement on average, where there are many: 15 MB of texts in 5,000


def tracked(postgres: Postgres) -> int:
    ((number,),) = postgres.execute("SELECT count(*) FROM pg_stat_statements(false)", dbname="mlflow")
    return int(number)


def evicted(postgres: Postgres) -> int:
    ((number,),) = postgres.execute("SELECT dealloc FROM pg_stat_statements_info", dbname="mlflow")
    return int(number)


def fill(postgres: Postgres, until: int) -> int:
    """Run statements until so many are tracked, of 3 kB on average from some hundred on; returns the texts' bytes."""
    missing = until - tracked(postgres)
    rows = max(1, missing // len(TABLES))
    shortest = max(1, KEYS - rows // 2)
    with closing(postgres.connect("mlflow", "mlflow")) as session, session.pipeline():
        for number in range(missing):
            table, length = TABLES[number % len(TABLES)], shortest + number // len(TABLES)
            session.execute(_select(table, length).encode())
    query = "SELECT sum(length(query)) FROM pg_stat_statements"
    ((size,),) = postgres.execute(query, dbname="mlflow")
    return int(size)


def _select(table: str, keys: int) -> str:
    columns = ", ".join(f"{table}.{name} AS {table}_{name}" for name in COLUMNS[table])
    missing_runs = ", ".join(["''"] * keys)
    return f"SELECT {columns} FROM {table} WHERE {table}.run_uuid IN ({missing_runs})"
