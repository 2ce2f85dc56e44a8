"""promtool and amtool accept the pack, and its tests pass: as they are, with gaps, and not where a rule is changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.rules import ALERTS, RULES, TESTS, Rule, alerts
from tests.lab import promtool
from tests.lab.tools import versions

pytestmark = [pytest.mark.integration, pytest.mark.pack]

PROMTOOLS = versions("promtool")
AMTOOLS = versions("amtool")
# One of them for what does not depend on the version: the oldest that the pack is for.
PROMTOOL = PROMTOOLS[0]
SLUGS = sorted(file.stem for file in TESTS.glob("*.yml"))


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return found


def version(program: Path) -> str:
    return "current" if "current" in program.parts else "stable"


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


@pytest.mark.parametrize("phase", range(3))
@pytest.mark.parametrize("slug", SLUGS)
def test_the_same_alerts_fire_where_each_third_scrape_fails(slug: str, phase: int, tmp_path: Path) -> None:
    rules = promtool.without_annotations(read(RULES / f"{slug}.yml"))
    said = promtool.run(
        PROMTOOL, tmp_path, rules, promtool.test_file_with_gaps(read(TESTS / f"{slug}.yml"), phase)
    )
    assert said.status == 0, said.text


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


def never(one: dict[str, Any]) -> dict[str, Any]:
    return one | {"expr": f"({one['expr']}) unless ({one['expr']})"}


def at_once(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != "for"}


def not_kept(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != "keep_firing_for"}


def too_early(one: dict[str, Any]) -> dict[str, Any]:
    """Return the alert at three quarters of its threshold: "just below" is to be nearer than that."""
    return one | {"expr": re.sub(r"> 1\)", "> 0.75)", one["expr"])}


MUTATIONS = (never, at_once, not_kept, too_early)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: str(mutate.__name__))
@pytest.mark.parametrize("slug", SLUGS)
def test_the_tests_fail_where_a_rule_is_changed(slug: str, mutate: Any, tmp_path: Path) -> None:
    (group,) = read(RULES / f"{slug}.yml")["groups"]
    changed = [mutate(one) if "alert" in one else one for one in group["rules"]]
    names = {one["alert"] for one, other in zip(changed, group["rules"], strict=True) if one != other}
    test = read(TESTS / f"{slug}.yml")
    said = promtool.run(PROMTOOL, tmp_path, {"groups": [group | {"rules": changed}]}, test)
    assert names - {alert for alert, _ in said.failed} == set()


def test_the_notation_of_series_is_promtools_own() -> None:
    assert promtool.expand("1 2x2 0+10x2 5-1x1 _ _x3 stale -1.5 1e3x1") == [
        *("1", "2", "2", "2", "0", "10", "20", "5", "4", "_", "_", "_", "_", "stale", "-1.5", "1e3", "1e3")
    ]  # fmt: skip
    assert promtool.with_gaps('up{job="a"}', "1x5", 0) == "0 1 1 0 1 1"
    assert promtool.with_gaps("upper", "0+1x4 _ stale 7", 1) == "0 stale 2 3 stale _ stale stale"
    with pytest.raises(ValueError, match="1y3"):
        promtool.expand("1y3")
