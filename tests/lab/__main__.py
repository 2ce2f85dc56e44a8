"""`make demo [MINUTES=n] [FAULT=cause]`: a tracking server under load, watched, on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
import yaml

from tests.lab.load import Load
from tests.lab.needs import HEALTHY
from tests.lab.process import Server, ServerError, is_free
from tests.lab.screen import Reading, line, screen
from tests.lab.servers import Alertmanager, Exporter, MlflowServer, Postgres, Prometheus
from tests.lab.tools import ROOT, MissingToolError

MAJOR = 17
EXPORTER_PORT = 10500
CALLS_PER_SECOND = 30.0  # a steady team's work: half of what four workers on two cores can answer

S = TypeVar("S", bound=Server)


@dataclass(frozen=True)
class Demo:
    postgres: Postgres
    mlflow: MlflowServer
    exporter: Exporter
    alertmanager: Alertmanager
    prometheus: Prometheus
    load: Load
    note: str = ""

    def read(self) -> Reading:
        return Reading(time.monotonic(), self.exporter.samples())

    def urls(self) -> str:
        return (
            f"MLflow {self.mlflow.url}   exporter {self.exporter.url}\n"
            f"Prometheus {self.prometheus.url}   Alertmanager {self.alertmanager.url}\n"
        )

    def alerts(self) -> str:
        """Say which alerts fire, findings too."""
        found = self.prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
        firing = {
            one["labels"]["alertname"]: one["labels"]["severity"] for one in found if one["state"] == "firing"
        }
        names = [f"{name} ({severity})" for name, severity in sorted(firing.items()) if name != "Watchdog"]
        return ", ".join(names) or "none"

    def faults(self) -> Iterator[str]:
        """Say what is not as it should be at the end; nothing when all is well."""
        for server in (self.postgres, self.mlflow, self.exporter, self.alertmanager, self.prometheus):
            if not server.running():
                yield f"{server.name} has ended; the end of its log:\n{server.log()[-2000:]}"
        try:
            yield from faults_of(self.read())
            if self.prometheus.value('up{job="mlflow"}') != 1:
                yield f"Prometheus cannot scrape: {[found['lastError'] for found in self.prometheus.targets()]}"
        except requests.RequestException as error:
            yield f"no answer: {error}"
        sent, succeeded = self.load.calls.total(), self.load.succeeded.total()
        if self.load.errors or not succeeded:
            yield f"of {sent} calls of the load {succeeded} succeeded, the others: {dict(self.load.errors)}"


def faults_of(reading: Reading) -> Iterator[str]:
    """Say what the exporter could not read."""
    collectors = reading.by("mlflow_exporter_collector_success", "collector")
    if not collectors:
        yield "the exporter reports no collector"
    for name, success in collectors.items():
        if success != 1:
            reasons = reading.by("mlflow_exporter_collector_errors_total", "reason", collector=name)
            yield f"collector {name}: {', '.join(reasons)}"
    for name in ("mlflow_server_up", "mlflow_db_up"):
        if (value := reading.value(name)) != 1:
            yield f"{name} is {'absent' if value is None else value}"


def main(minutes: float) -> int:
    """Run the demo for that long, or until it is interrupted; returns the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background jobs ignore it
        signal.signal(number, signal.default_int_handler)
    faults: list[str] = []
    with ExitStack() as stack:
        try:
            demo = start(stack)
            watch(demo, minutes)
            faults = list(demo.faults())
        except KeyboardInterrupt:
            print("\nstopping", flush=True)
        except (ServerError, MissingToolError) as error:
            faults = [str(error)]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    if minutes < float("inf") and not faults:
        print("every collector succeeds, Prometheus scrapes, and each call of the load was answered")
    return 1 if faults else 0


def start(stack: ExitStack) -> Demo:
    def enter(server: S) -> S:
        print(f"starting {server.name}", flush=True)
        stack.enter_context(server)
        return server

    postgres = enter(Postgres(MAJOR, HEALTHY))
    mlflow = enter(MlflowServer(postgres.create_mlflow(), workers=4, jobs=True))
    port = EXPORTER_PORT if is_free(EXPORTER_PORT) else 0
    # It would find the server by itself, until somebody starts another one.
    exporter = enter(Exporter(["--server.port", str(mlflow.port)], port=port))
    note = "" if port else f"port {EXPORTER_PORT} is taken: the exporter listens on {exporter.port}\n"
    print(note, end="", flush=True)
    alertmanager = enter(Alertmanager(shipped("alertmanager.yml")))
    config = shipped("prometheus.yml")
    config["global"] |= {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "5s"}
    config["rule_files"] = [str(ROOT / "alerts" / pattern) for pattern in config["rule_files"]]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [
        f"127.0.0.1:{alertmanager.port}"
    ]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{exporter.port}"]
    prometheus = enter(Prometheus(config))
    load = stack.enter_context(Load(mlflow.url, clients=4, rate=CALLS_PER_SECOND))
    return Demo(postgres, mlflow, exporter, alertmanager, prometheus, load, note)


def watch(demo: Demo, minutes: float) -> None:
    """Show what the exporter knows, every 2 s on a terminal, else a line every 10 s."""
    print(demo.urls(), flush=True)
    terminal = sys.stdout.isatty()
    header = f"{demo.note}{demo.urls()}\n"
    end = time.monotonic() + minutes * 60
    readings: deque[Reading] = deque()
    while (left := end - time.monotonic()) > 0 and demo.exporter.running():
        with suppress(requests.RequestException):  # the end says so, if it still is so
            readings.append(demo.read())
            now, before, minute = readings[-1], readings[-2 if len(readings) > 1 else -1], _minute(readings)
            if terminal:
                text = "\n".join(screen(now, before, minute))
                print(f"\033[H\033[2J{header}{text}\n\nalerts {demo.alerts()}\n\nCtrl-C ends", flush=True)
            else:
                print(f"{line(now, before, minute)}  alerts {demo.alerts()}", flush=True)
        time.sleep(min(2.0 if terminal else 10.0, left))


def _minute(readings: deque[Reading]) -> Reading:
    """Forget what is older than a minute, but for the first of the minute; returns that, or the very first."""
    while len(readings) > 1 and readings[1].time <= readings[-1].time - 60:
        readings.popleft()
    return readings[0]


def shipped(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "alerts" / name).read_text())
    return found


def incident(name: str) -> int:
    """Make one cause happen, and its fix; `name` is a cause or `cause/fault`."""
    from tests.faults.__main__ import chosen  # noqa: PLC0415  # the faults stand on this lab
    from tests.faults.incident import show  # noqa: PLC0415

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    return show(chosen([name], ci=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=float("inf"))
    parser.add_argument("--fault", default=os.environ.get("FAULT", ""), metavar="CAUSE[/NAME]")
    asked = parser.parse_args()
    sys.exit(incident(asked.fault) if asked.fault else main(asked.minutes))
