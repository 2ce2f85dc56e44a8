"""The containers of docker-compose.yml, and what they answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import requests
import yaml

from tests.compose.engine import Engine
from tests.lab.tools import ROOT

SERVICES = ("postgres", "mlflow", "exporter", "prometheus", "alertmanager", "receiver")
EXPORTER, PROMETHEUS, ALERTMANAGER, RECEIVER = (
    f"http://127.0.0.1:{port}" for port in (10500, 9090, 9093, 8080)
)


class Site:
    """The compose file's containers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.text = (ROOT / "docker-compose.yml").read_text()
        self.file = yaml.safe_load(self.text)
        self.routes = self.cover("alerts/alertmanager.yml")
        self.keys = self.cover("receivers")

    def cover(self, path: str) -> Path:
        """Put a copy over what people edit, seen by us and our engine alone: our mounts are a namespace.

        A directory's is empty: it may hold the keys of a site.
        """
        copy = self.engine.directory / Path(path).name
        if (ROOT / path).is_dir():
            copy.mkdir()
        else:
            shutil.copy(ROOT / path, copy)
        subprocess.run(["mount", "--bind", copy, ROOT / path], check=True)
        return copy

    def images(self) -> set[str]:
        """Return the public images that the file runs or builds from."""
        built = re.findall(
            r"^FROM (\S+:\S+)",
            (ROOT / "exporter/Dockerfile").read_text()
            + (ROOT / "exporter/compose/mlflow.Dockerfile").read_text(),
            re.MULTILINE,
        )
        return {*built, *(one["image"] for one in self.file["services"].values() if "build" not in one)}

    def compose(self, *arguments: str, **env: str) -> str:
        where = ["--project-directory", str(ROOT), "--file", str(ROOT / "docker-compose.yml")]
        return self.engine.compose("--project-name", "site", *where, *arguments, env=env)

    def inspect(self, service: str) -> dict[str, object]:
        found: list[dict[str, object]] = json.loads(self.engine.docker("inspect", f"site_{service}_1"))
        return found[0]

    def run(self, service: str, *command: str) -> str:
        return self.engine.docker("exec", f"site_{service}_1", *command)

    def healthy(self) -> bool:
        states = self.engine.docker("ps", "--format", "{{.Names}} {{.Status}}").splitlines()
        up = {state.split()[0] for state in states if "(healthy)" in state}
        return {f"site_{service}_1" for service in SERVICES} <= up

    def value(self, query: str) -> float | None:
        answer = requests.get(f"{PROMETHEUS}/api/v1/query", params={"query": query}, timeout=10).json()
        found = answer["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def reads(self) -> bool:
        """Say whether all is scraped, and all that the exporter reads for MLflow and Postgres is there."""
        try:
            up = self.value("min(up)"), self.value("count(up)")
            read = self.value("min(mlflow_exporter_collector_success)"), self.value("min(mlflow_db_up)")
            return up == (1, 2) and read == (1, 1) and self.value("min(mlflow_server_up)") == 1
        except (requests.RequestException, KeyError):
            return False

    def firing(self) -> list[str]:
        alerts = requests.get(f"{PROMETHEUS}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return sorted({f"{one['labels']['alertname']} ({one['state']})" for one in alerts})

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "30") + self.compose("ps")


def page() -> str:
    return requests.get(RECEIVER, timeout=10).text


def routes() -> str:
    try:
        return str(requests.get(f"{ALERTMANAGER}/api/v2/status", timeout=10).json()["config"]["original"])
    except requests.RequestException:
        return ""
