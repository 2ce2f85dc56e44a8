"""What training jobs do to a tracking server, over plain REST, with each call counted."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import requests

API = "/api/2.0/mlflow/"
EPOCHS = 20
# As a job does that died. What is read of running runs every five minutes may fall between two runs of all clients.
LEAVE_ONE_RUNNING = """
    UPDATE runs SET status = 'RUNNING' WHERE run_uuid = (
      SELECT run_uuid FROM latest_metrics JOIN runs USING (run_uuid) WHERE lifecycle_stage = 'active'
      ORDER BY latest_metrics.timestamp DESC LIMIT 1
    )"""
ENDLESS = 10**9  # runs or seconds: until it is stopped
READ_BY_GET = frozenset({"runs/get", "metrics/get-history"})


class Load:
    """Clients that train one run after the other, until `runs` each, `seconds`, or `stop()`.

    `client` is who does something else (tests/lab/shapes.py), until that is done, `seconds`, or `stop()`.
    `calls` counts the requests sent by endpoint, `succeeded` those answered 200: nothing is retried, so the
    server was asked exactly that often. `points` counts the metric points of the latter. `rate` bounds all
    clients together, in calls a second; 0 is as fast as it goes. What is done, and in which order, depends
    on `seed` alone; names and times do not repeat, so that a database takes any number of loads.
    """

    def __init__(
        self,
        url: str,
        clients: int = 4,
        *,
        runs: int = ENDLESS,
        seconds: float = ENDLESS,
        rate: float = 0.0,
        seed: int = 0,
        auth: tuple[str, str] | None = None,
        client: Callable[[Load, random.Random], Client] | None = None,
    ) -> None:
        new = client or (lambda load, chance: Training(load, chance, runs))
        self.calls: Counter[str] = Counter()
        self.succeeded: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()  # what was answered instead, by its status or exception
        self.points = 0
        self._url, self._seconds, self._rate, self._auth = url, seconds, rate, auth
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._turn = 0.0
        self._deadline = 0.0
        self._threads = [
            threading.Thread(target=new(self, random.Random(seed + number)).work, name=f"client-{number}")
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._deadline = time.monotonic() + self._seconds
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each client finish its call under way, and wait for that."""
        self._ended.set()
        self.join()

    def join(self) -> None:
        """Wait until all clients have done their runs or their time is over."""
        for thread in self._threads:
            thread.join()

    def running(self) -> bool:
        """Say whether clients should go on."""
        return not self._ended.is_set() and time.monotonic() < self._deadline

    def call(self, session: requests.Session, endpoint: str, message: dict[str, Any], points: int = 0) -> Any:
        """Send one request in its turn; returns the answer, or None for a failure (counted) or the end."""
        self._wait_for_turn()
        if not self.running():
            return None
        with self._lock:
            self.calls[endpoint] += 1
        try:
            if endpoint in READ_BY_GET:
                answer = session.get(self._url + API + endpoint, params=message, timeout=120, auth=self._auth)
            else:
                answer = session.post(self._url + API + endpoint, json=message, timeout=120, auth=self._auth)
        except requests.RequestException as error:
            return self._failed(type(error).__name__)
        if answer.status_code != 200:
            return self._failed(str(answer.status_code))
        with self._lock:
            self.succeeded[endpoint] += 1
            self.points += points
        return answer.json()

    def _failed(self, why: str) -> None:
        with self._lock:
            self.errors[why] += 1
        self._ended.wait(0.2)  # a dead server is not to be asked thousands of times a second

    def _wait_for_turn(self) -> None:
        if self._rate:
            with self._lock:
                now = time.monotonic()
                self._turn = max(now, self._turn + 1 / self._rate)
                wait = self._turn - now
            self._ended.wait(wait)


class Client:
    """One client with a connection of its own; a subclass says what it does."""

    def __init__(self, load: Load, chance: random.Random) -> None:
        self.load, self.chance = load, chance
        self.session = requests.Session()

    def do(self) -> None:
        """Do all of the work; returns as soon as the load should not go on."""
        raise NotImplementedError

    def work(self) -> None:
        with self.session:
            self.do()

    def call(self, endpoint: str, message: dict[str, Any], points: int = 0) -> Any:
        return self.load.call(self.session, endpoint, message, points)

    def experiment(self) -> str:
        """Create one; returns its id, empty where that failed."""
        made = self.call("experiments/create", {"name": f"lab-{secrets.token_hex(8)}"})
        return str((made or {}).get("experiment_id", ""))

    def run(self, experiment: str) -> str:
        """Start one in that experiment; returns its id, empty where that failed."""
        made = (
            self.call("runs/create", {"experiment_id": experiment, "start_time": now()})
            if experiment
            else None
        )
        return str(made["run"]["info"]["run_id"]) if made else ""

    def point(self, key: str, step: int) -> dict[str, Any]:
        return {"key": key, "value": self.chance.random(), "timestamp": now(), "step": step}


class Training(Client):
    """One training job after the other in an experiment of its own."""

    def __init__(self, load: Load, chance: random.Random, runs: int) -> None:
        super().__init__(load, chance)
        self.runs = runs

    def do(self) -> None:
        experiment = ""
        done = 0
        while done < self.runs and self.load.running():
            if not experiment:
                experiment = self.experiment()
            elif run := self.run(experiment):
                self.one_run(experiment, run)
                done += 1

    def one_run(self, experiment: str, run: str) -> None:
        """Do what a job does from its start to its end; the server keeps a run that was cut short as RUNNING."""
        params = [{"key": f"param_{number}", "value": str(self.chance.random())} for number in range(8)]
        self.call("runs/log-batch", {"run_id": run, "params": params})
        self.call("runs/log-parameter", {"run_id": run, "key": "optimizer", "value": "adam"})
        self.call("runs/set-tag", {"run_id": run, "key": "team", "value": "lab"})
        for epoch in range(EPOCHS):
            for key in ("loss", "accuracy"):
                self.call("runs/log-metric", {"run_id": run} | self.point(key, epoch), points=1)
            if epoch % 5 == 4:
                batch = [self.point(f"layer_{number}", epoch) for number in range(25)]
                self.call("runs/log-batch", {"run_id": run, "metrics": batch}, points=len(batch))
            if self.chance.random() < 0.1:
                self.call("runs/get", {"run_id": run})
        self.call("metrics/get-history", {"run_id": run, "metric_key": "loss"})
        self.call("runs/update", {"run_id": run, "status": "FINISHED", "end_time": now()})
        self.call("runs/search", {"experiment_ids": [experiment], "max_results": 50})


def now() -> int:
    """Return the time as MLflow's API takes it, in milliseconds."""
    return round(time.time() * 1000)
