"""What a pack consists of, file by file."""

from __future__ import annotations

import re

from exporter.pack import RUNBOOKS, alerts

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


def addressed(text: str, runbook_url: str, grafana_url: str) -> str:
    """Return a file's text with the site's addresses in the links of its alerts."""
    if runbook_url:
        text = re.sub(re.escape(RUNBOOKS) + r"/([\w-]+)\.md", rf"{runbook_url}/\1", text)
    if grafana_url:
        text = re.sub(r"""(\bdashboard_url:\s+(?:[>|]-?\s+)?["']?)/d/""", rf"\1{grafana_url}/d/", text)
    return text
