"""What a server may open by its command line and environment, on recorded /proc trees."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from exporter.collectors.budget import Budget, threads
from exporter.discovery import Discovery
from exporter.metric import check
from exporter.sources.host import HostSource
from tests.unit.proctree import FORKED, URI, ProcTree, environment, gunicorn, uvicorn

pytestmark = pytest.mark.unit


@pytest.fixture
def proc(tmp_path: Path) -> ProcTree:
    return ProcTree(tmp_path / "proc")


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def budget(proc: ProcTree) -> dict[str, object]:
    session = HostSource(Discovery(proc=proc.root)).open((), time.monotonic() + 60)
    samples = check(Budget().collect(session), frozenset(Budget.metrics))
    return {sample.labels[0]: sample.value for sample in samples}


def alone(proc: ProcTree, argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, object]:
    proc.process(argv, environ=environ, sockets=[proc.listen(5000)])
    return budget(proc)


def test_four_workers_with_jobs_may_open_184(proc: ProcTree) -> None:
    proc.server(workers=4)
    assert budget(proc) == {"tracking": 60, "registry": 60, "jobs": 60, "background": 4}


def test_a_smaller_pool_counts_in_each_engine(proc: ProcTree) -> None:
    pool = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "2", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "1"}
    given = alone(proc, uvicorn(5000, 2), environment(**pool))
    assert given == {"tracking": 6, "registry": 6, "background": 0}


def test_a_registry_in_another_database_is_not_in_this_ones_budget(proc: ProcTree) -> None:
    elsewhere = environment(_MLFLOW_SERVER_REGISTRY_STORE="postgresql://u:p@other/registry")
    assert "registry" not in alone(proc, uvicorn(5000, 2), elsewhere)


def test_a_registry_that_is_named_as_the_same_database_is(proc: ProcTree) -> None:
    assert alone(proc, uvicorn(5000, 1), environment(_MLFLOW_SERVER_REGISTRY_STORE=URI))["registry"] == 15


def test_workspaces_have_an_engine_of_their_own(proc: ProcTree) -> None:
    assert alone(proc, uvicorn(5000, 1), environment(MLFLOW_ENABLE_WORKSPACES="true"))["workspaces"] == 15


def test_a_worker_of_gunicorn_serves_one_request_at_a_time(proc: ProcTree) -> None:
    environ = environment()
    listening = proc.listen(5000)
    master = proc.process(gunicorn(5000, 3), environ=environ, sockets=[listening])
    for _ in range(3):
        proc.process(gunicorn(5000, 3), master, environ, sockets=[listening])
    assert budget(proc) == {"tracking": 3, "registry": 3, "background": 0}


@pytest.mark.parametrize(
    ("words", "environ", "at_once"),
    [
        ((), {}, 1),
        (("--threads", "8"), {}, 8),
        (("-k", "gthread", "--threads=4"), {}, 4),
        (("-k", "gevent"), {}, None),
        (("--config", "gunicorn.py"), {}, None),
        ((), {"GUNICORN_CMD_ARGS": "--threads 16"}, None),
    ],
)
def test_options_of_gunicorn_decide_how_many_requests_a_worker_serves_at_once(
    words: tuple[str, ...], environ: dict[str, str], at_once: int | None
) -> None:
    assert threads((*gunicorn(5000, 2), *words), environ, "gunicorn") == at_once


def test_more_threads_than_a_pool_has_connections_cannot_open_more(proc: ProcTree) -> None:
    argv = (*gunicorn(5000, 1), "--threads", "100")
    assert alone(proc, argv, environment())["tracking"] == 15


@pytest.mark.parametrize(
    "environ",
    [
        environment(uri="sqlite:////srv/m.db"),
        environment(uri="/srv/mlruns"),
        environment(MLFLOW_SQLALCHEMYSTORE_POOLCLASS="NullPool"),
    ],
)
def test_without_a_database_server_or_a_limit_of_the_pool_there_is_no_budget(
    proc: ProcTree, environ: dict[str, str]
) -> None:
    assert alone(proc, uvicorn(5000, 2), environ) == {}


def test_without_a_server_or_its_environment_there_is_no_budget(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert budget(proc) == {}
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    proc.server(workers=1, readable=False)
    assert budget(proc) == {}


def test_orphaned_workers_keep_no_budget_that_nobody_configured(proc: ProcTree) -> None:
    proc.process(FORKED, environ=environment(), sockets=[proc.listen(5000)])
    assert budget(proc) == {}
