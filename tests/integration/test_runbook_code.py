"""The Python of the runbooks runs as it stands, and a real tracking server sees what it says that it sees."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.contract.runbooks import Block, runbooks
from tests.lab import tools
from tests.lab.load import API, Load
from tests.lab.process import wait_for
from tests.lab.servers import MlflowServer, Postgres

pytestmark = pytest.mark.integration

# The first line of a block that logs: all that the server has to do with it, "at most" where time decides.
CLAIMS = re.compile(r"# The server sees: (?P<claims>[^\n]+)\.\n")
CLAIM = re.compile(r"(?P<bound>at most )?(?P<number>\d+) (?P<what>[a-z-]+)")
REQUEST = re.compile(
    r'"(?:POST|PUT) /api/2\.0/(?:mlflow/runs/(log-\w+)|(mlflow-artifacts)/artifacts/\S*) HTTP'
)
COUNTED = ("log-metric", "log-parameter", "log-batch", "uploads", "points", "parameters")

# It moves rows between two databases, and no server sees it: it has a test of its own.
MIGRATION = "SOURCE_URI"

BLOCKS = [
    pytest.param(page.slug, block, id=f"{page.slug}-{number}")
    for page in runbooks()
    for number, block in enumerate((one for one in page.blocks if one.kind == "python"), 1)
    if MIGRATION not in block.text
]


def run(code: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it with MLflow's own Python, as a training job without any other setting."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PYTHON"))
    }
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    script = directory / "job.py"
    script.write_text(code)
    return subprocess.run(
        [str(tools.mlflow().parent / "python"), str(script)],
        cwd=directory,
        env=inherited | quiet | {"HOME": str(directory), "TMPDIR": str(directory)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def rows(database: Postgres) -> Counter[str]:
    return Counter(
        {
            what: int(database.execute(f"SELECT count(*) FROM {table}", dbname="mlflow_shared")[0][0])
            for what, table in (("points", "metrics"), ("parameters", "params"))
        }
    )


def requests_in(log: str) -> Counter[str]:
    return Counter(call or "uploads" for call, _ in REQUEST.findall(log))


def fits(claims: str, seen: Counter[str]) -> bool:
    """Say whether exactly that was seen; what is not claimed must not be there."""
    said = {found["what"]: (int(found["number"]), bool(found["bound"])) for found in CLAIM.finditer(claims)}
    assert set(said) <= set(COUNTED), claims
    return all(
        0 < seen[what] <= number if bound else seen[what] == number
        for what in COUNTED
        for number, bound in [said.get(what, (0, False))]
    )


def test_a_claim_is_exact_and_what_is_not_claimed_is_none() -> None:
    assert fits("2 log-batch, 60 points", Counter({"log-batch": 2, "points": 60}))
    assert not fits("2 log-batch, 60 points", Counter({"log-batch": 3, "points": 60}))
    assert not fits("2 log-batch, 60 points", Counter({"log-batch": 2, "points": 60, "log-metric": 1}))
    assert fits("at most 3 log-batch", Counter({"log-batch": 2}))
    assert not fits("at most 3 log-batch", Counter())


@pytest.mark.parametrize(("slug", "block"), BLOCKS)
def test_a_block_of_python_does_what_it_says(
    slug: str, block: Block, mlflow: MlflowServer, postgres: Callable[[int], Postgres], tmp_path: Path
) -> None:
    before, start = rows(postgres(15)), len(mlflow.log())  # other tests use this server too

    done = run(block.text, tmp_path, MLFLOW_TRACKING_URI=mlflow.url)

    killed = -9 if "SIGKILL" in block.text else 0
    assert done.returncode == killed, done.stdout + done.stderr
    claims = CLAIMS.match(block.text)
    if claims is None:
        assert slug != "logging-pattern", "its figures are what it is there for"
        return

    def seen() -> Counter[str]:
        return rows(postgres(15)) - before + requests_in(mlflow.log()[start:])

    try:
        wait_for(lambda: fits(claims["claims"], seen()), "the claim holds", 10)
    except TimeoutError:
        pytest.fail(f"{claims['claims']}: {dict(seen())}\n{done.stdout}{done.stderr}")


def test_the_runbook_moves_a_sqlite_backend_to_postgres(
    postgres: Callable[[int], Postgres], tmp_path: Path
) -> None:
    (code,) = (
        block.text
        for page in runbooks()
        for block in page.blocks
        if block.kind == "python" and MIGRATION in block.text
    )
    target = postgres(15).create_database("runbook_moved").replace("postgresql:", "postgresql+psycopg2:")
    with MlflowServer() as old:
        with Load(old.url, clients=2, runs=1) as load:
            load.join()
        before = searched(old)
        old.stop()
        made = subprocess.run(
            [tools.mlflow(), "db", "upgrade", target],
            env=os.environ | dict.fromkeys(("HOME", "TMPDIR"), str(tmp_path)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        source = f"sqlite:///{old.directory / 'mlflow.db'}"
        done = run(code, tmp_path, SOURCE_URI=source, TARGET_URI=target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert load.errors == Counter()

    with MlflowServer(target) as new:
        assert searched(new) == before
        ((points,),) = postgres(15).execute("SELECT count(*) FROM metrics", dbname="runbook_moved")
        assert points == load.points
        with Load(new.url, clients=1, runs=1) as more:  # new experiments get ids of their own
            more.join()
        assert more.errors == Counter()
    postgres(15).drop("runbook_moved")


def searched(server: MlflowServer) -> dict[str, object]:
    """Return all runs by their id, with all that a search gives."""
    experiments = requests.post(f"{server.url}{API}experiments/search", json={"max_results": 100}, timeout=30)
    ids = [one["experiment_id"] for one in experiments.json()["experiments"]]
    answer = requests.post(f"{server.url}{API}runs/search", json={"experiment_ids": ids}, timeout=30)
    return {one["info"]["run_id"]: one for one in answer.json()["runs"]}
