"""docker-compose.yml is valid, complete and keeps what it says: what can be checked without an engine."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from exporter import __version__
from exporter.cli import main
from exporter.pack import REPOSITORY
from tests.contract.rules import ROOT

pytestmark = pytest.mark.contract

FILES = ROOT / "exporter/compose"
DOCKERFILES = (ROOT / "exporter/Dockerfile", FILES / "mlflow.Dockerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {name for name, service in SERVICES.items() if service["restart"] == "no"}
VERSION = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?[\w.-]*")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY", re.IGNORECASE)

each_service = pytest.mark.parametrize("name", SERVICES)


def files() -> list[Path]:
    """Return the files beside the compose file, and not what Python has compiled of them."""
    return [file for file in FILES.iterdir() if file.is_file()]


def derived(text: str) -> str:
    """Return what the setup makes of a shipped file."""
    done = subprocess.run(
        ["sed", "-f", FILES / "addresses.sed"], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_it_is_what_the_compose_specification_allows() -> None:
    file = distribution("check-jsonschema").locate_file(
        "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
    )
    schema = json.loads(Path(str(file)).read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert not [f"{error.json_path}: {error.message}" for error in validator.iter_errors(COMPOSE)]
    broken = COMPOSE | {"services": {"web": {"image": "web:1.0", "port": 80}}}
    assert list(validator.iter_errors(broken))


@each_service
def test_each_image_has_a_version(name: str) -> None:
    assert VERSION.fullmatch(SERVICES[name]["image"])


def test_each_image_that_is_built_from_has_a_version() -> None:
    for file in DOCKERFILES:
        built = re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)
        assert built
        assert all(VERSION.fullmatch(image) for image in built), file


def test_images_of_ours_have_the_version_of_the_project() -> None:
    ours = {service["image"] for service in SERVICES.values() if "tracking-exporter" in service["image"]}
    assert {image.partition(":")[2] for image in ours} == {__version__}
    labels = DOCKERFILES[0].read_text()
    assert f'image.version="{__version__}"' in labels
    assert f'image.source="{REPOSITORY}"' in labels
    assert f'image.description="{project()["description"]}"' in labels


def test_mlflow_s_image_has_the_version_that_the_tests_run() -> None:
    pinned = re.search(
        r"^mlflow==(\S+)", (ROOT / "tests/lab/mlflow-constraints.txt").read_text(), re.MULTILINE
    )
    assert pinned
    assert SERVICES["mlflow"]["image"].endswith(f":{pinned[1]}")


@each_service
def test_each_service_that_stays_says_whether_it_is_well(name: str) -> None:
    own = SERVICES[name].get("healthcheck", {})
    of_image = name in ("mlflow", "exporter")  # their Dockerfiles have one
    assert bool(own.get("disable")) == (name in ONCE)
    assert "test" in own or of_image or name in ONCE


def test_images_of_ours_have_a_health_check() -> None:
    assert all(re.search(r"^HEALTHCHECK .*\\\n +CMD", file.read_text(), re.MULTILINE) for file in DOCKERFILES)


@each_service
def test_no_service_has_a_right_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["CHOWN"] if name == "setup" else [])
    assert not service.keys() & {"privileged", "devices", "ipc", "userns_mode"}
    assert service.get("pid") == ("host" if name == "exporter" else None)
    assert service.get("network_mode") == ("none" if name == "setup" else None)
    assert not str(service.get("user", "1")).startswith("0") or name == "setup"


def test_the_exporter_is_of_the_user_of_mlflow_s_image() -> None:
    users = {re.findall(r"^USER (\S+)", file.read_text(), re.MULTILINE)[-1] for file in DOCKERFILES}
    assert users == {SERVICES["exporter"]["user"]}


@each_service
def test_each_file_that_is_mounted_is_there_and_read_only(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source, _, options = str(mount).split(":")[0], *str(mount).split(":", 1)
        if source.startswith("."):
            assert (ROOT / source).exists(), mount
            assert options.endswith(":ro"), mount
        else:
            assert source in COMPOSE["volumes"], mount


def test_a_script_that_an_image_runs_may_be_run() -> None:
    for script in FILES.glob("*.sh"):
        assert script.stat().st_mode & 0o111, script


def test_nothing_is_published_but_where_the_site_says() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 6
    assert all(port.startswith("${LISTEN:-127.0.0.1}:") for port in published)
    assert "ports" not in SERVICES["postgres"]


def test_no_secret_is_written_anywhere() -> None:
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            assert not SECRET.search(variable) or str(value).startswith("/run/secrets/"), variable
    text = (ROOT / "docker-compose.yml").read_text() + "".join(map(Path.read_text, files()))
    assert not re.search(r"://\w+:[^@\s/$]+@", text), "a password in an address"


def test_each_variable_has_a_value_where_it_is_not_set() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    variables = re.findall(r"(?<!\$)\$\{?(\w+)(:-)?", text)
    assert {name for name, default in variables if not default} == set()
    named = text.partition("services:")[0]
    unnamed = {name for name, _ in variables if name not in named}
    assert unnamed == {"POSTGRES_SHARED_BUFFERS", "POSTGRES_EFFECTIVE_CACHE_SIZE", "POSTGRES_WORK_MEM"}


def test_what_the_images_are_built_from_reaches_the_build() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    hatch = project_file()["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]
    needed = {"pyproject.toml", project()["readme"], *project()["license-files"], "tests/constraints.txt"}
    needed |= {path.removeprefix("/") for path in hatch}
    for file in DOCKERFILES:
        copied = re.findall(r"^COPY (?!--from)(\S+) ", file.read_text(), re.MULTILINE)
        needed |= {path for path in copied if path != "."}
    assert needed == kept
    assert all((ROOT / path).exists() for path in kept)


def test_a_wheel_has_no_file_of_the_images() -> None:
    excluded = project_file()["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    assert {"/exporter/Dockerfile", "/exporter/compose"} <= set(excluded)


def test_what_the_exporter_may_read_is_written_by_its_own_command_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup = (FILES / "setup.sh").read_text()
    (options,) = re.findall(r"^mlflow-exporter (grants .*) > /tmp/pack/grants\.sql$", setup, re.MULTILINE)
    assert main(options.split()) == 0
    printed = capsys.readouterr().out
    made = (FILES / "database.sh").read_text()
    for name in ("ROLE exporter", "DATABASE mlflow"):
        assert f"CREATE {name}" in made
        assert f'{name.split()[0]} "{name.split()[1]}"' in printed
    assert "CREATE ROLE" not in printed, "it is run at each `up`"
    assert not re.search(r"GRANT|LIMIT|EXTENSION", "".join(map(Path.read_text, files())))
    assert "--file /etc/mlflow/grants.sql" in SERVICES["grants"]["command"][0]


def test_prometheus_scrapes_and_notifies_containers() -> None:
    shipped = (ROOT / "alerts/prometheus.yml").read_text()
    config = yaml.safe_load(derived(shipped))
    targets = {one["job_name"]: one["static_configs"][0]["targets"] for one in config["scrape_configs"]}
    assert targets == {"mlflow": ["exporter:10500"], "mlflow-server": ["mlflow:5000"]}
    assert config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert "127.0.0.1" not in derived(shipped)
    assert {one for found in targets.values() for one in found} <= {
        f"{name}:{port}" for name, port in ports()
    }


def test_the_receiver_gets_what_people_are_to_be_notified_of() -> None:
    shipped = (ROOT / "alerts/alertmanager.yml").read_text()
    before, after = yaml.safe_load(shipped), yaml.safe_load(derived(shipped))
    chat = next(one for one in after["receivers"] if one["name"] == "chat")
    assert chat == {"name": "chat", "webhook_configs": [{"url": "http://receiver:8080/alerts"}]}
    chat.pop("webhook_configs")
    assert after == before


def test_alertmanager_has_each_file_that_a_receiver_may_name() -> None:
    (mount,) = (one for one in SERVICES["alertmanager"]["volumes"] if one.startswith("./receivers:"))
    _, target, _ = mount.split(":")
    named = re.findall(r"_file: (\S+)", (ROOT / "alerts/alertmanager.yml").read_text())
    assert named
    assert {str(Path(name).parent) for name in named} == {target}


def test_secrets_of_receivers_reach_neither_the_repository_nor_an_image() -> None:
    assert "/receivers/*" in (ROOT / ".gitignore").read_text().splitlines()
    assert "receivers" not in (ROOT / ".dockerignore").read_text()


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    provisioning = ROOT / "dashboards/provisioning"
    sources = yaml.safe_load(derived((provisioning / "datasources.yml").read_text()))
    assert [one["url"] for one in sources["datasources"]] == ["http://prometheus:9090"]
    boards = yaml.safe_load(derived((provisioning / "dashboards.yml").read_text()))
    environment = SERVICES["grafana"]["environment"]
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert boards["providers"][0]["options"]["path"] == str(home.parent)
    assert (ROOT / "dashboards" / home.name).exists()


def ports() -> set[tuple[str, str]]:
    return {
        (name, port.rpartition(":")[2])
        for name, service in SERVICES.items()
        for port in service.get("ports", [])
    }


def project() -> dict[str, Any]:
    found: dict[str, Any] = project_file()["project"]
    return found


def project_file() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
