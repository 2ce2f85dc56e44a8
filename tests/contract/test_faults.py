"""Each cause is made to happen, and what a fault promises exists."""

from __future__ import annotations

import re

import pytest

from exporter.causes import CAUSES
from tests.contract.rules import ROOT, SLUGS, alerts
from tests.faults.__main__ import known
from tests.faults.matrix import NOT_MADE

pytestmark = pytest.mark.contract

BROAD = ("server-resources", "connections", "database-size", "network-latency")


def test_every_cause_is_made_and_the_broad_ones_in_two_ways() -> None:
    made = [cause for fault in known() for cause in fault.causes]
    assert set(made) == set(SLUGS)
    assert all(made.count(slug) > 1 for slug in BROAD)


def test_two_pairs_of_causes_are_made_at_once() -> None:
    assert sum(len(fault.causes) == 2 for fault in known()) == 2


def test_what_a_fault_delivers_is_an_alert_of_its_causes_that_people_get() -> None:
    known_alerts = {rule.name: rule for rule in alerts()}
    for fault in known():
        for name in fault.delivers:
            assert known_alerts[name].slug in fault.causes, f"{fault}: {name}"
            assert known_alerts[name].labels["severity"] in {"critical", "warning"}, f"{fault}: {name}"
        assert fault.stays <= fault.shows, str(fault)
        assert fault.shows <= known_alerts.keys(), str(fault)
        assert fault.delivers | fault.shows, str(fault)


def test_every_alert_is_made_to_fire_or_it_is_said_why_not() -> None:
    made = {name for fault in known() for name in fault.delivers | fault.shows}
    assert made | NOT_MADE.keys() == {rule.name for rule in alerts() if rule.slug in SLUGS}
    assert not made & NOT_MADE.keys()


def test_the_readme_s_table_has_each_cause_with_its_runbook_in_order() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \|.*\| \[([\w-]+)\]\((\S+)\) \|$", (ROOT / "README.md").read_text("utf-8"), re.M
    )
    assert rows == [(slug, slug, f"alerts/runbooks/{slug}.md") for slug in SLUGS]
    assert all((ROOT / path).exists() for _, _, path in rows)


def test_names_of_faults_are_unique_and_the_ci_subset_is_small() -> None:
    names = [str(fault) for fault in known()]
    assert len(set(names)) == len(names)
    assert 3 <= sum(fault.ci for fault in known()) <= 6


def test_causes_lead_to_causes() -> None:
    assert all(set(cause.leads_to) <= set(SLUGS) - {cause.slug} for cause in CAUSES)
