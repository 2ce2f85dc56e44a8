"""What goes on all day: training jobs, and statements that nobody has seen before."""

from __future__ import annotations

import contextlib
import random
import threading
from contextlib import closing
from typing import Self

import psycopg

from tests.lab.servers import Postgres

# Statements are the same for Postgres where they differ in values and names only; a row of five of these is one of
# 59,049.
PARTS = (
    *("1", "1.5", "'a'", "now()", "pi()", "true", "NULL::int", "version()", "current_user"),
    "(SELECT count(*) FROM runs WHERE run_uuid = 'none')",
)
WIDTH = 5
EVERY = 0.01  # seconds
# What a text may hold that a label has to keep: quotes, backslashes, line ends, a brace and no ASCII.
HOSTILE = 'SELECT pg_sleep(0.2) AS "\\n""} 1\n# TYPE süß\t{", 1 AS "\x01\x7f"'


class Churn:
    """Run statements of ever other forms as MLflow's role, also while Postgres goes away and comes back."""

    def __init__(self, postgres: Postgres) -> None:
        self.ran = 0
        self._postgres = postgres
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="churn", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._ended.wait(0.2):
            with (
                contextlib.suppress(psycopg.Error),
                closing(self._postgres.connect("mlflow", "mlflow")) as one,
            ):
                self._run(one)

    def _run(self, session: psycopg.Connection[tuple[object, ...]]) -> None:
        session.execute(HOSTILE.encode())
        while not self._ended.wait(EVERY):
            session.execute(f"SELECT {', '.join(random.choices(PARTS, k=WIDTH))}".encode())
            self.ran += 1
