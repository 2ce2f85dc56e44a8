"""`mlflow-exporter pack`: alerts and dashboards as files that Prometheus, Alertmanager and Grafana load."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from exporter.pack import directory
from exporter.pack.formats import grafana, prometheus
from exporter.pack.kubernetes import kubernetes, names, one_more
from exporter.pack.site import Kubernetes, Site, load

FORMATS: dict[str, Callable[[Site], dict[str, str]]] = {
    "kubernetes": kubernetes,
    "kubernetes-server": one_more,
    "grafana": grafana,
    "prometheus": prometheus,
    "": lambda site: prometheus(site) | grafana(site),
}


def pack(target: Path, format: str, options: Path | None, flags: Mapping[str, str]) -> int:
    """Write the pack and say how to load it; returns the exit status. Raises SettingsError for faulty options."""
    site = load(options, flags)
    try:
        files = FORMATS[format](site)
        directory.write(target, files)
    except directory.PackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"cannot write {target}: {error.strerror}\n")
        return 1
    rules = sum(path.startswith("rules/") for path in files)
    boards = sum(path.startswith("dashboards/") and "provisioning" not in path for path in files)
    sys.stdout.write(f"{len(files)} files in {target}, {rules} of them rules and {boards} dashboards.\n")
    sys.stdout.writelines(f"{line}\n" for line in said(target.absolute(), format, site))
    return 0


def said(target: Path, format: str, site: Site) -> list[str]:
    """Return what to do with the files, a line each."""
    found = []
    if format.startswith("kubernetes"):
        found += _said_of_cluster(target, format, site)
    if format in ("prometheus", ""):
        found += [
            f"Prometheus:    rule_files: [{target}/rules/*.yml], or the whole of prometheus.yml",
            f"Alertmanager:  --config.file={target}/alertmanager.yml, once its receivers at the end are yours",
        ]
    if format in ("grafana", ""):
        found.append(
            f"Grafana:       import {target}/dashboards/*.json, or load them as dashboards/provisioning says"
        )
    if site.thresholds and format not in ("grafana", "kubernetes-server"):
        where = f"at {site.runbook_url}, where links lead" if site.runbook_url else "and give --runbook-url"
        found.append(
            f"Runbooks:      {target}/runbooks has your thresholds: publish them {where};"
            " the repository and the exporter's own pages have the shipped ones"
        )
    return found


def _said_of_cluster(target: Path, format: str, site: Site) -> list[str]:
    _, secret = names(site)
    found = [
        f"First:         kubectl -n {site.namespace} create secret generic {secret} --from-file=dsn",
        f"Apply:         kubectl apply --server-side -k {target}",
        f"Sidecar:       kubectl -n {site.namespace} patch deployment mlflow --patch-file {target}/sidecar-patch.yaml",
    ]
    if site.kubernetes.image == Kubernetes().image:
        found.insert(
            0, f"Image:         {site.kubernetes.image} is in no registry: push yours, set kubernetes.image"
        )
    if format == "kubernetes":
        found += [
            "Yours to make: the receivers of alertmanager-config.yaml",
            "Next server:   rules, routes and boards are for all servers: --format kubernetes-server leaves them out",
        ]
    return found
