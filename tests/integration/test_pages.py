"""What everybody may see of a real site: nobody's runs and nobody's names."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import requests

from exporter.runbooks import pages
from tests.lab.process import wait_for
from tests.lab.servers import Exporter, MlflowServer

pytestmark = pytest.mark.integration

# Each is what somebody might call something in MLflow.
NAMES = {
    "experiment": "experiment-Zq1",
    "run": "run-Zq2",
    "user": "user-Zq3",
    "param": "param-Zq4",
    "value": "value-Zq5",
    "metric": "metric-Zq6",
    "tag": "tag-Zq7",
    "artifact": "artifact-Zq8",
}


def use(mlflow: MlflowServer) -> None:
    """Log a run as a client does, with telling names, and search for it."""

    def post(what: str, **body: object) -> dict[str, dict[str, str]]:
        answer = requests.post(f"{mlflow.url}/api/2.0/mlflow/{what}", json=body, timeout=30)
        answer.raise_for_status()
        made: dict[str, dict[str, str]] = answer.json()
        return made

    experiment = str(post("experiments/create", name=NAMES["experiment"])["experiment_id"])
    tags = [{"key": "mlflow.user", "value": NAMES["user"]}, {"key": NAMES["tag"], "value": NAMES["value"]}]
    made = post(
        "runs/create",
        experiment_id=experiment,
        user_id=NAMES["user"],
        run_name=NAMES["run"],
        start_time=1,
        tags=tags,
    )
    run: str = made["run"]["info"]["run_id"]  # type: ignore[index]
    NAMES["id"] = run
    post("runs/log-parameter", run_id=run, key=NAMES["param"], value=NAMES["value"])
    post("runs/log-metric", run_id=run, key=NAMES["metric"], value=1.5, timestamp=1, step=1)
    post("runs/search", experiment_ids=[experiment], filter=f"params.`{NAMES['param']}` = '{NAMES['value']}'")


def test_no_page_tells_of_a_run_its_user_or_what_was_logged(mlflow: MlflowServer) -> None:
    use(mlflow)
    with Exporter(("--server.port", str(mlflow.port))) as exporter:
        wait_for(lambda: exporter.values("mlflow_db_up") == [1.0], "a scrape with the database")
        for path in ("/", "/metrics", "/-/healthy", "/-/ready", *pages()):
            text = exporter.get(path).text
            told = {what for what, name in NAMES.items() if name in text}
            assert not told, f"{path} tells {told}"
        assert "postgresql 127.0.0.1" in exporter.get("/").text


def test_a_hostile_address_in_the_settings_is_text_on_the_page() -> None:
    script = "<script>alert(1)"
    dsn = f"postgresql://u:p@127.0.0.1:1/{quote(script, safe='')}"
    with Exporter(("--server.port", "1"), {"MLFLOW_EXPORTER_DATABASE_DSN": dsn}) as exporter:
        text = exporter.get("/").text
        assert "&lt;script&gt;alert(1)" in text
        assert "<script" not in text
        assert "<script" not in requests.get(f"{exporter.url}/{script}", timeout=10).text
