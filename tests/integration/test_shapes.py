"""The lab's shapes of trouble, against a real tracking server: each asks what it says and nothing fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import pytest
import requests

from tests.lab.load import API, Client, Load
from tests.lab.servers import MlflowServer, Postgres, wait_for
from tests.lab.shapes import Histories, Import, OneBusyRun, Params, PointsOneByOne, PointsTogether, Searches

pytestmark = pytest.mark.integration

START = {"experiments/create", "runs/create", "runs/update"}


@pytest.fixture(scope="module")
def server() -> Iterator[MlflowServer]:
    with Postgres(15) as database, MlflowServer(database.create_mlflow()) as server:
        with Load(server.url, 1, runs=1) as first:  # it opens its store at the first call, for some seconds
            first.join()
        yield server


def asked(server: MlflowServer, client: Callable[[Load, Random], Client]) -> Load:
    """Run one client for three seconds at most; returns what it did."""
    with Load(server.url, 1, seconds=3, rate=20, client=client) as load:
        load.join()
    assert load.errors == Counter()
    assert load.succeeded == load.calls
    return load


@pytest.mark.parametrize(
    ("client", "endpoint", "points"),
    [
        (PointsOneByOne, "runs/log-metric", 1),
        (partial(PointsTogether, keys=7), "runs/log-batch", 7),
        (partial(OneBusyRun, points=50), "runs/log-batch", 50),
        (partial(Params, count=4), "runs/log-parameter", 0),
        (partial(Params, count=4, together=True), "runs/log-batch", 0),
    ],
)
def test_a_job_logs_by_that_call_and_nothing_else(
    server: MlflowServer, client: Callable[[Load, Random], Client], endpoint: str, points: int
) -> None:
    load = asked(server, client)
    assert load.calls.keys() - START == {endpoint}
    assert load.points == points * load.calls[endpoint] or points == 0


def test_people_search_and_look_at_charts_and_change_nothing(server: MlflowServer) -> None:
    assert asked(server, partial(Searches, experiments=["0"])).calls.keys() == {"runs/search"}
    ordered = partial(Searches, experiments=["0"], order_by=["metrics.`loss` DESC"], max_results=5)
    assert asked(server, ordered).calls.keys() == {"runs/search"}
    found = requests.post(server.url + API + "runs/create", json={"experiment_id": "0"}, timeout=30).json()
    charts = partial(Histories, runs=[found["run"]["info"]["run_id"]], keys=["loss"])
    assert asked(server, charts).calls.keys() == {"metrics/get-history"}


def test_an_import_goes_past_the_server_and_over_a_restart_of_postgres() -> None:
    def points() -> int:
        return int(database.execute("select count(*) from metrics", dbname="mlflow")[0][0])

    with Postgres(15) as database:
        database.create_mlflow()
        with Import(database, sessions=2, points=100, every=0.1):
            wait_for(lambda: points() >= 400, "points of both sessions")
            database.stop()
            database.start()
            before = points()
            wait_for(lambda: points() > before, "more points after the restart")
        assert points() % 100 == 0
