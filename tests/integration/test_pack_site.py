"""A site's pack: what is for whom accepts it, and what it changes behaves so in promtool and is shown in panels."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.pack.shipped import alerts
from tests.contract.rules import ROOT, RULES
from tests.lab import promtool
from tests.lab.tools import versions

pytestmark = [pytest.mark.integration, pytest.mark.pack]

PROMTOOLS, AMTOOLS = versions("promtool"), versions("amtool")

# All that can be changed, changed: each threshold, severity and label, and some alerts excluded.
EVERYTHING: dict[str, Any] = {
    "job": "ml",
    "tracking_server": "team-1",
    "cluster_label": "cluster",
    "runbook_url": "https://wiki.example.org/runbooks",
    "grafana_url": "https://grafana.example.org",
    "severities": dict.fromkeys(alerts(), "warning"),
    "exclude": [
        "MlflowBackendIsSqlite",
        "MlflowLockWaits",
        "MlflowReadsCrowdOutWrites",
        "MlflowStatementsNotTracked",
    ],
    "labels": {"team": "ml: platform"},
    "thresholds": {
        alert.name: {of: round(signal.threshold * 0.977, 9) for of, signal in alert.thresholds.items()}
        for alert in alerts().values()
        if alert.thresholds
    },
}
EVERYTHING["thresholds"] = {
    name: found if len(found) > 1 else next(iter(found.values()))
    for name, found in EVERYTHING["thresholds"].items()
}
SOME = {"MlflowConnectionsNearLimit": 0.9, "MlflowOpenFilesNearLimit": 0.5, "MlflowRunLogsTooOften": 5}
# Of each alert: its series, and the values that are below and above the site's threshold, of which the shipped one
# would say the opposite or nothing.
READ = {
    "MlflowConnectionsNearLimit": ("mlflow_db_connections_used", "82x60", "90x60"),
    "MlflowOpenFilesNearLimit": ("mlflow_server_worker_open_fds", "35x60", "45x60"),
    "MlflowRunLogsTooOften": ("mlflow_store_fastest_run_points_per_second", "4x60", "8x60"),
}
BESIDE = {
    "mlflow_db_connections_limit": "100x60",
    "mlflow_db_connections_reserved": "3x60",
    "mlflow_server_worker_max_fds": "80x60",
    'mlflow_db_table_rows_inserted_total{table="metrics"}': "0+480x60",
}
SHIPPED = {"below": {"MlflowConnectionsNearLimit"}, "above": {"MlflowConnectionsNearLimit"}}


def packed(folder: Path, options: dict[str, Any], *flags: str) -> Path:
    """Write a pack as a user does, in a process of its own."""
    (folder / "site.yml").write_text(yaml.safe_dump(options))
    command = [
        sys.executable,
        "-m",
        "exporter",
        "pack",
        str(folder / "pack"),
        "--values",
        str(folder / "site.yml"),
    ]
    done = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "pack"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("everything"), EVERYTHING)


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("some"), {"thresholds": SOME})


@pytest.mark.parametrize("program", PROMTOOLS, ids=lambda one: one.parts[-4])
def test_promtool_accepts_rules_and_configuration_with_everything_changed(
    everything: Path, program: Path
) -> None:
    rules = [*sorted(everything.glob("rules/*.yml")), everything / "watchdog.yml"]
    assert len(rules) == len(list(RULES.glob("*.yml"))) + 1
    said = promtool.call(program, "check", "rules", "--lint=all", "--lint-fatal", *rules)
    assert said.status == 0, said.text
    said = promtool.call(program, "check", "config", everything / "prometheus.yml")
    assert said.status == 0, said.text


@pytest.mark.parametrize("program", AMTOOLS, ids=lambda one: one.parts[-4])
def test_amtool_accepts_the_routes_with_everything_changed(everything: Path, program: Path) -> None:
    said = promtool.call(program, "check-config", everything / "alertmanager.yml")
    assert said.status == 0, said.text


@pytest.mark.parametrize("program", PROMTOOLS, ids=lambda one: one.parts[-4])
def test_promtool_accepts_the_rules_for_kubernetes(tmp_path: Path, program: Path) -> None:
    pack = packed(tmp_path, EVERYTHING, "--format", "kubernetes")
    for file in pack.glob("rules/*.yaml"):
        file.with_suffix(".yml").write_text(yaml.safe_dump(yaml.safe_load(file.read_text())["spec"]))
    said = promtool.call(program, "check", "rules", *pack.glob("rules/*.yml"))
    assert said.status == 0, said.text


@pytest.mark.parametrize("program", PROMTOOLS, ids=lambda one: one.parts[-4])
def test_an_alert_fires_above_the_site_s_threshold_and_is_quiet_below(
    some: Path, tmp_path: Path, program: Path
) -> None:
    said = fired(program, tmp_path, some / "rules", {"below": set(), "above": {*SOME}})
    assert said.status == 0, said.text


def test_the_shipped_rules_say_something_else_of_the_same_server(tmp_path: Path) -> None:
    said = fired(PROMTOOLS[0], tmp_path, RULES, SHIPPED)
    assert said.status == 0, said.text


def fired(program: Path, folder: Path, rules: Path, expected: dict[str, set[str]]) -> promtool.Said:
    """Run two servers, one below and one above, for half an hour; expect these alerts of each at its end."""
    series = [
        {"series": _of(name, server), "values": values}
        for server, at in (("below", 1), ("above", 2))
        for name, values in ((one[0], one[at]) for one in READ.values())
    ]
    series += [
        {"series": _of(name, server), "values": text} for server in expected for name, text in BESIDE.items()
    ]
    query = 'count by (alertname, tracking_server) (ALERTS{{alertstate="firing", alertname=~"{}"}})'
    wanted = [
        {"labels": f'{{alertname="{alert}", tracking_server="{server}"}}', "value": 1}
        for server, names in expected.items()
        for alert in sorted(names)
    ]
    check = {"expr": query.format("|".join(SOME)), "eval_time": "30m", "exp_samples": wanted}
    files = sorted(str(file) for file in rules.glob("*.yml"))
    test = {"name": "a site's", "interval": "1m", "input_series": series, "promql_expr_test": [check]}
    (folder / "test.yml").write_text(
        promtool.dump({"rule_files": files, "evaluation_interval": "1m", "tests": [test]})
    )
    return promtool.call(program, "test", "rules", folder / "test.yml")


def _of(name: str, server: str) -> str:
    own = name.partition("{")[2].rstrip("}")
    target = f'job="mlflow", instance="a", tracking_server="{server}"'
    return f"{name.partition('{')[0]}{{{', '.join(part for part in (own, target) if part)}}}"


def test_panels_have_the_site_s_thresholds_and_nothing_else_is_another(some: Path) -> None:
    found = set()
    for file in (ROOT / "dashboards").glob("*.json"):
        before, after = (json.loads(one.read_text()) for one in (file, some / "dashboards" / file.name))
        found |= {*differing(before, after)}
    numbers = {pair for pair in found if not isinstance(pair[0], str)}
    # The third is how high a panel is at least: a little higher than its line.
    assert numbers == {(0.8, 0.9), (0.8, 0.5), (20.0, 5.0), (24.0, 6.0)}
    # And the board's one query, which shows each evidence as its pressure times its threshold.
    ((before, after),) = found - numbers
    words = {pair for pair in zip(before.split(), after.split(), strict=True) if pair[0] != pair[1]}
    factors = {("80,", "90,"), ("80,", "50,"), ("20,", "5,")}
    assert words == factors | {('80)",', '90)",'), ('80)",', '50)",'), ('20)",', '5)",')}


def differing(before: Any, after: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the values that differ; raises where the two have not the same form."""
    if isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            yield from differing(before[key], after[key])
    elif isinstance(before, list):
        for one, other in zip(before, after, strict=True):
            yield from differing(one, other)
    elif before != after:
        yield before, after


def test_runbooks_have_the_site_s_thresholds_beside_the_shipped_ones(some: Path) -> None:
    text = (some / "runbooks/connections.md").read_text()
    assert "More than 90 % (as shipped: 80 %) <!-- threshold MlflowConnectionsNearLimit 0.9 -->" in text
    assert {file.name for file in (some / "runbooks").glob("*.md")} == {
        file.name for file in (ROOT / "alerts/runbooks").glob("*.md")
    }
