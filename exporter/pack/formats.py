"""What a pack consists of, file by file: for Prometheus and Alertmanager, and for Grafana."""

from __future__ import annotations

import re

from msgspec.structs import replace

from exporter.pack import RUNBOOKS, alerts, clusters, provisioning, routes, rules, runbooks
from exporter.pack.dashboards import limits
from exporter.pack.dashboards.pages import files as boards
from exporter.pack.site import Site

# What a site changes nothing in but addresses and names. Tests are ours, and runbooks are pages.
COPIED = ("prometheus.yml", "watchdog.yml", "inputs/*.yml")
# `job_name: mlflow-server`, `job: mlflow`, `tracking_server: main`, and in a comment both in quotes.
NAMED = re.compile(
    r"(?P<before>\b(?:job|job_name|tracking_server): |`)(?P<word>mlflow|main)(?=-server$|$|`)", re.MULTILINE
)


def prometheus(site: Site) -> dict[str, str]:
    """Return the text of each file by its path; the runbooks too where they are not those that are shipped.

    Comments stay, since the reasons for each number are among them.
    """
    found = {
        file.relative_to(alerts()).as_posix(): file.read_text(encoding="utf-8")
        for pattern in COPIED
        for file in sorted(alerts().glob(pattern))
    }
    found = {path: named(text, site) for path, text in found.items()}
    found["alertmanager.yml"] = routes.alertmanager(site)
    found["templates/mlflow.tmpl"] = routes.templates(site)
    found |= {f"rules/{name}": text for name, text in rules.of(site).items()}
    found |= {f"runbooks/{name}": text for name, text in runbooks.of(site).items()}
    return {path: addressed(text, site) for path, text in found.items()}


def grafana(site: Site) -> dict[str, str]:
    """Return the dashboards, and the files with which Grafana loads them, text by path below `dashboards/`."""
    found = dashboards(site) | {
        f"provisioning/{file.name}": file.read_text(encoding="utf-8") for file in provisioning().glob("*.yml")
    }
    return {f"dashboards/{path}": text for path, text in sorted(found.items())}


def dashboards(site: Site) -> dict[str, str]:
    """Return each dashboard by its file's name, with the limits of the site; those of excluded alerts too."""
    changed = rules.of(replace(site, exclude=())) if site.thresholds or site.severities else {}
    with limits.of(changed):
        found = {name: addressed(text, site) for name, text in boards().items()}
    label = site.cluster_label
    return {name: clusters.board(text, label) for name, text in found.items()} if label else found


def named(text: str, site: Site) -> str:
    """Return a file's text with the site's job and tracking server, where it gives them to series or tells of them."""
    words = {"mlflow": site.job, "main": site.tracking_server}
    return NAMED.sub(lambda found: found["before"] + words[found["word"]], text)


def addressed(text: str, site: Site) -> str:
    """Return a file's text with the site's addresses in its links.

    Runbooks are at `<base>/<slug>#<alert>`; without a base in the tagged repository. Without Grafana's own the links
    to boards stay relative, and notifications omit such.
    """
    if site.runbook_url:  # a dashboard's link may have a variable for the slug
        text = re.sub(re.escape(RUNBOOKS) + r"/([\w-]+|\$\{[\w.]+\})\.md", rf"{site.runbook_url}/\1", text)
    if site.grafana_url:
        text = re.sub(r"""(\bdashboard_url:\s+(?:[>|]-?\s+)?["']?)/d/""", rf"\1{site.grafana_url}/d/", text)
    return text
