"""What a site changes is changed wherever it stands, and nothing else: in rules, runbooks, routes and texts."""

from __future__ import annotations

import re
from typing import Any

import promql_parser as promql
import pytest
import yaml

from exporter.pack import routes, rules, runbooks
from exporter.pack.dashboards import limits
from exporter.pack.formats import dashboards
from exporter.pack.runbooks import MARKED, told
from exporter.pack.shipped import alerts as shipped
from exporter.pack.site import OURS, Site, named
from tests.contract.rules import (
    ALERTS,
    ROOT,
    RULES,
    Rule,
    alerts,
    all_rules,
    groups,
    numbers,
    recorded,
    records,
    rule,
)
from tests.contract.runbooks import FENCE, THRESHOLD
from tests.contract.runbooks import runbooks as runbook_pages
from tests.contract.test_rules import compared, divisors, terms

pytestmark = [pytest.mark.contract, pytest.mark.pack]

NAMED = [(alert.name, name, signal) for alert in shipped().values() for name, signal in named(alert)]
# All thresholds at once, each another number than any that is shipped.
OTHER = {name: round(signal.threshold * 0.977, 9) for _, name, signal in NAMED}


def read(texts: dict[str, str]) -> list[Rule]:
    return [
        rule(name.removesuffix(".yml"), raw)
        for name, text in texts.items()
        for group in yaml.safe_load(text)["groups"]
        for raw in group["rules"]
    ]


@pytest.fixture(scope="module")
def other() -> list[Rule]:
    return read(rules.of(Site(thresholds=OTHER)))


def test_each_alert_compares_with_the_site_s_threshold_and_its_pressure_is_of_it(other: list[Rule]) -> None:
    before = {str(one): one for one in records()}
    after = {str(one): one for one in other if not one.is_alert}
    seen = set()
    for old, new in zip(alerts(), [one for one in other if one.is_alert], strict=True):
        for was, now in zip(terms(old.expr) if old.evidence else (), terms(new.expr), strict=old.evidence):
            (selector, factor), (_, wanted) = compared(was), compared(now)
            (name,) = (
                one for alert, one, signal in NAMED if alert == old.name and signal.threshold == factor
            )
            assert wanted == OTHER[name]
            seen.add(name)
            for record in recorded(selector):
                assert factor in divisors(before[str(record)].expr)
                assert wanted in divisors(after[str(record)].expr)
    assert seen == OTHER.keys()


def test_a_pressure_has_its_threshold_at_one_place_and_where_its_side_conditions_mean_it(
    other: list[Rule],
) -> None:
    """A number that is the threshold's by chance stays: so each that is changed is known here."""
    changed = {}
    for old, new in zip(records(), [one for one in other if not one.is_alert], strict=True):
        different = [now for was, now in zip(numbers(old.expr), numbers(new.expr), strict=True) if was != now]
        assert bool(different) == (old.name == "mlflow:pressure:ratio")
        if len(different) > 1:
            changed[old.labels["signal"]] = (
                len(different),
                len(set(different)),
                old.labels.get("horizon", ""),
            )
    assert changed == {
        **{"pool": (2, 1, ""), "exporter-down": (2, 1, ""), "run-rate": (2, 1, ""), "fds": (2, 1, "1h")},
        # Both stay quiet while files run out, which the threshold of another alert says.
        **{"cpu": (2, 1, ""), "accept-queue": (2, 2, "")},
    }


def test_a_condition_on_another_alert_s_evidence_has_that_alert_s_threshold() -> None:
    """Else there would be figures of open files at which nobody is told of anything, or of two things."""
    site = Site(thresholds={"MlflowOpenFilesNearLimit": 0.95, "MlflowServerCpuSaturated": 0.7})
    pressures = {
        one.labels["signal"]: numbers(one.expr)
        for one in read(rules.of(site))
        if one.slug == "server-resources" and one.name == "mlflow:pressure:ratio"
    }
    assert (0.7 in pressures["cpu"], 0.95 in pressures["cpu"], 0.8 in pressures["cpu"]) == (True, True, False)
    assert (0.95 in pressures["accept-queue"], 0.8 in pressures["accept-queue"]) == (True, False)
    text = rules.of(Site(thresholds={"MlflowOpenFilesNearLimit": 0.95}))["server-resources.yml"]
    assert text.count("# Of MlflowOpenFilesNearLimit here 0.95; 0.8 is shipped") == 2


def test_but_for_numbers_the_expressions_are_the_same(other: list[Rule]) -> None:
    def bare(expr: promql.Expr) -> str:
        return re.sub(r"(?<![\w\"])\d[\d.e-]*(?![\w\"])", "N", " ".join(expr.prettify().split()))

    assert [bare(one.expr) for one in other] == [bare(one.expr) for one in all_rules()]


