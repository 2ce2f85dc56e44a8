"""What a pack consists of for a cluster with prometheus-operator and Grafana's sidecar of dashboards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import yaml
from msgspec.structs import asdict, replace

from exporter import collectors
from exporter.pack import routes, rules, runbooks
from exporter.pack.directory import PackError
from exporter.pack.formats import addressed, dashboards
from exporter.pack.site import Site
from exporter.samplers.load import LoadSampler

MANIFESTS = Path(__file__).with_name("manifests")
# Not among what is applied at once: a patch of an object that is not ours, and what only some servers have.
APART = {"sidecar-patch.yaml": "sidecar-patch.yaml", "mlflow-metrics.yaml": "optional/mlflow-metrics.yaml"}
ROUTES = "alertmanager-config.yaml"
# A Service's name has 63 at most, and the longest of ours has 24 before and behind.
OBJECT = re.compile(r"[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?")
APPLY = """# kubectl apply --server-side -k .
# On the server's side, as a client's apply keeps a copy of each object in an annotation, for which a dashboard may be
# too large.
"""


def kubernetes(site: Site) -> dict[str, str]:
    """Return the text of each file by its path: what every cluster has once, and what the site's server has."""
    applied, apart = _of_server(site)
    applied |= _of_all(site)
    pages = {f"runbooks/{name}": addressed(text, site) for name, text in runbooks.of(site).items()}
    return applied | _kustomization(applied) | apart | pages


def one_more(site: Site) -> dict[str, str]:
    """Return what one more tracking server needs; rules, routes and boards are there and are for all."""
    applied, apart = _of_server(site)
    return applied | _kustomization(applied) | apart


def _of_server(site: Site) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is applied for the server, named after it, and what is not among it."""
    words = _words(site)
    found = {
        file.name: Template(file.read_text(encoding="utf-8")).substitute(words)
        for file in sorted(MANIFESTS.glob("*.yaml"))
        if file.name != ROUTES
    }
    apart = {path: found.pop(name) for name, path in APART.items()}
    return found, apart


def _of_all(site: Site) -> dict[str, str]:
    comment = Template((MANIFESTS / ROUTES).read_text(encoding="utf-8")).substitute(asdict(site))
    found = {
        ROUTES: comment
        + _text(
            "monitoring.coreos.com/v1alpha1", "AlertmanagerConfig", "mlflow", site, spec=routes.operated(site)
        ),
        "alertmanager-templates.yaml": _config_map(
            "alertmanager-templates", "mlflow.tmpl", routes.templates(site), site
        ),
    }
    for name, text in rules.of(replace(site, labels={"namespace": site.namespace, **site.labels})).items():
        slug = name.removesuffix(".yml")
        found[f"rules/{slug}.yaml"] = _rule(slug, addressed(text, site), site)
    for name, text in dashboards(site).items():
        short = json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False) + "\n"
        board = name.removesuffix(".json")
        found[f"dashboards/{board}.yaml"] = _config_map(f"dashboard-{board}", f"mlflow-{name}", short, site)
    return found


def _kustomization(applied: Mapping[str, str]) -> dict[str, str]:
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(applied),
    }
    return {"kustomization.yaml": APPLY + yaml.safe_dump(kustomization, sort_keys=False)}


def names(site: Site) -> tuple[str, str]:
    """Return how the exporter's objects and its Secret are called; raises PackError where they could not be."""
    if not OBJECT.fullmatch(site.tracking_server):
        raise PackError(
            f"tracking_server: found {site.tracking_server!r}, allowed for Kubernetes, whose objects are named after "
            "it, at most 39 of a-z, 0-9 and - (first and last no -)"
        )
    exporter = f"mlflow-exporter-{site.tracking_server}"
    return exporter, site.kubernetes.secret or exporter


def _words(site: Site) -> dict[str, object]:
    exporter, secret = names(site)
    server = urlsplit(site.kubernetes.server_url)
    database = (*(one.name for one in collectors.POSTGRES), LoadSampler.name)
    return {
        **asdict(site),
        **asdict(site.kubernetes),
        "exporter": exporter,
        "secret": secret,
        "server_port": server.port or {"https": 443}.get(server.scheme, 80),
        "host_collectors": ",".join(one.name for one in collectors.HOST),
        "database_collectors": ", ".join(database),
    }


def _text(version: str, kind: str, name: str, site: Site, **rest: Any) -> str:
    labels = {"release": site.kubernetes.release} if "monitoring" in version else {}
    metadata: dict[str, Any] = {"name": name, "namespace": site.namespace} | (
        {"labels": labels} if labels else {}
    )
    return yaml.safe_dump(
        {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}, sort_keys=False
    )


def _rule(slug: str, text: str, site: Site) -> str:
    """Return the rules as they are, comments too, one level deeper."""
    return (
        _text("monitoring.coreos.com/v1", "PrometheusRule", f"mlflow-{slug}", site)
        + "spec:\n"
        + _deeper(text, 2)
    )


def _config_map(name: str, key: str, text: str, site: Site) -> str:
    head = yaml.safe_load(_text("v1", "ConfigMap", f"mlflow-{name}", site))
    if name.startswith("dashboard-"):  # what Grafana's sidecar looks for, and the folder that it makes
        head["metadata"] |= {
            "labels": {"grafana_dashboard": "1"},
            "annotations": {"grafana_folder": "MLflow"},
        }
    return yaml.safe_dump(head, sort_keys=False) + f"data:\n  {key}: |\n" + _deeper(text, 4)


def _deeper(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}" if line.strip() else line for line in text.splitlines(keepends=True))
