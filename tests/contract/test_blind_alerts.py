"""MlflowMonitoringBlind names the alerts that its collector blinds: those whose rules read what the collector gives."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import promql_parser as promql
import pytest

from exporter.plan import NAMES
from tests.contract.declared import collectors_of
from tests.contract.rules import Rule, alerts, recorded, selectors

pytestmark = [pytest.mark.contract, pytest.mark.pack]

# `{{- if match "^(a|b)$" $labels.collector }} MlflowX{{ end }}`: one alert a line, after what blinds it.
LINE = re.compile(r'if match "\^\(([^)]+)\)\$" \$labels\.collector }} (Mlflow\w+){{ end }}')
NO_ALERT = re.compile(r'if match "\^\(([^)]+)\)\$" \$labels\.collector }} no alert')
# The probes that need a login, and so may be refused for a reason of their own; /health needs none.
WITH_LOGIN = ("api", "database", "version")


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
    for one in selector.matchers.matchers:
        if one.name == label:
            same = bool(re.fullmatch(one.value, value)) if "~" in str(one) else one.value == value
            if same is ("!" in str(one.op) or one.op in (promql.MatchOp.NotEqual, promql.MatchOp.NotRe)):
                return False
    return True


def expected() -> dict[str, frozenset[str]]:
    return {
        alert.name: found
        for alert in alerts()
        if alert.labels["cause"] != "exporter" and (found := blinded_by(alert))
    }


def description() -> str:
    (blind,) = (alert for alert in alerts() if alert.name == "MlflowMonitoringBlind")
    return blind.annotations["description"]


def test_each_alert_is_named_after_exactly_the_collectors_that_it_reads() -> None:
    named = {alert: frozenset(collectors.split("|")) for collectors, alert in LINE.findall(description())}
    wanted = "\n".join(
        f'{{{{- if match "^({"|".join(sorted(found))})$" $labels.collector }}}} {alert}{{{{ end }}}}'
        for alert, found in sorted(expected().items())
    )
    assert named == expected(), f"it should be:\n{wanted}"


def test_a_collector_that_no_alert_reads_is_said_to_blind_none() -> None:
    everything = {*NAMES, *(f"probe:{probe}" for probe in WITH_LOGIN)}
    blinding = frozenset().union(*expected().values())
    (said,) = NO_ALERT.findall(description())
    assert frozenset(said.split("|")) == everything - blinding


def test_what_is_named_for_one_collector_can_still_be_read_on_a_phone() -> None:
    by_collector: defaultdict[str, list[str]] = defaultdict(list)
    for alert, collectors in expected().items():
        for collector in collectors:
            by_collector[collector].append(alert)
    longest = max((" ".join(found) for found in by_collector.values()), key=len)
    assert len(longest) < 350, longest