def test_every_threshold_in_the_runbooks_can_be_said_with_another_number() -> None:
    site = Site(thresholds=OTHER)
    for name, text in runbooks.of(site).items():
        markers = [(alert, float(value)) for alert, value in THRESHOLD.findall(text)]
        for alert, value in markers:
            wanted = [OTHER[one] for of, one, _ in NAMED if of == alert]
            assert value in wanted or not wanted, f"{name}: {alert} {value}"


# Numbers that are a threshold's by chance, with what is before them.
BY_CHANCE = {
    ("connections", "below 0.5 and below 0.8"),  # of a pool
    ("database-configuration", "Dead rows in a live one. Good: below 0.2"),
    ("database-configuration", "(a free second is enough). Good: below 2 ms"),
    ("database-configuration", "(needs `track_wal_io_timing`). Good: below 2"),
    ("database-size", "(needs `track_io_timing`). Good: below 1"),
    ("logging-pattern", "whole epochs apart. Bad: 10"),  # steps of a run
    ("read-load", "nothing where there is none. Good: below 1"),  # seconds of a replica
    ("server-resources", "in cores. Good: below 0.5"),
    ("server-resources", "which have served big searches; or 1.5"),  # GB
}
NUMBER = re.compile(r"(?<![\w.,-])(?P<number>\d[\d.]*\d|\d)(?: (?:%|ms))?(?!,?\d|\w)")


def test_what_a_runbook_calls_good_or_bad_says_each_threshold_as_one() -> None:
    """Where no marker follows a number, the site's runbook would have the shipped number beside the site's own."""
    unmarked = set()
    for page in runbook_pages():
        said = {
            f"{signal.threshold * scale:.12g}{unit}"
            for alert in alerts()
            if alert.slug == page.slug
            for signal in shipped()[alert.name].thresholds.values()
            for unit, scale in (("", 1), (" %", 100), (" ms", 1000))
        }
        for text in re.split(r"\n\s*\n", FENCE.sub("", page.text)):
            row = MARKED.sub("", " ".join(text.split()))
            for found in NUMBER.finditer(row) if re.search(r"\b(Good|Bad)\b", row) else ():
                if {found[0], found["number"]} & said:
                    unmarked.add((page.slug, row[: found.end()]))
    chance = {
        (slug, text) for slug, text in unmarked for of, end in BY_CHANCE if of == slug and text.endswith(end)
    }
    assert unmarked - chance == set(), "mark it, or name it above as by chance"
    assert len(chance) == len(BY_CHANCE), "one is there no more"


def test_a_runbook_says_the_site_s_number_in_its_own_unit_and_the_shipped_one() -> None:
    site = Site(
        thresholds={
            "MlflowOpenFilesNearLimit": 0.7,
            "MlflowLockWaits": 2,
            "MlflowDatabaseRoundTripSlow": 0.01,
        }
    )
    before = (
        "above 80 % <!-- threshold MlflowOpenFilesNearLimit 0.8 -->, "
        "0.8 sessions <!-- threshold MlflowLockWaits 0.8 -->, "
        "4 ms <!-- threshold MlflowDatabaseRoundTripSlow 0.004 -->"
    )
    assert told(before, site) == (
        "above 70 % (as shipped: 80 %) <!-- threshold MlflowOpenFilesNearLimit 0.7 -->, "
        "2 sessions (as shipped: 0.8) <!-- threshold MlflowLockWaits 2 -->, "
        "10 ms (as shipped: 4 ms) <!-- threshold MlflowDatabaseRoundTripSlow 0.01 -->"
    )
    assert MARKED.search(before)


# How a text says the threshold, which is then the site's.
SAID = (("{:.12g} % allowed", 100), ("(more than {:.12g} is slow)", 1))


def test_a_text_that_says_its_threshold_says_the_site_s(other: list[Rule]) -> None:
    texts = {
        one.name: " ".join(str(one.annotations).replace("\\n", " ").split()) for one in other if one.is_alert
    }
    said = set()
    for alert, name, signal in NAMED:
        for form, scale in SAID:
            assert form.format(signal.threshold * scale) not in texts[alert]
            said |= {alert} if form.format(OTHER[name] * scale) in texts[alert] else set()
    budgets = {"MlflowApiErrorBudgetBurn", "MlflowApiLatencyBudgetBurn"}
    assert said == budgets | {"MlflowSearchScansRuns", "MlflowSlowForMissingIndex"}


@pytest.mark.parametrize("one", alerts(), ids=str)
def test_no_text_says_its_threshold_in_another_way(one: Rule) -> None:
    for signal in shipped()[one.name].thresholds.values():
        numbers_ = {f"{signal.threshold:g}", f"{signal.threshold * 100:g} %"} - {
            "1",
            "2",
        }  # of something else
        for key in ("summary", "description", "diagnosis", "fix"):
            text = " ".join(one.annotations[key].split())
            for form, scale in SAID:
                text = text.replace(form.format(signal.threshold * scale), "")
            for found in numbers_:
                assert not re.search(rf"(?<![\w.]){re.escape(found)}(?![\w.])", text)


