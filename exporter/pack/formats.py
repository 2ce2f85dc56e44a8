"""What a pack consists of, file by file."""

from __future__ import annotations

import re

from exporter.pack import RUNBOOKS, alerts, provisioning
from exporter.pack.dashboards import files as dashboards

# Tests are ours, and runbooks are pages.
NOT_PACKED = ("tests", "runbooks")
SUFFIXES = (".yml", ".tmpl")


def prometheus(runbook_url: str = "", grafana_url: str = "") -> dict[str, str]:
    """Return the files for Prometheus and Alertmanager, text by relative path.

    `runbook_url` is the base at which the runbooks' pages are: `<base>/<slug>#<alert>`; empty means the tagged
    repository. `grafana_url` is Grafana's own; empty leaves the links to boards relative, and notifications omit
    such. Comments stay, since the reasons for each number are among them.
    """
    root = alerts()
    found = {file.relative_to(root): file for file in sorted(root.rglob("*")) if file.suffix in SUFFIXES}
    return {
        path.as_posix(): addressed(file.read_text(encoding="utf-8"), runbook_url, grafana_url)
        for path, file in found.items()
        if path.parts[0] not in NOT_PACKED
    }


def grafana(runbook_url: str = "") -> dict[str, str]:
    """Return the dashboards, and the files with which Grafana loads them, text by path below `dashboards/`."""
    found = dashboards() | {
        f"provisioning/{file.name}": file.read_text(encoding="utf-8") for file in provisioning().glob("*.yml")
    }
    return {f"dashboards/{path}": addressed(text, runbook_url, "") for path, text in sorted(found.items())}


def addressed(text: str, runbook_url: str, grafana_url: str) -> str:
    """Return a file's text with the site's addresses in its links."""
    if runbook_url:  # a dashboard's link may have a variable for the slug
        text = re.sub(re.escape(RUNBOOKS) + r"/([\w-]+|\$\{[\w.]+\})\.md", rf"{runbook_url}/\1", text)
    if grafana_url:
        text = re.sub(r"""(\bdashboard_url:\s+(?:[>|]-?\s+)?["']?)/d/""", rf"\1{grafana_url}/d/", text)
    return text
