"""Alerts and dashboards as files for other programs: where they are, and how a site gets them with its addresses."""

from __future__ import annotations

from pathlib import Path

from exporter import __version__

REPOSITORY = "https://github.com/mlflow-exporter/mlflow-tracking-exporter"
TAG = f"v{__version__}"
# What stands before `<slug>.md#<alert>` in the rules as they are committed.
RUNBOOKS = f"{REPOSITORY}/blob/{TAG}/alerts/runbooks"


def alerts() -> Path:
    """Return the directory of rules, templates and configurations: a wheel's own copy, else the checkout's."""
    return _data("alerts")


def provisioning() -> Path:
    """Return the directory with what makes Grafana load the dashboards, likewise."""
    return _data("dashboards/provisioning")


def _data(path: str) -> Path:
    packaged = Path(__file__).with_name("data") / path
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / path
