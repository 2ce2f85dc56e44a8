"""What is written for a cluster: of the real schemas, restricted, with settings that exporters take, and one job."""

from __future__ import annotations

import argparse
import json
import re
from copy import deepcopy
from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml
from msgspec.structs import replace

from exporter import collectors
from exporter.cli import main
from exporter.pack import rules
from exporter.pack.directory import PackError
from exporter.pack.formats import prometheus
from exporter.pack.kubernetes import kubernetes, one_more
from exporter.pack.site import Kubernetes, Site
from exporter.plan import NAMES
from exporter.settings import Settings, add_flags, flags_of, load
from tests.contract.declared import series
from tests.contract.rules import ROOT
from tests.lab.schemas import documents

pytestmark = pytest.mark.contract

Json = dict[str, Any]
SITE = Site(
    job="ml",
    tracking_server="team-1",
    namespace="prod",
    labels={"team": "ml"},
    kubernetes=Kubernetes(
        user=10001,
        group=10002,
        server_url="https://mlflow.prod:8443",
        database_port=6432,
        secret="dsn-of-mlflow",
    ),
)
# What prometheus-operator adds to each target.
OPERATOR = {"namespace", "pod", "container", "endpoint", "service"}


@cache
def written() -> dict[str, str]:
    return kubernetes(SITE)


@cache
def parsed() -> tuple[Json, ...]:
    return tuple(
        one
        for path, text in written().items()
        if path.endswith(".yaml") and path != "sidecar-patch.yaml"
        for one in yaml.load_all(text, yaml.CSafeLoader)
    )


def objects(kind: str) -> list[Json]:
    return [deepcopy(one) for one in parsed() if one["kind"] == kind]


@cache
def schemas() -> Json:
    found: Json = json.loads((ROOT / "tests/golden/kubernetes-schemas.json").read_text())
    return found


def sidecar() -> Json:
    found: Json = yaml.safe_load(written()["sidecar-patch.yaml"])["spec"]["template"]
    return found


def deployment() -> Json:
    (found,) = objects("Deployment")
    template: Json = found["spec"]["template"]
    return template


def test_every_object_is_what_its_schema_allows() -> None:
    kinds = set()
    for one in documents():
        kind = f"{one['apiVersion']} {one['kind']}"
        faults = [
            f"{fault.json_path}: {fault.message[:200]}"
            for fault in _validator(schemas()[kind]).iter_errors(one)
        ]
        assert faults == [], f"{kind} {one.get('metadata')}; a new field: see tests/lab/schemas.py"
        kinds.add(kind)
    assert kinds == schemas().keys()


def _validator(schema: Json) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema)


def test_a_field_that_there_is_not_is_seen() -> None:
    (monitor,) = objects("ServiceMonitor")
    monitor["spec"]["endpoints"][0]["scrape_timeout"] = "10s"
    assert not _validator(schemas()["monitoring.coreos.com/v1 ServiceMonitor"]).is_valid(monitor)


def test_nested_routes_which_the_schema_takes_as_they_come_have_a_route_s_fields() -> None:
    spec = schemas()["monitoring.coreos.com/v1alpha1 AlertmanagerConfig"]["properties"]["spec"]["properties"]
    (config,) = objects("AlertmanagerConfig")
    for route in config["spec"]["route"]["routes"]:
        assert route.keys() <= spec["route"]["properties"].keys() | {"continue"}
        assert route["receiver"] in {one["name"] for one in config["spec"]["receivers"]}


