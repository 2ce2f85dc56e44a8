"""Time-lapse divides durations and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.lab import timelapse

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "shrunk"),
    [
        ("5m", "30000ms"),
        ("1h30m", "540000ms"),
        ("15s", "1500ms"),
        ("1d", "8640000ms"),
        ("5ms", "1ms"),
        ("0s", "0ms"),
    ],
)
def test_a_duration_is_divided_and_never_becomes_nothing(text: str, shrunk: str) -> None:
    assert timelapse.duration(text, 10) == shrunk


@pytest.mark.parametrize(
    ("promql", "shrunk"),
    [
        ("rate(a_total[5m])", "rate(a_total[30000ms])"),
        ("max_over_time(rate(a[5m])[1h:1m])", "max_over_time(rate(a[30000ms])[360000ms:6000ms])"),
        ("max_over_time(a[1h:])", "max_over_time(a[360000ms:])"),
        ("a offset 30m - a offset -1h", "a offset 180000ms - a offset -360000ms"),
        ("predict_linear(a[1h], 3600) > 0.8", "predict_linear(a[360000ms], 3600) > 0.8"),
    ],
)
def test_ranges_subqueries_and_offsets_are_divided(promql: str, shrunk: str) -> None:
    assert timelapse.expression(promql, 10) == shrunk


@pytest.mark.parametrize(
    "promql",
    [
        'a{le="0.5",window="5m"} > 1e5',
        "a{x='[5m]'} / 1.5 * 0x5d",
        "a{x=`5m`} # 5m of it",
        'label_replace(a, "b", "5m", "c", "\\"[5m]")',
        "rate5m + mlflow:errors:ratio_rate5m * 5",
    ],
)
def test_texts_names_numbers_and_comments_stay(promql: str) -> None:
    assert timelapse.expression(promql, 10) == promql


def test_of_an_annotation_only_the_queries_are_divided() -> None:
    text = "For 5 minutes [5m] {{ with query \"rate(a{b='5m'}[5m] offset 1h)\" }}of 5m{{ end }}"
    assert timelapse.annotation(text, 10) == text.replace("}[5m] offset 1h", "}[30000ms] offset 360000ms")


def test_every_duration_of_a_rule_is_divided_and_no_threshold() -> None:
    rule = {
        "alert": "A",
        "expr": "avg_over_time(a[5m]) > 5",
        "for": "2m",
        "keep_firing_for": "10m",
        "labels": {"severity": "warning"},
        "annotations": {"description": "5m"},
    }
    (group,) = timelapse.shrink({"groups": [{"name": "g", "interval": "1m", "rules": [rule]}]}, 10)["groups"]
    assert group["interval"] == "6000ms"
    assert group["rules"] == [
        rule | {"expr": "avg_over_time(a[30000ms]) > 5", "for": "12000ms", "keep_firing_for": "60000ms"}
    ]


def test_the_shipped_rules_keep_all_but_their_durations(tmp_path: Path) -> None:
    timelapse.rules(tmp_path, 1)
    for file in (timelapse.ALERTS / "rules").glob("*.yml"):
        shipped, same = (_rules(path) for path in (file, tmp_path / file.name))
        assert [rule.keys() for rule in shipped] == [rule.keys() for rule in same]
        assert [rule["labels"] for rule in shipped if "labels" in rule] == [
            rule["labels"] for rule in same if "labels" in rule
        ]


def test_whoever_is_notified_is_so_by_the_webhook() -> None:
    config = timelapse.alertmanager("http://127.0.0.1:1/", 10)
    told = {one["name"]: bool(one.get("webhook_configs")) for one in config["receivers"]}
    assert told["pager"] and told["chat"] and not told["nobody"] and not told["watchdog"]


def _rules(file: Path) -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
