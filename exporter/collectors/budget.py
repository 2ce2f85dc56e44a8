"""How many connections to MLflow's database the server may open, from its command line and environment alone.

Whether that fits is for PromQL to say: max_connections and the limits of role and database are the database's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from exporter.collector import Collector
from exporter.host import commands, processes
from exporter.host.servers import BACKEND, WANTED
from exporter.metric import Sample, gauge
from exporter.sighting import Sighting
from exporter.sources.host import HostSession

BUDGET = gauge(
    "mlflow_server_database_connections_budget",
    "Connections to the backend's database that the server may open, by the engine that opens them: `tracking`, "
    "`registry`, `jobs` and `workspaces` are workers x (pool size + overflow) each, `background` is what its command "
    "and its job runner hold, running jobs not counted. The sum is the worst case, `tracking` alone what logging and "
    "searching can take. Absent where the environment cannot be read, a pool has no limit, or the backend is no "
    "database server.",
    "/proc/PID/cmdline, environ",
    labels=("engine",),
)

REGISTRY = "_MLFLOW_SERVER_REGISTRY_STORE"
WORKSPACES = "MLFLOW_ENABLE_WORKSPACES"

# Measured on an idle server of 3.17 and 3.18: its command keeps two after the migration, the job runner and the
# consumer of periodic tasks one each.
OF_PARENT = 2
OF_JOBS = 2


def engines(environ: Mapping[str, str], jobs: bool | None) -> tuple[str, ...]:
    """Return the engines that each worker makes for the backend's database, as MLflow's stores do, one each."""
    found = ["tracking"]
    if environ.get(REGISTRY, environ.get(BACKEND)) == environ.get(BACKEND):
        found.append("registry")
    if jobs:
        found.append("jobs")
    if environ.get(WORKSPACES, "").lower() in ("true", "1"):
        found.append("workspaces")
    return tuple(found)


def threads(argv: Sequence[str], environ: Mapping[str, str], kind: str) -> int | None:
    """Return how many requests a worker serves at once, None where that is more than a pool or not known.

    uvicorn hands requests to 40 threads and more; a thread uses one connection of an engine at a time.
    """
    if kind == "waitress":
        return _number(commands.option(argv, "--threads") or "4")
    hidden = environ.get("GUNICORN_CMD_ARGS") or commands.option(argv, "-c", "--config")
    if kind != "gunicorn" or hidden:
        return None
    if commands.option(argv, "-k", "--worker-class") not in ("", "sync", "gthread"):
        return None
    return _number(commands.option(argv, "--threads") or "1")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 6 and int(text) else None


class Budget(Collector[HostSession]):
    name = "budget"
    metrics = (BUDGET,)

    def collect(self, session: HostSession) -> Iterable[Sample]:
        sighting = session.sighting
        backend = sighting.found.backend if sighting.found else None
        workers, capacity = sighting.workers_configured, sighting.pool_capacity
        if sighting.found is None or backend is None or backend.dialect == "sqlite":
            return
        environ = (
            processes.environ(session.proc, sighting.head, WANTED) if sighting.head is not None else None
        )
        if environ is None or workers is None or capacity is None:
            return
        assert sighting.head is not None
        argv = processes.command(session.proc, sighting.head)
        at_once = threads(argv, environ, sighting.found.kind)
        each = workers * (capacity if at_once is None else min(capacity, at_once))
        for engine in engines(environ, sighting.jobs):
            yield BUDGET(each, engine)
        yield BUDGET(_background(sighting), "background")


def _background(sighting: Sighting) -> int:
    roles = {one.role for one in sighting.processes}
    return OF_PARENT * ("parent" in roles) + OF_JOBS * bool(sighting.jobs)
