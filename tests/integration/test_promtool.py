"""promtool and amtool accept the pack, and its tests pass: as they are, with gaps, and not where a rule is changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.declared import series
from tests.contract.rules import ALERTS, ROOT, RULES, SLUGS, TESTS, Rule, alerts, all_rules, selectors
from tests.lab import promtool
from tests.lab.tools import versions

pytestmark = [pytest.mark.integration, pytest.mark.pack, pytest.mark.long]

PROMTOOLS = versions("promtool")
AMTOOLS = versions("amtool")
# One of them for what does not depend on the version: the oldest that the pack is for.
PROMTOOL = PROMTOOLS[0]
# A recording of a busy, healthy server: python -m tests.lab.record tests/golden/healthy.txt
RECORDING = ROOT / "tests/golden/healthy.txt"
# What is there or not, and has no "a little less".
DISCRETE = {
    "MlflowServerOutOfMemory": "one process killed is one too many",
    "MlflowServerProcessMissing": "a process is there or not",
}


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return found


def version(program: Path) -> str:
    return "current" if "current" in program.parts else "stable"


def test_promtool_is_the_oldest_that_the_pack_is_for_and_a_later_one() -> None:
    said = [promtool.call(program, "--version").text for program in PROMTOOLS]
    found = [
        tuple(map(int, numbers)) for text in said for numbers in re.findall(r"version (\d+)\.(\d+)", text)
    ]
    assert found[0] == (2, 42), f"{said}: the oldest was not to be had when `make lint-pack` tried"
    assert found == sorted(set(found))


@pytest.mark.parametrize("program", PROMTOOLS, ids=version)
def test_promtool_has_no_complaint_about_the_rules(program: Path) -> None:
    files = [*sorted(RULES.glob("*.yml")), ALERTS / "watchdog.yml"]
    said = promtool.call(program, "check", "rules", "--lint=all", "--lint-fatal", *files)
    assert said.status == 0, said.text


@pytest.mark.parametrize("program", PROMTOOLS, ids=version)
def test_promtool_accepts_the_configuration(program: Path) -> None:
    said = promtool.call(program, "check", "config", ALERTS / "prometheus.yml")
    assert said.status == 0, said.text


@pytest.mark.parametrize("program", AMTOOLS, ids=version)
def test_amtool_accepts_the_configuration(program: Path) -> None:
    said = promtool.call(program, "check-config", ALERTS / "alertmanager.yml")
    assert said.status == 0, said.text


@pytest.mark.parametrize("program", PROMTOOLS, ids=version)
@pytest.mark.parametrize("slug", SLUGS)
def test_the_tests_pass(program: Path, slug: str) -> None:
    said = promtool.call(program, "test", "rules", TESTS / f"{slug}.yml")
    assert said.status == 0, said.text


@pytest.mark.parametrize("slug", SLUGS)
def test_the_same_alerts_fire_where_each_third_scrape_fails(slug: str, tmp_path: Path) -> None:
    """In all three phases where an alert fires; in one each where none does, as that is most of the time it takes."""
    test = read(TESTS / f"{slug}.yml")
    test["tests"] = [
        promtool.with_failing_scrapes(group, phase)
        for number, group in enumerate(test["tests"])
        for phase in (range(3) if fires(group) else [number % 3])
    ]
    rules = promtool.without_annotations(read(RULES / f"{slug}.yml"))
    said = promtool.run(PROMTOOL, tmp_path, rules, test)
    assert said.status == 0, said.text


def fires(group: dict[str, Any]) -> bool:
    return any(entry.get("exp_alerts") for entry in group.get("alert_rule_test") or [])


@pytest.mark.parametrize("one", alerts(), ids=str)
def test_an_alert_has_its_tests_and_they_ask_before_while_and_after_it_fires(one: Rule) -> None:
    groups = read(TESTS / f"{one.slug}.yml")["tests"]
    for group in promtool.of(groups, one.name, "fires and resolves"):
        asked = sorted(
            (promtool.seconds(entry["eval_time"]), entry.get("exp_alerts") or [])
            for entry in group["alert_rule_test"]
            if entry["alertname"] == one.name
        )
        firing = [at for at, expected in asked if expected]
        quiet = [at for at, expected in asked if not expected]
        assert firing and quiet
        assert 0 < min(quiet) < min(firing) <= max(firing) < max(quiet)
        for _, expected in asked:
            for alert in expected:
                assert alert["exp_labels"].items() >= one.labels.items()
                assert set(alert["exp_annotations"]) == set(one.annotations)
        break
    else:
        pytest.fail("no test that it fires and resolves")
    below = promtool.of(groups, one.name, "quiet just below")
    assert below and not any(entry.get("exp_alerts") for group in below for entry in group["alert_rule_test"])


def impatient(one: dict[str, Any]) -> dict[str, Any]:
    """Return the alert without its `for` and `keep_firing_for`."""
    return {key: value for key, value in one.items() if key not in ("for", "keep_firing_for")}


def early(one: dict[str, Any]) -> dict[str, Any]:
    """Return the alert at 0.45 of its threshold; where that is 2 of something, 1 is just below."""
    return one | {"expr": re.sub(r"> 1\)", "> 0.45)", one["expr"])}


def changed(slug: str, change: Any, test: dict[str, Any], folder: Path) -> set[tuple[str, str]]:
    """Run tests with each alert of the file changed, and return which expectations are then not met."""
    (group,) = promtool.without_annotations(read(RULES / f"{slug}.yml"))["groups"]
    rules = [change(one) if "alert" in one else one for one in group["rules"]]
    plain = [promtool.without_texts(group) for group in test["tests"]]
    return promtool.run(
        PROMTOOL, folder, {"groups": [group | {"rules": rules}]}, test | {"tests": plain}
    ).failed


@pytest.mark.parametrize("slug", SLUGS)
def test_the_tests_see_an_alert_that_neither_waits_nor_stays(slug: str, tmp_path: Path) -> None:
    test = read(TESTS / f"{slug}.yml")
    test["tests"] = [group for group in test["tests"] if "fires and resolves" in group["name"]]
    failed = changed(slug, impatient, test, tmp_path)
    unseen = []
    for one in (one for one in alerts() if one.slug == slug):
        times = [promtool.seconds(at) for alert, at in failed if alert == one.name]
        firing = [
            promtool.seconds(entry["eval_time"])
            for group in promtool.of(test["tests"], one.name, "fires and resolves")
            for entry in group["alert_rule_test"]
            if entry["alertname"] == one.name and entry.get("exp_alerts")
        ]
        if one.wait and not any(at < min(firing) for at in times):
            unseen.append(f"{one} does not wait")
        if one.keep and not any(at >= min(firing) for at in times):
            unseen.append(f"{one} does not stay")
    assert unseen == []


@pytest.mark.parametrize("slug", SLUGS)
def test_the_tests_see_an_alert_that_fires_too_early(slug: str, tmp_path: Path) -> None:
    test = read(TESTS / f"{slug}.yml")
    test["tests"] = [group for group in test["tests"] if "quiet just below" in group["name"]]
    failed = {alert for alert, _ in changed(slug, early, test, tmp_path)}
    wanted = {one.name for one in alerts() if one.slug == slug and one.evidence}
    assert wanted - failed <= set(DISCRETE)


def firing(folder: Path, given: list[dict[str, str]], end: str) -> promtool.Said:
    """Run all rules over the series, and say whether no alert ever fired."""
    read_by_rules = {found.name for one in all_rules() for found in selectors(one.expr)}
    given = [one for one in given if one["series"].partition("{")[0] in read_by_rules]
    for file in RULES.glob("*.yml"):
        (folder / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    fired = {
        "expr": f'count_over_time(ALERTS{{alertstate="firing"}}[{end}])',
        "eval_time": end,
        "exp_samples": [],
    }
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [fired]}
    content = {"rule_files": [f"{slug}.yml" for slug in SLUGS], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yml").write_text(promtool.dump(content), encoding="utf-8")
    return promtool.call(PROMTOOL, "test", "rules", folder / "test.yml")


def test_a_healthy_day_fires_nothing(tmp_path: Path) -> None:
    said = firing(tmp_path, promtool.day(RECORDING.read_text("utf-8")), "1d")
    assert said.status == 0, said.text


def test_a_day_in_which_the_server_is_down_fires(tmp_path: Path) -> None:
    unseen = r"mlflow_server_up\{|mlflow_probe_success\{probe=\"(?:api|health|version)\""
    recording = re.sub(  # down from the second minute on: what was never up is nobody's server
        rf"^(gauge (?:{unseen}).*\}}) .*$",
        rf"\1 1{' 0' * 30}",
        RECORDING.read_text("utf-8"),
        flags=re.MULTILINE,
    )
    said = firing(tmp_path, promtool.day(recording, 30), "30m")
    assert 'alertname="MlflowServerDown"' in said.text


def test_the_recording_has_the_metrics_that_there_are() -> None:
    recorded = set(re.findall(r"^\w+ (\w+)\{", RECORDING.read_text("utf-8"), re.MULTILINE))
    assert recorded - set(series()) == set(), "python -m tests.lab.record tests/golden/healthy.txt"


def test_the_notation_of_series_is_promtools_own() -> None:
    assert promtool.expand("1 2x2 0+10x2 5-1x1 _ _x3 stale -1.5 1e3x1") == [
        *("1", "2", "2", "2", "0", "10", "20", "5", "4", "_", "_", "_", "_", "stale", "-1.5", "1e3", "1e3")
    ]  # fmt: skip
    assert promtool.with_gaps('up{job="a"}', "1x5", 0) == "0 1 1 0 1 1"
    assert promtool.with_gaps("upper", "0+1x4 _ stale 7", 1) == "0 stale 2 3 stale _ stale stale"
    with pytest.raises(ValueError, match="1y3"):
        promtool.expand("1y3")
