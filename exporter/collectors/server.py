"""The tracking server as a whole: is it there, what it is, are its workers complete."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.collector import Collector, Reason, SourceError
from exporter.metric import Sample, counter, gauge
from exporter.sources.host import HostSession

UP = gauge(
    "mlflow_server_up",
    "1 while a tracking server's processes run here and listen, 0 while none do; absent where several run and "
    "none is chosen.",
    "/proc/PID/net/tcp",
)
INFO = gauge(
    "mlflow_server_info",
    "Always 1; MLflow's version (empty where its package cannot be seen), the web server and the backend's "
    "dialect (empty where it cannot be read); absent while no server runs.",
    "/proc/PID/cmdline, environ, root",
    labels=("version", "server", "backend"),
)
START = gauge(
    "mlflow_server_start_timestamp_seconds",
    "Unix time at which the server's supervisor started; absent while there is none.",
    "/proc/PID/stat",
    "timestamp_seconds",
)
CONFIGURED = gauge(
    "mlflow_server_workers_configured",
    "Workers that the server was told to run; absent where its command line does not say.",
    "/proc/PID/cmdline",
)
ALIVE = gauge(
    "mlflow_server_workers_alive",
    "Worker processes that exist, orphaned ones included; 0 while no server runs.",
    "/proc/PID/stat",
)
ORPHANED = gauge(
    "mlflow_server_workers_orphaned",
    "Worker processes that have outlived their supervisor and still hold its port; 0 while no server runs.",
    "/proc/PID/stat",
)
REPLACEMENTS = counter(
    "mlflow_server_worker_replacements_total",
    "Workers seen in the place of one that ended while the server went on; one that ended and was replaced "
    "twice between two scrapes counts once.",
    "/proc/PID/stat",
)
JOB_RUNNER = gauge(
    "mlflow_server_job_runner_alive",
    "1 while MLflow's job runner exists, 0 while it is missing; absent where job execution is off or the "
    "server's environment cannot be read.",
    "/proc/PID/cmdline",
)


class TrackingServer(Collector[HostSession]):
    name = "server"
    metrics = (UP, INFO, START, CONFIGURED, ALIVE, ORPHANED, REPLACEMENTS, JOB_RUNNER)

    def __init__(self) -> None:
        self._key = ""
        self._slots: dict[int, tuple[int, int]] = {}
        self._replacements = 0

    def collect(self, session: HostSession) -> Iterable[Sample]:
        sighting = session.sighting
        if sighting.ambiguous:
            raise SourceError(
                Reason.UNSUPPORTED,
                "; ".join(sighting.problems),
                "Set server.port (MLFLOW_EXPORTER_SERVER_PORT) to the port of the server to watch.",
            )
        self._count_replacements(session)
        found = sighting.found
        yield UP(1 if found else 0)
        yield ALIVE(len(session.workers))
        yield ORPHANED(sum(one.orphaned for one in sighting.processes))
        yield REPLACEMENTS(self._replacements)
        if found is None:
            return
        yield INFO(1, sighting.version, found.kind, found.backend.dialect if found.backend else "")
        if sighting.started is not None:
            yield START(sighting.started)
        if sighting.workers_configured is not None:
            yield CONFIGURED(sighting.workers_configured)
        runners = sum(one.role == "job_runner" for one in sighting.processes)
        if sighting.jobs or runners:
            yield JOB_RUNNER(1 if runners else 0)

    def _count_replacements(self, session: HostSession) -> None:
        sighting = session.sighting
        if not sighting.key:
            return
        if sighting.key != self._key:  # another start of the server: nobody was replaced
            self._key, self._slots = sighting.key, {}
        for slot, worker in session.workers:
            self._replacements += self._slots.get(slot, worker.identity) != worker.identity
            self._slots[slot] = worker.identity
