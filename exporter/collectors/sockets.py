"""Connections of each worker, to its clients and to the database, and those that wait to be accepted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from exporter.backend import Backend
from exporter.collector import Collector
from exporter.discovery import Found
from exporter.host import processes, unix_sockets
from exporter.host.sockets import Address, Tables
from exporter.metric import Sample, gauge
from exporter.sources.host import HostSession

LABELS = ("worker",)
PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433}

HTTP = gauge(
    "mlflow_server_worker_http_connections",
    "Established connections to the server's port that the worker holds, idle ones and probes included; absent "
    "while the slot is empty and for another user's server.",
    "/proc/PID/fd, sock_diag, /proc/PID/net/tcp",
    labels=LABELS,
)
DATABASE = gauge(
    "mlflow_server_worker_database_connections",
    "Established connections that the worker holds to the backend's port, and to its address where the URI "
    "gives one and not a name, or to its Unix socket; absent while the slot is empty, for another user's server, "
    "and where the backend is no database server or its Unix socket is in another network namespace.",
    "/proc/PID/fd, sock_diag, /proc/PID/net/tcp",
    labels=LABELS,
)
QUEUE = gauge(
    "mlflow_server_accept_queue_length",
    "Connections that the kernel has established and no worker has accepted yet; absent while no server runs.",
    "sock_diag, /proc/PID/net/tcp.rx_queue",
)


class Sockets(Collector[HostSession]):
    name = "sockets"
    metrics = (HTTP, DATABASE, QUEUE)

    def collect(self, session: HostSession) -> Iterable[Sample]:
        found = session.sighting.found
        tcp = session.tcp()
        if found is None or tcp is None:
            return
        waiting = [
            one.queue
            for one in tcp.listeners()
            if session.sighting.socket in (None, one.inode) and one.port == found.port
        ]
        if waiting:
            yield QUEUE(sum(waiting))
        http = frozenset(one.inode for one in tcp.connections({found.port}, ()))
        database = _to_database(session, tcp, found)
        for worker, held in self._held(session):
            yield HTTP(len(held & http), worker)
            if database is not None:
                yield DATABASE(len(held & database), worker)

    def _held(self, session: HostSession) -> Iterator[tuple[str, frozenset[int]]]:
        for slot, worker in session.workers:
            session.check_time()
            held = processes.sockets(session.proc, worker.pid)
            # Its pid could be somebody else's by now: the figures are the worker's only if it still lives.
            if held is not None and processes.lives(session.proc, worker.identity):
                yield str(slot), held


def _to_database(session: HostSession, tcp: Tables, found: Found) -> frozenset[int] | None:
    """Return the inodes of connections to the backend, anybody's; None where it has none or they are not seen."""
    backend = found.backend
    if backend is None or backend.dialect not in PORTS:
        return None
    port = backend.port or PORTS[backend.dialect]
    if backend.dialect == "postgresql" and (not backend.host or backend.host.startswith("/")):
        seen = processes.shares(session.proc, session.sighting.head or 0, "net")
        return unix_sockets.clients(f".s.PGSQL.{port}") if seen else None
    addresses = _addresses(backend)
    return frozenset(
        one.inode
        for one in tcp.connections((), {port})
        # The other end of one of the server's own clients can have that port, too.
        if one.local_port != found.port and (addresses is None or one.remote in addresses)
    )


def _addresses(backend: Backend) -> frozenset[Address] | None:
    """Return the addresses that the host is for sure; None for a name, which only a resolver could tell."""
    if backend.host == "localhost":
        return frozenset((ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")))
    try:
        return frozenset((ipaddress.ip_address(backend.host),))
    except ValueError:
        return None
