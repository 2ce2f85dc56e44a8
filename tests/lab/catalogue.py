"""Make `exporter/schema/indexes.json`: `python -m tests.lab.catalogue`, for a release newer than those it knows.

The indexes that MLflow's own migrations make, read back from a real Postgres after each of them, by the query that
the exporter uses. LAB_MLFLOW names the MLflow whose migrations are walked: the newest one.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

from exporter.collector import Query
from exporter.schema import FILE, Catalogue, Entry, Index, found
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSource
from tests.lab import tools
from tests.lab.postgres import Postgres

# The first release whose migrations end there; between two lines the releases share a schema. Found by reading the
# migrations in the wheels of each minor release, and checked by migrating a Postgres with each of them.
RELEASES = {
    "acf3f17fdcc7": "2.10",
    "867495a8f9d4": "2.13",
    "5b0e9adcef9c": "2.14",
    "4465047574b1": "2.15",
    "f5a4f2784254": "2.17",
    "0584bdc529eb": "2.18",
    "6953534de441": "3.0",
    "770bee3ae1dd": "3.2",
    "1a0cddfcaa16": "3.3",
    "71994744cf8e": "3.4",
    "bf29a5ff90ea": "3.5",
    "1bd49d398cd23": "3.8",
    "d3e4f5a6b7c8": "3.9",
    "1b5f0d9ad7c1": "3.10",
    "c3d6457b6d8a": "3.11",
    "7d34483879f0": "3.12",
    "da6fb0208061": "3.13",
    "b7e4c1a90f23": "3.14",
    "6f8d9c3b2a1e": "3.15",
    "b7e2c1a4d9f3": "3.16",
    "dc11669786a5": "3.17",
    "f4a9b2c7d1e6": "3.18",
}
OLDEST = next(iter(RELEASES))

# What grows with use. The rest of MLflow's 70 tables are small: an index there makes no difference that is felt.
TABLES = (
    *("experiments", "experiment_tags", "runs", "metrics", "latest_metrics", "params", "tags"),
    *("inputs", "input_tags", "datasets"),
    *("logged_models", "logged_model_metrics", "logged_model_params", "logged_model_tags"),
    *("trace_info", "trace_tags", "trace_request_metadata", "trace_metrics", "spans", "span_metrics", "assessments"),
    *("registered_models", "registered_model_tags", "model_versions", "model_version_tags"),
)  # fmt: skip

# Says the revisions from the oldest to the head, and migrates to each that it is then told.
MIGRATIONS = """
import sys
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
uri = sys.argv[1]
config = _get_alembic_config(uri)
print(*reversed([one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]), flush=True)
Base.metadata.create_all(sqlalchemy.create_engine(uri))
for line in sys.stdin:
    command.upgrade(config, line.strip())
    print("done", flush=True)
"""


def walk(server: Postgres) -> Iterator[tuple[str, set[Index]]]:
    """Migrate a database from the oldest known revision on, one by one; yield each with its tables' indexes."""
    name = "walked"
    uri = server.create_database(name).replace("postgresql:", "postgresql+psycopg2:")
    with ExitStack() as stack:
        stack.callback(server.drop, name)
        migrations = stack.enter_context(
            subprocess.Popen(
                [tools.mlflow().parent / "python", "-W", "ignore", "-c", MIGRATIONS, uri],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        assert migrations.stdin and migrations.stdout
        revisions = migrations.stdout.readline().split()
        for revision in revisions[revisions.index(OLDEST) :]:
            print(revision, file=migrations.stdin, flush=True)
            assert migrations.stdout.readline() == "done\n", revision
            yield revision, indexes(server, name)
        migrations.stdin.close()


def indexes(server: Postgres, dbname: str) -> set[Index]:
    """Return the indexes of a database's tables as the exporter's query has them."""
    source = PostgresSource(Target.from_dsn(Secret(server.dsn("mlflow", dbname)), Secret(""), "", ()))
    with closing(source):
        session = source.open([Query("schema", (list(TABLES),))], time.monotonic() + 30)
        return {found(row).definition for row in session.rows("schema")}


def catalogue(walked: Iterator[tuple[str, set[Index]]]) -> Catalogue:
    """Return each index with the revision it came with, and the one it was gone with."""
    revisions: list[str] = []
    entries: list[Entry] = []
    for revision, now in walked:
        revisions.append(revision)
        entries = [
            one if one.until or one.definition in now else one._replace(until=revision) for one in entries
        ]
        known = {one.definition for one in entries if not one.until}
        entries += [Entry(index, revision, "") for index in sorted(now - known)]
    return Catalogue(tuple((revision, RELEASES.get(revision, "")) for revision in revisions), tuple(entries))


def main() -> None:
    with Postgres(prepared=False) as server:
        server.execute("CREATE ROLE mlflow LOGIN PASSWORD 'mlflow-Zq82'")
        made = catalogue(walk(server))
    # A line each, so that a new release's difference can be read.
    lines = {
        "revisions": [json.dumps(one) for one in made.revisions],
        "indexes": [
            json.dumps(entry.definition._asdict() | {"since": entry.since, "until": entry.until})
            for entry in sorted(made.entries)
        ],
    }
    parts = [f'  "{name}": [\n    ' + ",\n    ".join(found) + "\n  ]" for name, found in lines.items()]
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
