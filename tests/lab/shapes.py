"""What clients do to a tracking server beside training as they should: each shape makes one kind of trouble.

A shape is given to `Load` as its `client`, with `functools.partial` for what it takes; count, time and rate are
bounded there. `Import` alone goes past the server, so that it writes as much on a slow machine as on a quick one.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Self

import psycopg

from tests.lab.load import Client, Load, now
from tests.lab.postgres import Postgres

RUN = """
insert into runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, experiment_id, artifact_uri)
values (%s, 'imported', 'FINISHED', 0, 1, 'active', 0, '')"""
POINTS = """
insert into metrics (key, value, timestamp, run_uuid, step, is_nan)
select 'loss', random(), %s, %s, step, false from generate_series(%s::int, %s::int) step"""


class PointsOneByOne(Client):
    """`log_metric` in a loop: one run after the other, a call for each point, a step for each call."""

    def __init__(self, load: Load, chance: random.Random, keys: int = 10, steps: int = 100) -> None:
        super().__init__(load, chance)
        self.keys, self.steps = keys, steps

    def do(self) -> None:
        experiment = self.experiment()
        while experiment and self.load.running() and (run := self.run(experiment)):
            for step in range(self.steps):
                if not self.load.running():
                    return
                self.log(run, step)
            self.call("runs/update", {"run_id": run, "status": "FINISHED", "end_time": now()})

    def log(self, run: str, step: int) -> None:
        for key in range(self.keys):  # each call of a load that has ended returns at once
            self.call("runs/log-metric", {"run_id": run} | self.point(f"loss_{key}", step), points=1)


class PointsTogether(PointsOneByOne):
    """`log_metrics`: the same points as above, those of a step in one call."""

    def log(self, run: str, step: int) -> None:
        points = [self.point(f"loss_{key}", step) for key in range(self.keys)]
        self.call("runs/log-batch", {"run_id": run, "metrics": points}, points=len(points))


class Params(Client):
    """Runs with many parameters and nothing else: `together` by `log_params`, else by `log_param` in a loop."""

    def __init__(self, load: Load, chance: random.Random, count: int = 60, *, together: bool = False) -> None:
        super().__init__(load, chance)
        self.count, self.together = count, together

    def do(self) -> None:
        experiment = self.experiment()
        while experiment and self.load.running() and (run := self.run(experiment)):
            params = [
                {"key": f"param_{number}", "value": str(self.chance.random())} for number in range(self.count)
            ]
            if self.together:
                self.call("runs/log-batch", {"run_id": run, "params": params})
            for param in () if self.together else params:
                if not self.load.running():
                    return
                self.call("runs/log-parameter", {"run_id": run} | param)
            self.call("runs/update", {"run_id": run, "status": "FINISHED", "end_time": now()})


class OneBusyRun(Client):
    """One run that logs every step of a fast loop: `points` of one key in each call, a point a millisecond."""

    def __init__(self, load: Load, chance: random.Random, points: int = 100) -> None:
        super().__init__(load, chance)
        self.points = points

    def do(self) -> None:
        run = self.run(self.experiment())
        step = 0
        while run and self.load.running():
            batch = [self.point("loss", step + number) for number in range(self.points)]
            step += len(batch)
            self.call("runs/log-batch", {"run_id": run, "metrics": batch}, points=len(batch))


class Searches(Client):
    """`search_runs` in one of these experiments after the other, as people with a table of runs do."""

    def __init__(
        self,
        load: Load,
        chance: random.Random,
        experiments: Sequence[str],
        order_by: Sequence[str] = (),
        max_results: int = 10,
    ) -> None:
        super().__init__(load, chance)
        self.experiments = experiments
        self.query = {"max_results": max_results} | ({"order_by": list(order_by)} if order_by else {})

    def do(self) -> None:
        while self.load.running():
            self.call("runs/search", {"experiment_ids": [self.chance.choice(self.experiments)]} | self.query)


class Histories(Client):
    """Reads of a metric's history, of one run after the other, as a page of charts does."""

    def __init__(self, load: Load, chance: random.Random, runs: Sequence[str], keys: Sequence[str]) -> None:
        super().__init__(load, chance)
        self.runs, self.keys = runs, keys

    def do(self) -> None:
        while self.load.running():
            which = {"run_id": self.chance.choice(self.runs), "metric_key": self.chance.choice(self.keys)}
            self.call("metrics/get-history", which)


class Import:
    """Sessions that copy runs from elsewhere straight into the database, `points` in each transaction.

    A transaction begins `every` seconds after the one before did, or when that one has ended.
    """

    def __init__(self, postgres: Postgres, sessions: int = 1, points: int = 5000, every: float = 1.0) -> None:
        self.postgres, self.points, self.every = postgres, points, every
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._copy, name=f"import-{number}") for number in range(sessions)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _copy(self) -> None:
        while not self._ended.wait(0.2):  # Postgres may be restarted meanwhile
            with contextlib.suppress(psycopg.Error), self.postgres.connect("mlflow", "mlflow") as session:
                self._run(session)

    def _run(self, session: psycopg.Connection[tuple[object, ...]]) -> None:
        run, step, began = secrets.token_hex(16), 0, time.monotonic()
        session.execute(RUN, [run])
        while not self._ended.wait(max(0.0, began - time.monotonic())):
            session.execute(POINTS, [now(), run, step, step + self.points - 1])
            step += self.points
            began = max(began + self.every, time.monotonic())
