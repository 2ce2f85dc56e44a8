"""The sidecar and the exporter of the database, with what the pack has them started with, beside a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from exporter.pack.kubernetes import kubernetes
from exporter.pack.site import Kubernetes, Site
from tests.lab.servers import Exporter, MlflowServer, Postgres, Prometheus, wait_for
from tests.lab.tools import ROOT

pytestmark = pytest.mark.integration

# Each second, and not each 15, so that there are rates soon.
OFTEN = ("--probes.interval=1", "--probes.timeout=1")


@dataclass(frozen=True)
class Split:
    sidecar: Exporter
    database: Exporter
    whole: Exporter
    prometheus: Prometheus


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    folder = tmp_path_factory.mktemp("pack")
    with Postgres(15) as postgres, ExitStack() as stack:
        uri = postgres.create_mlflow()
        server = stack.enter_context(MlflowServer(uri))
        files = kubernetes(Site(kubernetes=Kubernetes(server_url=server.url)))
        (folder / "dsn").write_text(uri)
        (folder / "dsn").chmod(0o600)
        (folder / "exporter.yml").write_text(
            config(files, "ConfigMap")["data"]["exporter.yml"].replace(
                "/etc/mlflow-exporter/secret/dsn", "dsn"
            )
        )
        patch = yaml.safe_load(files["sidecar-patch.yaml"])["spec"]["template"]["spec"]["containers"][0]
        port = f"--server.port={server.port}"  # others' tests have servers here too; a pod has one
        args = [one for one in patch["args"] if not one.startswith("--web.listen")]
        sidecar = stack.enter_context(Exporter([*args, port, *OFTEN]))
        database = stack.enter_context(Exporter(["--config", str(folder / "exporter.yml"), *OFTEN]))
        whole = stack.enter_context(Exporter([port, *OFTEN]))
        targets = {"sidecar-patch.yaml": sidecar, "exporter.yaml": database}
        prometheus = stack.enter_context(Prometheus(scraping(files, targets)))
        yield Split(sidecar, database, whole, prometheus)


def config(files: dict[str, str], kind: str) -> Any:
    return next(one for one in yaml.safe_load_all(files["exporter.yaml"]) if one["kind"] == kind)


def scraping(files: dict[str, str], exporters: dict[str, Exporter]) -> dict[str, Any]:
    """Return what an operator makes of the monitors, as far as labels go: the pods' own, then the relabeling."""
    monitors = list(yaml.safe_load_all(files["monitors.yaml"]))
    pods = {
        "sidecar-patch.yaml": yaml.safe_load(files["sidecar-patch.yaml"])["spec"]["template"],
        "exporter.yaml": config(files, "Deployment")["spec"]["template"],
    }
    scrapes = []
    for monitor, (file, exporter) in zip(monitors, exporters.items(), strict=True):
        spec = monitor["spec"]
        (endpoint,) = spec.get("podMetricsEndpoints") or spec["endpoints"]
        labels = {name: pods[file]["metadata"]["labels"][name] for name in spec["podTargetLabels"]}
        scrapes.append(
            {
                "job_name": f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}",
                "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"], "labels": labels}],
                "relabel_configs": [
                    {
                        "action": one["action"],
                        "target_label": one["targetLabel"],
                        "replacement": one["replacement"],
                    }
                    for one in endpoint["relabelings"]
                ],
            }
        )
    often = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return {"global": often, "rule_files": [f"{ROOT}/alerts/rules/*.yml"], "scrape_configs": scrapes}


def test_together_they_tell_what_one_that_does_everything_tells(split: Split) -> None:
    def missing() -> set[str]:
        sidecar, database, whole = (
            {one.name for one in exporter.samples()}
            for exporter in (split.sidecar, split.database, split.whole)
        )
        return whole - sidecar - database

    wait_for(lambda: not missing(), "each metric of one is one of the two", 30)


def test_the_sidecar_asks_the_database_nothing_and_the_other_reads_no_processes(split: Split) -> None:
    assert not [
        one for one in split.sidecar.samples() if one.name.startswith(("mlflow_db_", "mlflow_store_"))
    ]
    assert not [one for one in split.database.samples() if one.name.startswith("mlflow_server_")]
    assert split.sidecar.values("mlflow_server_up") == split.database.values("mlflow_db_up") == [1]


def test_rules_join_what_the_two_of_them_read_as_one_tracking_server(split: Split) -> None:
    """Of a used-up pool the workers' connections are one's and what the database does with them is the other's."""
    ask = 'mlflow:pressure:ratio{signal="pool"}'
    wait_for(lambda: bool(split.prometheus.query(ask)), "the pool's pressure is known", 40)
    (found,) = split.prometheus.query(ask)
    assert (found["metric"]["job"], found["metric"]["tracking_server"]) == ("mlflow", "main")
    servers = split.prometheus.query("count by (job, tracking_server) (mlflow:pressure:ratio)")
    assert [one["metric"] for one in servers] == [{"job": "mlflow", "tracking_server": "main"}]
    assert not split.prometheus.query('mlflow:pressure:ratio{signal="blind"} > 0')
