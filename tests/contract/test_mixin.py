"""mixin.libsonnet gives users of mixins the very files of this repository."""

from __future__ import annotations

import json
from typing import Any

import pytest
from _gojsonnet import evaluate_snippet

from tests.contract.rules import ROOT, groups

pytestmark = [pytest.mark.contract, pytest.mark.pack]


def field(name: str) -> Any:
    """Evaluate a field as the tools of mixins do, added to what a site has already."""
    path = json.dumps(str(ROOT / "mixin.libsonnet"))
    return json.loads(
        evaluate_snippet("site", f"({{prometheusAlerts+:: {{groups: []}}}} + (import {path})).{name}")
    )


def test_it_has_every_group_of_rules_as_it_is() -> None:
    assert field("prometheusAlerts") == {"groups": [group for found in groups().values() for group in found]}


def test_it_has_every_dashboard_as_it_is() -> None:
    files = sorted((ROOT / "dashboards").glob("*.json"))
    assert field("grafanaDashboards") == {file.name: json.loads(file.read_text("utf-8")) for file in files}
