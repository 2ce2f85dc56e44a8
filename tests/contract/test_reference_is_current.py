"""METRICS.md says what the code declares."""

from __future__ import annotations

from pathlib import Path

import pytest

import exporter
from exporter.reports.reference import reference

pytestmark = pytest.mark.contract


def test_metrics_md_is_what_the_declarations_make() -> None:
    committed = Path(exporter.__file__).with_name("METRICS.md").read_text(encoding="utf-8")
    assert committed == reference(), "run `mlflow-exporter reference exporter/METRICS.md`"
