"""The whole of what a site runs, on this machine, for one fault: from the clients to the webhook receiver."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Literal, Self, TypeVar

import requests
import yaml

from tests.lab import bigdata, timelapse
from tests.lab.cgroup import Group
from tests.lab.load import Load
from tests.lab.needs import HEALTHY, Needs
from tests.lab.process import undisturbed, wait_for
from tests.lab.proxy import Proxy
from tests.lab.receiver import Receiver
from tests.lab.replica import Standby
from tests.lab.servers import Alertmanager, Exporter, MlflowServer, Postgres, Prometheus

MAJOR = 17
FACTOR = 10.0
# A tenth of the default: as many attempts in a window as at real scale. The timeout may be no longer.
PROBES = {"interval": 1.5, "timeout": 1.5}

# A site with a million runs that is well has the index that MLflow lacks; its name is Postgres' own choice.
RUNS_INDEX = "CREATE INDEX runs_experiment_id_start_time_idx ON runs (experiment_id, start_time)"

C = TypeVar("C")


class Lab:
    """The running stack. Entering starts it with what `needs` says; leaving ends and removes all of it.

    A fault's `make` enters what lasts by `lab.begin(...)`, its `fix` ends that by `lab.end()`.
    """

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.proxy: Proxy | None = None
        self._postgres: Postgres | None = None
        self._replica: Standby | None = None
        self._groups: dict[str, Group] = {}
        self._stack = ExitStack()
        self._made = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what the fault began while the servers still answer, then the servers."""
        with undisturbed(), self._stack:
            self.end()

    # What a fault reaches for.

    @property
    def mlflow(self) -> MlflowServer:
        return self.replicas[0]

    @property
    def exporter(self) -> Exporter:
        return self.exporters[0]

    @property
    def postgres(self) -> Postgres:
        assert self._postgres, "this fault has no Postgres"
        return self._postgres

    @property
    def replica(self) -> Standby:
        assert self._replica, "this fault has no replica"
        return self._replica

    def group(self, server: Literal["postgres", "mlflow"]) -> Group:
        """Return the server's control group, which `needs.groups` has named."""
        return self._groups[server]

    def begin(self, work: AbstractContextManager[C]) -> C:
        """Enter what is part of the fault."""
        return self._made.enter_context(work)

    def end(self) -> None:
        """Leave all that was begun, last first."""
        self._made.close()

    def sql(self, query: str, *params: object, user: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement in MLflow's database, outside any transaction."""
        return self.postgres.execute(query, *params, dbname="mlflow", user=user)

    def configure_postgres(self, restart: bool = False, **settings: str) -> None:
        """Set by ALTER SYSTEM ("" resets), then reload or restart Postgres."""
        for name, value in settings.items():
            self.postgres.execute(
                f"ALTER SYSTEM SET {name} = '{value}'" if value else f"ALTER SYSTEM RESET {name}"
            )
        if restart:
            self.postgres.stop()
            self.postgres.start()
        else:
            self.postgres.execute("SELECT pg_reload_conf()")

    def restart_mlflow(self, env: Mapping[str, str] | None = None) -> None:
        """Restart the server as an operator does, with these environment variables beside its own."""
        self.mlflow.stop()
        self.mlflow.env |= env or {}
        self.mlflow.start()

    @property
    def url(self) -> str:
        """Where the clients reach the server."""
        return self.proxy.url if self.proxy and self.needs.proxy == "clients" else self.mlflow.url

    def alerts(self) -> dict[str, str]:
        """Return the state of each alert that Prometheus has now by name, `firing` before `pending`."""
        found = self.prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
        found.sort(key=lambda one: one["state"], reverse=True)  # firing wins
        return {one["labels"]["alertname"]: one["state"] for one in found}

    # How it starts.

    def _start(self) -> None:
        needs, enter = self.needs, self._stack.enter_context
        for name in sorted(needs.groups):
            self._groups[name] = enter(Group(name))
        self.receiver = enter(Receiver())
        backend = "" if needs.sqlite else self._start_postgres()
        self.replicas = [enter(self._server(backend)) for _ in range(1 + needs.replicas)]
        if needs.proxy == "clients":
            self.proxy = enter(Proxy(self.mlflow.port))
        self.exporters = [enter(self._exporter({"server": {"port": one.port}})) for one in self.replicas]
        if needs.proxy == "clients":
            probing = {"vantage": "clients", "database": False}
            only = {"server": {"url": self.url}, "probes": probing, "collectors": ["host"]}
            self.exporters.append(enter(self._exporter(only)))
        if needs.replica:
            self._replica = enter(Standby(self.postgres, online=True))
            silent = dict.fromkeys(("health", "version", "api", "database"), False)
            behind = {"database": {"dsn": self._replica.dsn("exporter", "mlflow")}, "probes": silent}
            self.exporters.append(enter(self._exporter(behind | {"collectors": ["replication"]})))
        # What is read every 5 minutes would stay failed as long, had it only a time-lapse scrape's second.
        for exporter in self.exporters:
            exporter.scrape(30)
        self.alertmanager = enter(Alertmanager(timelapse.alertmanager(self.receiver.url, FACTOR)))
        self.prometheus = enter(self._prometheus())
        if needs.background == "light":
            self.load = enter(light(self.url))

    def _start_postgres(self) -> str:
        cluster = bigdata.prepare(MAJOR) if self.needs.data == "million" else None
        self._postgres = Postgres(MAJOR, HEALTHY | dict(self.needs.settings), cluster=cluster)
        self._postgres.wrapper = self._wrapper("postgres")
        self._stack.enter_context(self._postgres)
        uri = self._postgres.create_mlflow()
        if cluster:
            self.sql(RUNS_INDEX)
        if self.needs.proxy == "database":
            self.proxy = self._stack.enter_context(Proxy(self._postgres.port))
            uri = uri.replace(f":{self._postgres.port}/", f":{self.proxy.port}/")
        return uri

    def _server(self, backend: str) -> MlflowServer:
        needs = self.needs
        server = MlflowServer(
            backend,
            needs.workers,
            options=needs.options,
            env=needs.mlflow_env,
            jobs=needs.jobs,
        )
        server.wrapper = self._wrapper("mlflow", needs.nofile)
        return server

    def _wrapper(self, name: str, nofile: int = 0) -> list[str]:
        group = self._groups.get(name)
        files = ["prlimit", f"--nofile={nofile}:", "--"] if nofile else []
        return [*(group.wrapper() if group else []), *files]

    def _exporter(self, own: Mapping[str, Any]) -> Exporter:
        exporter = Exporter()
        settings = {name: dict(value) if isinstance(value, Mapping) else value for name, value in own.items()}
        settings["probes"] = PROBES | settings.get("probes", {})
        if "collectors" not in own and self.needs.role == "exporter":
            settings["database"] = {"dsn": self.postgres.dsn("exporter", "mlflow")}
        file = exporter.directory / "exporter.yml"
        file.write_text(yaml.safe_dump(settings))
        exporter.args = ("--config", str(file))
        return exporter

    def _prometheus(self) -> Prometheus:
        targets = {"mlflow": [f"127.0.0.1:{one.port}" for one in self.exporters]}
        if "--expose-prometheus" in self.needs.options:
            targets["mlflow-server"] = [f"127.0.0.1:{one.port}" for one in self.replicas]
        alertmanager = f"127.0.0.1:{self.alertmanager.port}"
        rules = self.alertmanager.directory / "rules"
        timelapse.rules(rules, FACTOR)
        config = timelapse.prometheus(targets, alertmanager, rules, FACTOR)
        return Prometheus(config, options=timelapse.options(FACTOR))


def light(url: str) -> Load:
    """Return a healthy team's load: every operation, a tenth of what two workers can answer."""
    return Load(url, clients=3, rate=8.0)


def healthy(lab: Lab, seconds: float = 120.0) -> None:
    """Wait until everything is scraped and each collector reads; raises TimeoutError with what does not."""

    def reads() -> bool:
        with contextlib.suppress(requests.RequestException):
            answers = lab.prometheus.query("min(mlflow_exporter_collector_success)")
            up = lab.prometheus.query('min(up{job="mlflow"})')
            return bool(answers and up) and all(one["value"][1] == "1" for one in (*answers, *up))
        return False

    wait_for(reads, "every exporter is scraped and every collector reads", seconds)
