"""Postgres in every kind of trouble, while a real exporter is scraped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.survival import Survives, watching
from tests.lab.postgres import Postgres

pytestmark = pytest.mark.integration


@pytest.fixture
def own() -> Iterator[Postgres]:
    """Return a Postgres that the test may break, with database `mlflow`."""
    with Postgres(17) as server:
        server.create_mlflow()
        yield server


@pytest.mark.survives("Postgres", "killed (SIGKILL)")
def test_a_killed_server_is_unreachable_until_it_is_back(survives: Survives, own: Postgres) -> None:
    with watching(own.dsn("exporter", "mlflow")) as exporter, survives(exporter, [own]) as trial:
        own.kill()
        seen = trial.during(until=lambda seen: seen.of("probe database") == {"refused"})
        assert seen.down == {"mlflow_db_up", "mlflow_exporter_source_up postgres"}
        assert seen.of("connections") == {"unreachable"}
        own.start()
        trial.recovered()
