"""MlflowMonitoringBlind names the alerts that its collector blinds: those whose rules read what the collector gives."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import promql_parser as promql
import pytest

from exporter import collectors
from exporter.plan import NAMES
from tests.contract.declared import collectors_of
from tests.contract.rules import Rule, alerts, fits, recorded, records, selectors

pytestmark = [pytest.mark.contract, pytest.mark.pack]

# `{{- else if eq "statements" $labels.collector }} MlflowX MlflowY`: a collector a line, with the alerts it blinds.
LINE = re.compile(r'if eq "([^"]+)" \$labels\.collector }}((?: Mlflow\w+)+)')
# The probes that need a login, and so may be refused for a reason of their own; /health needs none.
WITH_LOGIN = ("api", "database", "version")
# As the rule has them: what is read of the machine and not of a database.
HOST = "|".join(sorted(collector.name for collector in collectors.HOST))


def reads(expr: promql.Expr) -> Iterator[promql.VectorSelector]:
    """Give what an expression reads of the exporter, through the pack's records too."""
    for selector in selectors(expr):
        records = recorded(selector)
        for record in records:
            yield from reads(record.expr)
        if not records:
            yield selector


def blinded_by(alert: Rule) -> frozenset[str]:
    """Return the values of the label `collector` with which the alert cannot be relied on."""
    found: set[str] = set()
    for selector in reads(alert.expr):
        name = selector.name or ""
        if name.startswith("mlflow_probe_"):
            found.update(f"probe:{probe}" for probe in WITH_LOGIN if _accepts(selector, "probe", probe))
        elif not name.startswith("mlflow_exporter_"):
            found.update(collectors_of(name) & NAMES)
    return frozenset(found)


def _accepts(selector: promql.VectorSelector, label: str, value: str) -> bool:
    return all(fits(one, value) for one in selector.matchers.matchers if one.name == label)


def expected() -> dict[str, list[str]]:
    """Return by collector the alerts that it blinds; a source blinds all that reads it, which is said in words."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for alert in alerts():
        if alert.labels["cause"] != "exporter":
            for collector in blinded_by(alert):
                found[collector].append(alert.name)
    return {collector: sorted(names) for collector, names in sorted(found.items())}


def test_with_each_collector_exactly_the_alerts_are_named_that_read_it() -> None:
    (blind,) = (alert for alert in alerts() if alert.name == "MlflowMonitoringBlind")
    named = {collector: names.split() for collector, names in LINE.findall(blind.annotations["description"])}
    wanted = "\n".join(
        f'{{{{- else if eq "{collector}" $labels.collector }}}} {" ".join(names)}'
        for collector, names in expected().items()
    )
    assert named == expected(), f"it should be:\n{wanted}"


def listed(metric: str) -> set[str]:
    """Return the lists of collectors by which the rule selects a metric of them."""
    (pressure,) = (rule for rule in records() if rule.labels.get("signal") == "blind")
    return {
        one.value
        for selector in selectors(pressure.expr)
        if selector.name == metric
        for one in selector.matchers.matchers
        if "|" in one.value and one.name == "collector"
    }


def test_a_collector_that_no_alert_reads_blinds_nothing() -> None:
    idle = NAMES - expected().keys()
    assert listed("mlflow_exporter_collector_success") == {HOST, f"{HOST}|{'|'.join(sorted(idle))}"}


def test_what_is_read_of_the_machine_and_of_the_database_is_told_apart() -> None:
    assert listed("mlflow_exporter_collector_errors_total") == {HOST}


def test_what_an_alert_reads_is_found_through_the_records_of_its_file() -> None:
    by_name = {alert.name: blinded_by(alert) for alert in alerts()}
    assert by_name["MlflowConnectionsNearLimit"] == {"connections"}
    assert by_name["MlflowApiFailing"] == {"probe:api"}
    assert by_name["MlflowConnectionPoolExhausted"] == {"connections", "probe:api", "sockets", "workers"}
