"""Connections of each worker, to its clients and to the database, and those that wait to be accepted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from exporter.backend import Backend
from exporter.collector import Collector
from exporter.host import processes
from exporter.host.sockets import Address, Connection, connections, listeners
from exporter.metric import Sample, gauge
from exporter.sources.host import HostSession

LABELS = ("worker",)
PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433}

HTTP = gauge(
    "mlflow_server_worker_http_connections",
    "Established connections to the server's port that the worker holds, idle ones and probes included; absent "
    "while the slot is empty and for another user's server.",
    "/proc/PID/fd, /proc/PID/net/tcp",
    labels=LABELS,
)
DATABASE = gauge(
    "mlflow_server_worker_database_connections",
    "Established TCP connections that the worker holds to the backend's port, and to its address where the URI "
    "gives one and not a name; absent while the slot is empty, for another user's server, and where the "
    "backend is reached through a Unix socket or is no database server.",
    "/proc/PID/fd, /proc/PID/net/tcp",
    labels=LABELS,
)
QUEUE = gauge(
    "mlflow_server_accept_queue_length",
    "Connections that the kernel has established and no worker has accepted yet; absent while no server runs.",
    "/proc/PID/net/tcp.rx_queue",
)


class Sockets(Collector[HostSession]):
    name = "sockets"
    metrics = (HTTP, DATABASE, QUEUE)

    def collect(self, session: HostSession) -> Iterable[Sample]:
        found = session.sighting.found
        table = session.tcp_table()
        if found is None or not table:
            return
        waiting = [
            one.queue
            for one in listeners(table)
            if session.sighting.socket in (None, one.inode) and one.port == found.port
        ]
        if waiting:
            yield QUEUE(sum(waiting))
        port = _database_port(found.backend)
        addresses = _addresses(found.backend)
        ours = list(connections(table, {found.port}, {port} if port else ()))
        http = {one.inode for one in ours if one.local_port == found.port}
        database = {one.inode for one in ours if _is_database(one, port, addresses)} - http
        for worker, held in self._held(session):
            yield HTTP(len(held & http), worker)
            if port:
                yield DATABASE(len(held & database), worker)

    def _held(self, session: HostSession) -> Iterator[tuple[str, frozenset[int]]]:
        for slot, worker in session.workers:
            session.check_time()
            held = processes.sockets(session.proc, worker.pid)
            # Its pid could be somebody else's by now: the figures are the worker's only if it still lives.
            if held is not None and processes.lives(session.proc, worker.identity):
                yield str(slot), held


def _database_port(backend: Backend | None) -> int:
    """Return the port, 0 where there is none."""
    if backend is None or backend.dialect not in PORTS:
        return 0
    local = backend.host.startswith("/") or (not backend.host and backend.dialect == "postgresql")
    return 0 if local else backend.port or PORTS[backend.dialect]


def _addresses(backend: Backend | None) -> frozenset[Address] | None:
    """Return the addresses that the host is for sure; None for a name, which only a resolver could tell."""
    host = backend.host if backend else ""
    if host == "localhost":
        return frozenset((ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")))
    try:
        return frozenset((ipaddress.ip_address(host),))
    except ValueError:
        return None


def _is_database(one: Connection, port: int, addresses: frozenset[Address] | None) -> bool:
    return one.remote_port == port and (addresses is None or one.remote in addresses)
