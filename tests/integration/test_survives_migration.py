"""MLflow's schema migrated while a real exporter is scraped."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.survival import Survives, read_all_anew, reloadable
from tests.integration.survival_seen import Scrape
from tests.lab import tools
from tests.lab.catalogue import MIGRATIONS, OLDEST
from tests.lab.postgres import GRANTS, Postgres
from tests.lab.process import wait_for

pytestmark = pytest.mark.integration


@contextmanager
def of_an_old_release(server: Postgres, dbname: str) -> Iterator[Callable[[], bool]]:
    """Make a database of MLflow 2.10; what is given begins to migrate it to the newest and then says whether it has."""
    uri = server.create_database(dbname).replace("postgresql:", "postgresql+psycopg2:")
    python = tools.mlflow().parent / "python"
    try:
        with subprocess.Popen(
            [python, "-W", "ignore", "-c", MIGRATIONS, uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as migrations:
            assert migrations.stdin and migrations.stdout
            print(OLDEST, file=migrations.stdin, flush=True)
            assert OLDEST in migrations.stdout.readline()
            assert migrations.stdout.readline() == "done\n"
            server.execute("CREATE EXTENSION pg_stat_statements", dbname=dbname)
            for grant in GRANTS:
                server.execute(grant, dbname=dbname)

            def migrated() -> bool:
                assert migrations.stdin
                if not migrations.stdin.closed:
                    print("heads", file=migrations.stdin)
                    migrations.stdin.close()
                return migrations.poll() == 0

            yield migrated
    finally:
        server.drop(dbname)


@pytest.mark.survives("Postgres", "schema migrated from MLflow 2.10's to the newest")
def test_a_migration_under_us_is_read_past_and_its_end_is_seen(
    survives: Survives, postgres: Callable[[int], Postgres], tmp_path: Path
) -> None:
    def revision(scrape: Scrape) -> set[tuple[str, ...]]:
        return set(scrape.by("mlflow_store_schema_info", "revision"))

    server = postgres(17)
    with (
        of_an_old_release(server, "migrated") as migrated,
        reloadable(server, "migrated", tmp_path) as exporter,
        survives(exporter, [server]) as trial,
    ):
        assert revision(trial.before) == {(OLDEST,)}
        migrated()
        read_all_anew(exporter, tmp_path)
        seen = trial.during(until=lambda _: migrated(), every=0.05, within=60)
        assert seen.down == set()
        assert {why for name in seen.reasons for why in seen.of(name)} <= {"busy"}
        trial.recovered()
        (tmp_path / "exporter.yml").write_text("statements: {slowest: 8}\n")
        exporter.reload()
        wait_for(lambda: revision(trial.scrape()) != revision(trial.before), "the new revision")
