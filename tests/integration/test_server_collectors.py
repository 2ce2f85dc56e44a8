"""The figures of a real server's processes agree with what others say of them, before and after a kill."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from exporter.collector import Collector
from exporter.collectors.host import Host
from exporter.collectors.limits import Limits
from exporter.collectors.processes import Processes
from exporter.collectors.server import TrackingServer
from exporter.collectors.sockets import Sockets
from exporter.collectors.workers import Workers
from exporter.discovery import Discovery
from exporter.host import sockets
from exporter.metric import check
from exporter.sources.host import HostSource
from tests.lab.servers import MlflowServer, Postgres, wait_for

pytestmark = pytest.mark.integration

Majors = Callable[[int], Postgres]
EXPERIMENT = "/api/2.0/mlflow/experiments/get"


class Scraper:
    def __init__(self, port: int) -> None:
        self.discovery = Discovery(port)
        self.source = HostSource(self.discovery)
        self.collectors: list[Collector[Any]] = [
            TrackingServer(),
            Workers(),
            Processes(),
            Sockets(),
            Limits(),
            Host(),
        ]

    def scrape(self) -> dict[str, float]:
        session = self.source.open((), time.monotonic() + 30)
        values: dict[str, float] = {}
        for collector in self.collectors:
            for metric, value, labels in check(collector.collect(session), frozenset(collector.metrics)):
                assert isinstance(value, int | float)
                values[" ".join((metric.name.removeprefix("mlflow_server_"), *labels))] = float(value)
        return values

    def workers(self) -> dict[int, int]:
        return {one.slot: one.pid for one in self.discovery.look().processes if one.slot is not None}


@contextmanager
def load(server: MlflowServer, clients: int = 3) -> Iterator[None]:
    """Ask for an experiment, again and again, in as many connections."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                requests.get(server.url + EXPERIMENT, params={"experiment_id": "0"}, timeout=10)
            except requests.ConnectionError:
                continue  # the worker was killed: what the test is about
            ended.wait(0.01)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_figures_agree_with_psutil_and_postgres(postgres: Majors) -> None:
    database = postgres(15)
    uri = database.create_mlflow("collectors_agree")
    with MlflowServer(uri, 2) as server, ExitStack() as stack:
        scraper = Scraper(server.port)
        processes = {slot: psutil.Process(pid) for slot, pid in scraper.workers().items()}
        scraper.scrape()
        before = {slot: process.cpu_times() for slot, process in processes.items()}
        with load(server):
            time_ends = time.monotonic() + 4
            wait_for(lambda: time.monotonic() > time_ends, "the load has run", 10)
        # Idle connections stay with the worker that accepted them until uvicorn's keep-alive ends, after 5 s.
        for _ in range(6):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100)
        values = scraper.scrape()
        for slot, process in processes.items():
            used = sum(process.cpu_times()[:2]) - sum(before[slot][:2])
            assert used > 0.1
            assert values[f"worker_cpu_seconds_total {slot}"] == pytest.approx(used, rel=0.05, abs=0.03)
            assert values[f"worker_resident_memory_bytes {slot}"] == pytest.approx(
                process.memory_info().rss, rel=0.02
            )
            assert values[f"worker_open_fds {slot}"] == process.num_fds()
            assert values[f"worker_threads {slot}"] == process.num_threads()
            assert values[f"worker_max_fds {slot}"] == process.rlimit(psutil.RLIMIT_NOFILE)[0]
            held = [one for one in process.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]
            http = sum(one.laddr.port == server.port for one in held)
            assert values[f"worker_http_connections {slot}"] == http
        assert sum(values[f"worker_http_connections {slot}"] for slot in processes) == 6
        ((sessions,),) = database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'collectors_agree' AND usename = 'mlflow'"
        )
        parent = next(one.pid for one in scraper.discovery.look().processes if one.role == "parent")
        waiting = len(
            [one for one in psutil.Process(parent).net_connections("tcp") if one.status == "ESTABLISHED"]
        )
        assert (
            sum(values[f"worker_database_connections {slot}"] for slot in processes) == sessions - waiting > 0
        )
        assert values["cpu_seconds_total worker"] == pytest.approx(
            sum(values[f"worker_cpu_seconds_total {slot}"] for slot in processes)
        )


