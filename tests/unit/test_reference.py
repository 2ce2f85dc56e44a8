"""The reference is the declarations, in tables that Markdown shows as they are meant."""

from __future__ import annotations

import re

import pytest

from exporter.metric import counter, gauge
from exporter.reports.reference import metrics_reference, settings_reference
from exporter.settings import leaves

pytestmark = pytest.mark.unit

UP = gauge("mlflow_server_up", "1 while it answers, else 0.", "the socket")
SECONDS = counter(
    "mlflow_db_load_seconds_total", "Time by a|b where x < 1.", "pg_stat_activity", "seconds", ("state",)
)
SIZE = gauge("mlflow_db_size_bytes", "Size of the database.", "pg_database_size()", "bytes")


def test_one_table_an_area_in_a_fixed_order_sorted_by_name() -> None:
    parts = [("size", (SIZE,)), ("load", (SECONDS,)), ("processes", (UP,))]
    text = metrics_reference(parts)
    assert text == metrics_reference(reversed(parts))
    assert text == (
        "## The tracking server's processes\n\n"
        "| Metric | Type | Labels | Unit | Meaning | Source | Collector |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| `mlflow_server_up` | gauge |  |  | 1 while it answers, else 0. | the socket | processes |\n"
        "\n"
        "## The database\n\n"
        "| Metric | Type | Labels | Unit | Meaning | Source | Collector |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| `mlflow_db_load_seconds_total` | counter | `state` | seconds | Time by a\\|b where x &lt; 1."
        " | pg_stat_activity | load |\n"
        "| `mlflow_db_size_bytes` | gauge |  | bytes | Size of the database. | pg_database_size() | size |\n"
    )


def test_a_metric_of_two_collectors_is_one_row() -> None:
    text = metrics_reference([("b", (UP,)), ("a", (UP,))])
    assert text.count("mlflow_server_up") == 1
    assert "| a, b |" in text


def test_two_declarations_of_one_name_are_refused() -> None:
    twin = gauge(UP.name, "Another meaning.", "elsewhere")
    with pytest.raises(ValueError, match="mlflow_server_up is declared twice, the second time for b"):
        metrics_reference([("a", (UP,)), ("b", (twin,))])


def test_every_setting_has_a_row_of_six_cells() -> None:
    rows = settings_reference(leaves()).splitlines()[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert [row[0] for row in cells] == [f"`{leaf.path}`" for leaf in leaves()]
    assert {len(row) for row in cells} == {6}
    by_key = {row[0].strip("`"): row for row in cells}
    assert by_key["probes.interval"][1:5] == [
        "`MLFLOW_EXPORTER_PROBES_INTERVAL`",
        "`--probes.interval`",
        "a number of seconds from 1 to 3600",
        "`15`",
    ]
    assert by_key["database.dsn"][2] == by_key["probes.urls"][1] == ""
