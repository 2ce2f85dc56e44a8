"""What `check` prints of any DSN, whole or broken: nothing of its password."""

from __future__ import annotations

import pytest

from exporter.reports.check import check
from exporter.settings import SettingsError, load
from tests.fuzz.cases import holds
from tests.fuzz.inputs import fragments
from tests.fuzz.test_passwords import told

pytestmark = pytest.mark.fuzz


@holds(share=0.05, given=told())
def test_check_prints_nothing_of_a_password(given: tuple[str, str, str]) -> None:
    secret, *dsns = given
    for dsn in dsns:
        environ = {
            # Where nothing listens, and no name has to be resolved.
            "MLFLOW_EXPORTER_DATABASE_DSN": dsn.replace("db.example", "127.0.0.1").replace("5432", "1"),
            "MLFLOW_EXPORTER_COLLECTORS": "database",
            "MLFLOW_EXPORTER_SERVER_PORT": "1",
        }
        if "127.0.0.1" not in environ["MLFLOW_EXPORTER_DATABASE_DSN"]:
            continue
        try:
            said = check(lambda environ=environ: load(None, environ, {}))  # type: ignore[misc]
        except SettingsError as error:
            said = str(error)
        assert fragments(secret, said) == [], dsn
