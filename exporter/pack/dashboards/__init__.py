"""The dashboards: built from the metrics' declarations and the alerts' rules, as files for Grafana."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.pack.dashboards.dashboard import Dashboard


def files() -> dict[str, str]:
    """Return each dashboard's JSON by the name of its file."""
    from exporter.pack.dashboards.pages import DASHBOARDS  # noqa: PLC0415 - they have the thresholds of that moment

    return {f"{one.name}.json": text(one) for one in DASHBOARDS}


def text(one: Dashboard) -> str:
    return json.dumps(one.json(), indent=1, ensure_ascii=False) + "\n"
