"""What the collectors of the host make of recorded /proc trees."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from exporter.collector import Collector, Reason, SourceError
from exporter.collectors.host import Host
from exporter.collectors.limits import Limits
from exporter.collectors.processes import Processes
from exporter.collectors.server import TrackingServer
from exporter.collectors.sockets import Sockets
from exporter.collectors.workers import Workers
from exporter.discovery import Discovery
from exporter.host.processes import TICKS
from exporter.metric import check
from exporter.sources.host import HostSource
from tests.unit.proctree import FORKED, PYTHON, ProcTree, environment, uvicorn

pytestmark = pytest.mark.unit


@pytest.fixture
def proc(tmp_path: Path) -> ProcTree:
    return ProcTree(tmp_path / "proc")


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


class Scraper:
    """Scrapes collectors as the exporter does; `now` is seconds since boot."""

    def __init__(
        self, proc: ProcTree, monkeypatch: pytest.MonkeyPatch, collectors: Sequence[Collector[Any]]
    ) -> None:
        self.source = HostSource(Discovery(proc=proc.root, clock=lambda: self.now))
        self.collectors = collectors
        self.now = 2000.0
        monkeypatch.setattr(time, "clock_gettime", lambda _: self.now)

    def scrape(self, later: float = 15.0) -> dict[str, float]:
        """Return values by name and labels, that much later."""
        self.now += later
        session = self.source.open((), time.monotonic() + 60)
        values: dict[str, float] = {}
        for collector in self.collectors:
            for metric, value, labels in check(collector.collect(session), frozenset(collector.metrics)):
                assert isinstance(value, int | float)
                name = metric.name.removeprefix("mlflow_").removeprefix("server_")
                values[" ".join((name, *labels))] = float(value)
        return values


def everything(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> Scraper:
    return Scraper(proc, monkeypatch, [TrackingServer(), Workers(), Processes(), Sockets(), Limits(), Host()])


def end_all(proc: ProcTree, pids: dict[str, list[int]]) -> None:
    for pid in [pid for role in pids.values() for pid in role]:
        proc.end(pid)


def test_server_is_described(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.server(workers=4)
    values = Scraper(proc, monkeypatch, [TrackingServer()]).scrape()
    assert values.pop("start_timestamp_seconds") == pytest.approx(1795216224.05)
    assert values == {
        "up": 1,
        "info  uvicorn postgresql": 1,
        "workers_configured": 4,
        "workers_alive": 4,
        "workers_orphaned": 0,
        "worker_replacements_total": 0,
        "job_runner_alive": 1,
    }


def test_without_a_server_it_is_down_and_the_rest_is_absent(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    (proc.root / "sys/fs").mkdir(parents=True)
    (proc.root / "sys/fs/file-nr").write_text("9728\t0\t2465978\n")
    assert everything(proc, monkeypatch).scrape() == {
        "up": 0,
        "workers_alive": 0,
        "workers_orphaned": 0,
        "worker_replacements_total": 0,
        "host_open_files": 9728,
        "host_max_open_files": 2465978,
    }


def test_several_servers_are_neither_up_nor_down(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.server(5000)
    proc.server(5001, boot="b008")
    with pytest.raises(SourceError) as caught:
        Scraper(proc, monkeypatch, [TrackingServer()]).scrape()
    assert caught.value.reason is Reason.UNSUPPORTED
    assert "port 5001" in caught.value.detail and "server.port" in caught.value.remedy


def test_replaced_worker_continues_its_slots_count(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = proc.server(workers=2)
    for pid in pids["worker"]:
        proc.used(pid, 360_000)
    scraper = everything(proc, monkeypatch)
    assert scraper.scrape()["worker_cpu_seconds_total 1"] == 0
    proc.used(pids["worker"][1], 360_000 + 3 * TICKS)
    assert scraper.scrape()["worker_cpu_seconds_total 1"] == 3
    proc.end(pids["worker"][1])
    empty = scraper.scrape()
    assert empty["worker_cpu_seconds_total 1"] == 3
    assert "worker_resident_memory_bytes 1" not in empty
    assert (empty["workers_alive"], empty["worker_replacements_total"]) == (1, 0)
    born = int((scraper.now + 5) * TICKS)
    new = proc.process(FORKED, pids["supervisor"][0], environment(), started=born)
    proc.used(new, 4 * TICKS, born)
    replaced = scraper.scrape()
    assert replaced["worker_cpu_seconds_total 1"] == 7
    assert replaced["cpu_seconds_total worker"] == 7
    assert (replaced["workers_alive"], replaced["worker_replacements_total"]) == (2, 1)


def test_restart_with_fewer_workers_replaces_none_and_ends_the_other_slots(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = proc.server(workers=3)
    scraper = everything(proc, monkeypatch)
    scraper.scrape()
    proc.used(pids["worker"][0], 5 * TICKS)
    assert scraper.scrape()["worker_cpu_seconds_total 0"] == 5
    end_all(proc, pids)
    gone = scraper.scrape()
    assert gone["up"] == 0 and gone["worker_cpu_seconds_total 2"] == 0
    proc.server(workers=2, boot="b008")
    values = scraper.scrape()
    assert (values["up"], values["worker_replacements_total"]) == (1, 0)
    assert values["worker_cpu_seconds_total 0"] == 5
    assert "worker_cpu_seconds_total 2" not in values


def test_roles_keep_what_their_ended_processes_used(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = proc.server(workers=1)
    scraper = Scraper(proc, monkeypatch, [Processes()])
    first = scraper.scrape()
    assert (first["processes consumer"], first["resident_memory_bytes consumer"]) == (2, 2 * 61035 * 4096)
    proc.used(pids["consumer"][0], 2 * TICKS)
    assert scraper.scrape()["cpu_seconds_total consumer"] == 2
    for pid in pids["consumer"]:
        proc.end(pid)
    last = scraper.scrape()
    assert last["cpu_seconds_total consumer"] == 2
    assert "processes consumer" not in last


def test_dead_job_runner_shows_and_disabled_jobs_do_not(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = proc.server(workers=1)
    scraper = everything(proc, monkeypatch)
    assert scraper.scrape()["job_runner_alive"] == 1
    proc.end(pids["job_runner"][0])
    assert scraper.scrape()["job_runner_alive"] == 0
    end_all(proc, {role: found for role, found in pids.items() if role != "job_runner"})
    proc.process(uvicorn(5000, 1), environ=environment("b008"), sockets=[proc.listen(5000)])
    assert "job_runner_alive" not in scraper.scrape()


def test_connections_are_counted_where_they_are_held(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "postgresql://u:p@127.0.0.2/s"
    listening = proc.listen(5000, queue=7)
    proc.listen(5001, queue=9)
    clients = [proc.connect(5000, 40_000 + number) for number in range(3)]
    database = proc.connect(51_111, 5432, remote="0200007F")
    other_host = proc.connect(51_112, 5432, remote="0300007F")
    waiting = proc.connect(
        5000, 5432, remote="0200007F"
    )  # a client whose own port happens to be the database's
    supervisor = proc.process(uvicorn(5000, 2), environ=environment(uri=uri), sockets=[listening])
    held = [[listening, *clients[:2], database, other_host], [listening, clients[2], waiting]]
    for inodes in held:
        proc.process(FORKED, supervisor, environment(uri=uri), sockets=inodes)
    assert Scraper(proc, monkeypatch, [Sockets()]).scrape() == {
        "accept_queue_length": 7,
        "worker_http_connections 0": 2,
        "worker_http_connections 1": 2,
        "worker_database_connections 0": 1,
        "worker_database_connections 1": 0,
    }


@pytest.mark.parametrize("uri", ["sqlite:///m.db", "postgresql://u@/s?host=/run/postgresql"])
def test_database_without_tcp_and_out_of_sight_has_no_count_of_connections(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    proc.process(uvicorn(5000, 1), environ=environment(uri=uri), sockets=[proc.listen(5000)])
    assert set(Scraper(proc, monkeypatch, [Sockets()]).scrape()) == {
        "accept_queue_length",
        "worker_http_connections 0",
    }


def test_another_users_server_gives_what_all_may_read(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    proc.server(workers=1, readable=False)
    values = everything(proc, monkeypatch).scrape()
    assert values["up"] == 1 and values["accept_queue_length"] == 0
    assert {"worker_resident_memory_bytes 0", "worker_threads 0", "worker_max_fds 0"} <= values.keys()
    unreadable = ("worker_open_fds", "worker_http", "worker_database", "memory", "cpu_throttled", "oom")
    assert not [name for name in values if name.startswith(unreadable)]


def test_scrape_past_its_deadline_lists_no_more_files(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.server(workers=1)
    source = HostSource(Discovery(proc=proc.root))
    session = source.open((), time.monotonic() - 1)
    with pytest.raises(SourceError) as caught:
        list(Sockets().collect(session))
    assert caught.value.reason is Reason.TIMEOUT


def test_system_without_proc_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        HostSource(Discovery(proc=tmp_path)).open((), 0.0)
    assert caught.value.reason is Reason.UNSUPPORTED


def test_random_bytes_in_proc_raise_nothing(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = proc.server(workers=2)
    proc.connect(5000, 40_000)
    (proc.root / "sys/fs").mkdir(parents=True)
    (proc.root / "sys/fs/file-nr").write_text("9728\t0\t2465978\n")
    for pid in (pids["supervisor"][0], pids["worker"][0]):
        (proc.root / str(pid) / "cgroup").write_text("4:memory:/app\n0::/app\n")
        (proc.root / str(pid) / "net/netstat").write_text("TcpExt: ListenOverflows\nTcpExt: 7\n")
    scraper = everything(proc, monkeypatch)
    chance = random.Random(11)
    files = [path for path in proc.root.rglob("*") if path.is_file()]
    for _ in range(20):
        for path in chance.sample(files, 10):
            text = path.read_bytes()
            at = chance.randrange(len(text) + 1)
            path.write_bytes(text[:at] + chance.randbytes(chance.choice((0, 1, 300))) + text[at + 1 :])
        assert "workers_alive" in scraper.scrape()


def test_exporter_beside_the_server_is_none_of_its_processes(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = proc.server(workers=1)
    own = proc.process([PYTHON, "/opt/bin/mlflow-exporter"], pids["parent"][0])
    monkeypatch.setattr(os, "getpid", lambda: own)
    assert "processes other" not in Scraper(proc, monkeypatch, [Processes()]).scrape()
