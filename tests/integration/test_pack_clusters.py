"""Two clusters with servers of the same names in one Prometheus: each board and each alert is of one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.pack import rules
from exporter.pack.dashboards.dashboard import Dashboard
from exporter.pack.dashboards.pages import dashboards
from exporter.pack.formats import dashboards as packed
from exporter.pack.site import Site
from tests.lab import panels, promtool
from tests.lab.fleet import Fleet
from tests.lab.tools import program

pytestmark = pytest.mark.integration

SITE = Site(cluster_label="cluster")
BOARDS = [one for one in dashboards() if one.name in ("overview", "causes", "server", "database")]
PACKED = packed(SITE)
SIZE = {"number": 3, "minutes": 40}
EAST, WEST = (
    {"east": 0},
    {"west": 1},
)  # of these numbers the first of one is in trouble, and none of the other

TARGET = 'job="mlflow", tracking_server="main", instance="a:1"'
NEAR = {"limit": "100x60", "reserved": "0x60", "used": "90x60"}
FAR = NEAR | {"used": "50x60"}
LINK = "/d/mlflow-causes?var-cluster=west&var-job=mlflow&var-tracking_server=main#connections"


class Packed(Dashboard):
    """A dashboard as the pack has it."""

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(PACKED[f"{self.name}.json"])
        return found


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Fleet, Fleet]]:
    """Return a Prometheus of both clusters, and one of the second alone, whose series do not say so."""
    with ExitStack() as stack:
        yield (
            stack.enter_context(Fleet(BOARDS, **SIZE, clusters=EAST | WEST)),
            stack.enter_context(Fleet(BOARDS, **SIZE, clusters={"": WEST["west"]})),
        )


def shown(prometheus: Fleet, boards: Iterable[Dashboard], **selected: list[str]) -> dict[str, list[str]]:
    """Return what each query got, but for the cluster that it is of; a sum in another order ends in other digits."""
    found = {}
    for one in panels.ask(prometheus.url, boards, replace(prometheus.view, selected=selected)):
        assert one.error == "", f"{one.query}: {one.error}"
        got = one.result
        if one.query.how != "values":
            got = [(without(each["metric"]), each.get("values") or [each["value"]]) for each in one.result]
            got = [(labels, [(at, f"{float(value):.9g}") for at, value in points]) for labels, points in got]
        found[f"{one.query}: {one.query.legend}"] = sorted(map(json.dumps, got))
    return found


def test_a_board_shows_of_the_chosen_cluster_what_it_would_without_the_other(
    servers: tuple[Fleet, Fleet],
) -> None:
    both, west = servers
    boards = [Packed(**vars(one)) for one in BOARDS]
    found, alone = shown(both, boards, cluster=["west"]), shown(west, BOARDS)
    to_choose = [found.pop(name) for name in [*found] if "variable cluster" in name]
    assert to_choose == [['"east"', '"west"']] * len(BOARDS)
    assert found == alone
    assert sum(map(bool, found.values())) > 100
    of_east = shown(both, boards[:1], cluster=["east"])
    assert [name for name in of_east if "Causes, nearest" in name and of_east[name] == alone[name]] == []


def without(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in labels.items() if name != "cluster")


def fired(folder: Path, series: Mapping[str, str], external: Mapping[str, str]) -> str:
    """Run the rules for half an hour; return what promtool says of the alert, of which it is told that none fires."""
    for name, text in rules.of(SITE).items():
        (folder / name).write_text(text)
    test = {
        "interval": "1m",
        "external_labels": {**external},
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"alertname": "MlflowConnectionsNearLimit", "eval_time": "30m", "exp_alerts": []}
        ],
    }
    files = sorted(str(file) for file in folder.glob("*.yml"))
    whole = {"rule_files": files, "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yaml").write_text(promtool.dump(whole))
    return promtool.call(program("promtool"), "test", "rules", folder / "test.yaml").text


def test_an_alert_of_two_clusters_rules_is_of_one_of_them_and_links_to_it(tmp_path: Path) -> None:
    series = {
        f'mlflow_db_connections_{name}{{cluster="{cluster}", {TARGET}}}': values
        for cluster, of in (("east", FAR), ("west", NEAR))
        for name, values in of.items()
    }
    said = fired(tmp_path, series, {})
    assert LINK in said and 'cluster="west"' in said
    assert "east" not in said


def test_where_the_label_is_added_as_alerts_are_sent_a_link_has_it_too(tmp_path: Path) -> None:
    series = {f"mlflow_db_connections_{name}{{{TARGET}}}": values for name, values in NEAR.items()}
    assert LINK in fired(tmp_path, series, {"cluster": "west"})