def test_connections_through_a_unix_socket_are_counted(postgres: Majors) -> None:
    database = postgres(15)
    uri = database.create_mlflow("collectors_unix")
    local = uri.replace(f"127.0.0.1:{database.port}", "") + f"?host={database.directory}&port={database.port}"

    def sessions() -> int:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'collectors_unix' AND client_addr IS NULL"
        )
        ((number,),) = database.execute(query + " AND usename = 'mlflow'")
        return int(number)

    with MlflowServer(local, 2) as server:
        scraper = Scraper(server.port)
        of_parent = sessions()
        assert of_parent > 0
        with load(server):
            wait_for(lambda: sessions() > of_parent, "workers have connected")
        values = scraper.scrape()
        counted = sum(
            value for name, value in values.items() if name.startswith("worker_database_connections")
        )
        assert counted == sessions() - of_parent > 0


def test_killed_worker_is_replaced_in_its_slot_without_a_jump(postgres: Majors) -> None:
    with MlflowServer(postgres(15).create_mlflow("collectors_kill"), 2) as server, load(server):
        scraper = Scraper(server.port)
        started = time.monotonic()
        scraper.scrape()
        before = scraper.workers()
        previous: dict[str, float] = {}
        slot = {pid: slot for slot, pid in before.items()}[server.kill_worker()]

        def replaced() -> bool:
            values = scraper.scrape()
            for name, value in previous.items():
                if name.endswith("_total") or "_total " in name:
                    assert values[name] >= value, f"{name} fell"
            previous.update(values)
            # Until the replacement has loaded MLflow it costs CPU and answers nothing.
            return len(server.worker_pids()) == 2 and values["worker_replacements_total"] == 1

        wait_for(replaced, "the worker is replaced", 60)
        elapsed = time.monotonic() - started
        after = scraper.workers()
        assert after[slot] != before[slot]
        assert {number: pid for number, pid in after.items() if number != slot} == {
            number: pid for number, pid in before.items() if number != slot
        }
        values = scraper.scrape()
        assert values["worker_replacements_total"] == 1
        # Threads of one interpreter share one core, imports a little more: a jump would be many seconds.
        assert values[f"worker_cpu_seconds_total {slot}"] <= 1.5 * elapsed


def test_the_kernel_and_its_text_tables_tell_the_same_of_ipv4_ipv6_and_mapped_connections() -> None:
    with ExitStack() as stack:
        both = stack.enter_context(
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=7)
        )
        port = both.getsockname()[1]
        for address in ("127.0.0.1", "::1", "127.0.0.1"):
            stack.enter_context(socket.create_connection((address, port)))
        stack.enter_context(both.accept()[0])
        asked, told = sockets.tables(Path("/proc"), os.getpid()), sockets._text(Path("/proc"), os.getpid())
        assert isinstance(asked, sockets._Answers)
        assert told is not None
        assert {one for one in asked.listeners() if one.port == port} == {
            one for one in told.listeners() if one.port == port
        }
        assert [one.queue for one in asked.listeners() if one.port == port] == [2]
        for ports in (({port}, ()), ((), {port}), ({port}, {port})):
            found = set(asked.connections(*ports))
            assert found == set(told.connections(*ports))
            assert len(found) == (6 if all(ports) else 3)


def test_connections_that_nobody_accepts_are_in_the_queue() -> None:
    with MlflowServer(workers=1) as server, ExitStack() as stack:
        scraper = Scraper(server.port)
        assert scraper.scrape()["accept_queue_length"] == 0
        server.pause()
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert scraper.scrape()["accept_queue_length"] == 20
        server.resume()
        wait_for(lambda: scraper.scrape()["accept_queue_length"] == 0, "the queue is empty")


def test_job_runner_that_dies_is_missed() -> None:
    with MlflowServer(workers=1, jobs=True) as server:
        scraper = Scraper(server.port)
        wait_for(lambda: scraper.scrape().get("processes consumer", 0) > 1, "consumers have started", 60)
        found: list[int] = []

        def alone() -> bool:
            # What it forks has its command line until it is another program.
            found[:] = [one.pid for one in scraper.discovery.look().processes if one.role == "job_runner"]
            return len(found) == 1 and scraper.scrape()["job_runner_alive"] == 1

        wait_for(alone, "one job runner is seen")
        psutil.Process(found[0]).kill()
        wait_for(lambda: scraper.scrape()["job_runner_alive"] == 0, "the job runner is gone")
        assert scraper.scrape()["up"] == 1
