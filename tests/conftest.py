"""Servers that many integration tests share; each test takes a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.lab.servers import MlflowServer, Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[int], Postgres]]:
    """Return that major's Postgres, started by the first test that asks; databases are dropped by their test."""
    running: dict[int, Postgres] = {}
    with ExitStack() as stack:

        def start(major: int) -> Postgres:
            if major not in running:
                running[major] = stack.enter_context(Postgres(major))
            return running[major]

        yield start


@pytest.fixture(scope="session")
def mlflow(postgres: Callable[[int], Postgres]) -> Iterator[MlflowServer]:
    """Return a tracking server of two workers on Postgres 15, database `mlflow_shared`."""
    with MlflowServer(postgres(15).create_mlflow("mlflow_shared")) as server:
        yield server