def test_an_alert_s_thresholds_differ_so_that_a_marker_means_one() -> None:
    for alert in shipped().values():
        found = [signal.threshold for _, signal in named(alert)]
        assert len(found) == len(set(found))


def test_the_panels_of_one_site_are_no_other_site_s() -> None:
    """In any order, and after panels have been made."""
    shipped_boards = {file.name: file.read_text() for file in (ROOT / "dashboards").glob("*.json")}
    assert dashboards(Site()) == shipped_boards
    low, high = (
        dashboards(Site(thresholds={"MlflowOpenFilesNearLimit": value})) for value in (0.4321, 0.9876)
    )
    assert ("0.4321" in str(low), "0.9876" in str(low)) == (True, False)
    assert ("0.4321" in str(high), "0.9876" in str(high)) == (False, True)
    assert dashboards(Site()) == shipped_boards
    assert limits.threshold("MlflowOpenFilesNearLimit") == 0.8


def test_with_no_options_the_rules_and_routes_are_the_shipped_files() -> None:
    assert rules.of(Site()) == {file.name: file.read_text() for file in RULES.glob("*.yml")}
    assert routes.alertmanager(Site()) == (ALERTS / "alertmanager.yml").read_text()


def test_an_excluded_alert_is_gone_from_rules_texts_and_inhibition_and_its_neighbours_stay() -> None:
    gone = (
        "MlflowLockWaits",
        "MlflowReadsCrowdOutWrites",
        "MlflowStatementsNotTracked",
        "MlflowAutovacuumBehind",
    )
    site = Site(exclude=gone)
    left = read(rules.of(site))
    assert {one.name for one in left if one.is_alert} == {one.name for one in alerts()} - {*gone}
    assert [str(one) for one in left if not one.is_alert] == [str(one) for one in records()]
    (blind,) = (one for one in left if one.name == "MlflowMonitoringBlind")
    assert not [name for name in gone if name in blind.annotations["description"]]
    assert (
        '"server_info" $labels.collector }} no alert that is loaded here' in blind.annotations["description"]
    )
    inhibition = yaml.safe_load(routes.alertmanager(site))["inhibit_rules"]
    said = str(inhibition)
    assert not [name for name in gone if name in said]
    assert len(inhibition) == len(_shipped_inhibition()) - 2  # those of reads and of vacuum
    assert 'alertname="MlflowConnectionPoolExhausted"' in said


def _shipped_inhibition() -> list[Any]:
    found: list[Any] = yaml.safe_load((ALERTS / "alertmanager.yml").read_text())["inhibit_rules"]
    return found


def test_all_alerts_can_be_excluded() -> None:
    site = Site(exclude=tuple(shipped()))
    assert not [one for one in read(rules.of(site)) if one.is_alert]
    assert not yaml.safe_load(routes.alertmanager(site))["inhibit_rules"]


def test_an_alert_that_nobody_is_told_of_silences_none() -> None:
    site = Site(severities={"MlflowReadsCrowdOutWrites": "info", "MlflowDatabaseIoBound": "critical"})
    (changed,) = (one for one in read(rules.of(site)) if one.name == "MlflowReadsCrowdOutWrites")
    assert changed.labels["severity"] == "info"
    sources = [
        str(one["source_matchers"]) for one in yaml.safe_load(routes.alertmanager(site))["inhibit_rules"]
    ]
    assert len(sources) == len(_shipped_inhibition()) - 1
    assert not [one for one in sources if "MlflowReadsCrowdOutWrites" in one]


def test_every_alert_has_the_site_s_labels_beside_its_own() -> None:
    for old, new in zip(
        alerts(), [one for one in read(rules.of(Site(labels={"team": "a: b"}))) if one.is_alert], strict=True
    ):
        assert new.labels == {"team": "a: b", **old.labels}


def test_no_label_that_alerts_have_can_be_given_by_a_site() -> None:
    used = {label for one in (*alerts(), *records()) for label in one.labels}
    used |= {
        found for file in RULES.glob("*.yml") for found in re.findall(r"\$labels\.(\w+)", file.read_text())
    }
    assert used <= {*OURS}


def test_a_group_has_no_more_rules_than_mimir_s_ruler_takes_by_default() -> None:
    assert max(len(group["rules"]) for found in groups().values() for group in found) <= 20


def test_the_job_is_the_site_s_wherever_rules_name_it() -> None:
    text = "".join(rules.of(Site(job="ml")).values())
    assert 'up{job="ml"}' in text
    assert 'job="mlflow"' not in text