@pytest.mark.parametrize(("template", "ids"), [(sidecar, (10001, 10002)), (deployment, (65532, 65532))])
def test_containers_run_as_the_restricted_standard_wants(template: Any, ids: tuple[int, int]) -> None:
    spec = template()["spec"]
    for container in spec["containers"]:
        context = {**spec.get("securityContext", {}), **container["securityContext"]}
        context.pop("fsGroup", None)
        # A group that is not written is 0, and then no process of another group can be read.
        assert (context.pop("runAsUser"), context.pop("runAsGroup")) == ids
        assert context == {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_a_secret_is_named_and_never_written() -> None:
    assert not objects("Secret")
    assert {"secretName": "dsn-of-mlflow", "defaultMode": 0o440} in [
        one.get("secret") for one in deployment()["spec"]["volumes"]
    ]


def settings_of_sidecar() -> Settings:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return load(None, {}, flags_of(parser.parse_args(sidecar()["spec"]["containers"][0]["args"])), NAMES)


def settings_of_deployment(tmp_path: Any) -> Settings:
    (config,) = (one for one in objects("ConfigMap") if "exporter.yml" in one["data"])
    (tmp_path / "dsn").touch()
    text = config["data"]["exporter.yml"].replace("/etc/mlflow-exporter/secret/dsn", "dsn")
    (tmp_path / "exporter.yml").write_text(text)
    return load(tmp_path / "exporter.yml", {}, {}, NAMES)


def test_sidecar_and_deployment_together_collect_everything_and_nothing_twice(tmp_path: Any) -> None:
    host, database = settings_of_sidecar(), settings_of_deployment(tmp_path)
    assert {*host.collectors} == {one.name for one in collectors.HOST}
    of_sqlite = {one.name for one in collectors.SQLITE}
    assert {*database.collectors} == NAMES - {*host.collectors} - of_sqlite
    assert not host.probes.database
    assert database.probes.database
    assert (host.web.address[1], database.web.address[1]) == (10500, 10500)
    # At the server itself for the rules about its CPU, through the Service for those about the way.
    assert (host.probes.vantage, database.probes.vantage) == ("server", "cluster")
    assert database.server.url == "https://mlflow.prod:8443"


def test_all_targets_end_in_the_site_s_job_with_the_name_of_their_server() -> None:
    endpoints = {}
    for monitor in [*objects("PodMonitor"), *objects("ServiceMonitor")]:
        assert monitor["spec"]["podTargetLabels"] == ["tracking_server"]
        (endpoint,) = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
        (relabeling,) = endpoint["relabelings"]
        assert relabeling["targetLabel"] == "job"
        endpoints[monitor["metadata"]["name"]] = relabeling["replacement"]
    assert endpoints == {
        "mlflow-exporter-team-1-sidecar": "ml",
        "mlflow-exporter-team-1": "ml",
        "mlflow-server-team-1": "ml-server",
    }
    for template in (sidecar(), deployment()):
        assert template["metadata"]["labels"]["tracking_server"] == "team-1"
    jobs = [one["job_name"] for one in yaml.safe_load(prometheus(SITE)["prometheus.yml"])["scrape_configs"]]
    assert jobs == ["ml", "ml-server"]


def test_selectors_find_what_is_written() -> None:
    labels = {"sidecar": sidecar()["metadata"]["labels"], "database": deployment()["metadata"]["labels"]}
    (service,), (monitor,), (policy,) = (
        objects("Service"),
        objects("ServiceMonitor"),
        objects("NetworkPolicy"),
    )
    assert service["spec"]["selector"].items() <= labels["database"].items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels["database"].items()
    assert not policy["spec"]["podSelector"]["matchLabels"].items() <= labels["sidecar"].items()
    for one in objects("PodMonitor"):
        assert one["spec"]["selector"]["matchLabels"].items() <= labels["sidecar"].items()
    (port,) = service["spec"]["ports"]
    for template in (sidecar(), deployment()):
        (given,) = template["spec"]["containers"][0]["ports"]
        assert given == {"name": monitor["spec"]["endpoints"][0]["port"], "containerPort": port["port"]}


def test_the_server_s_and_the_database_s_ports_are_let_through() -> None:
    (policy,) = objects("NetworkPolicy")
    assert [one["ports"][0]["port"] for one in policy["spec"]["egress"][1:]] == [8443, 6432]


def test_the_policy_says_who_else_is_to_be_let_in_for_the_runbooks_and_it_is_valid_then() -> None:
    text = written()["network-policy.yaml"]
    assert "kubectl -n prod port-forward service/mlflow-exporter-team-1 " in text
    policy = yaml.safe_load(re.sub(r"(?m)^( +)# (- namespace|    match)", r"\1\2", text))
    spaces = [one["namespaceSelector"]["matchLabels"] for one in policy["spec"]["ingress"][0]["from"]]
    assert [*spaces[0].values(), *spaces[1].values()] == ["monitoring", "ingress-nginx"]
    assert _validator(schemas()["networking.k8s.io/v1 NetworkPolicy"]).is_valid(policy)


def test_each_alert_has_the_namespace_by_which_the_operator_routes() -> None:
    (config,) = objects("AlertmanagerConfig")
    written_rules = [
        rule
        for one in objects("PrometheusRule")
        for group in one["spec"]["groups"]
        for rule in group["rules"]
    ]
    found = {rule["labels"].get("namespace") for rule in written_rules if "alert" in rule}
    assert found == {config["metadata"]["namespace"]} == {"prod"}
    assert {rule["labels"]["team"] for rule in written_rules if "alert" in rule} == {"ml"}
    assert not [rule for rule in written_rules if "record" in rule and "namespace" in rule.get("labels", {})]


def test_a_rule_object_holds_what_the_file_for_prometheus_does_with_its_comments() -> None:
    for name, text in rules.of(replace(SITE, labels={"namespace": "prod", "team": "ml"})).items():
        one = written()[f"rules/{name.replace('.yml', '.yaml')}"]
        assert yaml.load(one, yaml.CSafeLoader)["spec"] == yaml.load(text, yaml.CSafeLoader)
        assert one.count("#") == text.count("#")


def test_each_dashboard_is_a_config_map_that_grafana_s_sidecar_finds() -> None:
    boards = [one for one in objects("ConfigMap") if "labels" in one["metadata"]]
    assert len(boards) == len(list((ROOT / "dashboards").glob("*.json")))
    for one in boards:
        ((name, text),) = one["data"].items()
        assert json.loads(text) == json.loads(
            (ROOT / "dashboards" / name.removeprefix("mlflow-")).read_text()
        )
        assert len(text) < 1_000_000, "a ConfigMap holds a mebibyte"


def test_what_is_applied_together_are_all_resources_but_what_is_apart() -> None:
    resources = yaml.safe_load(written()["kustomization.yaml"])["resources"]
    files = {path for path in written() if path.endswith(".yaml")}
    assert files - {*resources} == {
        "kustomization.yaml",
        "sidecar-patch.yaml",
        "optional/mlflow-metrics.yaml",
    }


def test_no_metric_has_a_label_that_the_operator_gives_its_targets() -> None:
    assert {
        name for name, one in series().items() if name.startswith("mlflow_") and one.labels & OPERATOR
    } == set()


def identities(files: dict[str, str]) -> set[tuple[str, str, str]]:
    return {
        (one["kind"], one["metadata"]["namespace"], one["metadata"]["name"])
        for path, text in files.items()
        if path.endswith(".yaml") and path not in ("sidecar-patch.yaml", "kustomization.yaml")
        for one in yaml.load_all(text, yaml.CSafeLoader)
    }


def selecting(files: dict[str, str]) -> dict[str, Json]:
    """Return what each object selects, by kind, and the labels of pods and of the Service."""
    found: dict[str, Json] = {"sidecar": yaml.safe_load(files["sidecar-patch.yaml"])["spec"]["template"]}
    for path in ("exporter.yaml", "monitors.yaml", "network-policy.yaml", "optional/mlflow-metrics.yaml"):
        for one in yaml.safe_load_all(files[path]):
            found[f"{one['kind']} {path}"] = one
    return found


def test_a_second_server_replaces_nothing_of_the_first_and_brings_no_rule_again() -> None:
    first, second = written(), one_more(replace(SITE, tracking_server="team-2"))
    assert not identities(first) & identities(second)
    assert {kind for kind, _, _ in identities(second)} == {
        *("ConfigMap", "Deployment", "Service", "NetworkPolicy", "PodMonitor", "ServiceMonitor")
    }
    assert not [path for path in second if path.startswith(("rules/", "dashboards/", "alertmanager"))]
    listed = yaml.safe_load(second["kustomization.yaml"])["resources"]
    assert {*listed} <= second.keys() <= first.keys()


def test_each_server_s_objects_select_that_server_s_alone() -> None:
    ours, theirs = (selecting(one_more(replace(SITE, tracking_server=name))) for name in ("team-1", "team-2"))
    labels = [
        found[of]["metadata"]["labels"]
        if of == "sidecar"
        else found[of]["spec"]["template"]["metadata"]["labels"]
        for found in (ours, theirs)
        for of in ("sidecar", "Deployment exporter.yaml")
    ]
    labels += [found["Service exporter.yaml"]["metadata"]["labels"] for found in (ours, theirs)]
    for name, one in ours.items():
        spec = one.get("spec", {})
        chosen = spec.get("selector") or spec.get("podSelector")
        if name != "sidecar" and chosen:
            wanted = chosen.get("matchLabels", chosen)
            selected = [each["tracking_server"] for each in labels if wanted.items() <= each.items()]
            assert {*selected} == {"team-1"}, name


def test_a_server_after_which_no_object_can_be_named_is_refused(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Team_1", "a.b", "a" * 40):
        with pytest.raises(PackError, match="tracking_server: found"):
            kubernetes(replace(SITE, tracking_server=name))
    assert (
        max(len(name) for _, _, name in identities(one_more(replace(SITE, tracking_server="a" * 39)))) <= 63
    )
    options = ["--format", "kubernetes", "--tracking-server", "Team_1"]
    assert main(["pack", str(tmp_path / "pack"), *options]) == 1
    assert "at most 39 of a-z, 0-9 and -" in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


def test_the_command_says_what_comes_before_it_is_applied(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", str(tmp_path / "pack"), "--format", "kubernetes-server"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [line.partition(":")[0] for line in lines]
    assert starts[1:] == ["Image", "First", "Apply", "Sidecar"]
    (created,) = (line for line in lines if line.startswith("First"))
    assert "create secret generic mlflow-exporter-main --from-file=dsn" in created
    assert 'secret: {secretName: "mlflow-exporter-main"' in (tmp_path / "pack/exporter.yaml").read_text()


def test_the_command_writes_it(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(tmp_path / "pack"), "--format", "kubernetes", "--namespace", "prod"]) == 0
    assert f"kubectl apply --server-side -k {tmp_path}/pack" in capsys.readouterr().out
    assert (tmp_path / "pack/rules/connections.yaml").exists()
