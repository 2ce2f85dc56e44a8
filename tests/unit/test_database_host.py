"""Which Postgres runs on this machine, and what is said of it: recorded /proc trees and told capacities."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from exporter.collectors.database_host import Capacity, DatabaseHost
from exporter.host import cgroup, postmaster, processes
from exporter.host.postmaster import Session
from exporter.host.processes import TICKS
from exporter.metric import check
from exporter.sources.facts import Facts
from exporter.sources.pipeline import Row
from tests.unit.proctree import ProcTree

pytestmark = pytest.mark.unit

BOOT = 1795215273.0
STARTED = 40 * TICKS
BACKEND = 90 * TICKS


class Answer:
    """What Postgres says of our session."""

    facts: Facts
    round_trip = 0.0

    def __init__(self, session: Session, data_directory: str | None = None) -> None:
        self.row: Row = {
            "pid": session.pid,
            "started": session.started,
            "server_started": session.server_started,
            "data_directory": data_directory,
        }

    def rows(self, query: str) -> Sequence[Row]:
        assert query == "database_host"
        return [self.row]

    def ask(self, query: str, *params: object) -> Sequence[Row]:
        raise AssertionError(query)


class Postgres:
    """A postmaster with two background processes and the backend that serves us."""

    def __init__(self, proc: ProcTree) -> None:
        self.proc = proc
        self.postmaster = proc.process(
            ["/usr/lib/postgresql/15/bin/postgres", "-D", "/data"], started=STARTED
        )
        self.others = [self.child(f"postgres: {name}", STARTED + 1) for name in ("checkpointer", "walwriter")]
        self.backend = self.child("postgres: exporter mlflow 127.0.0.1(40000) SELECT", BACKEND)

    def child(self, title: str, started: int) -> int:
        pid = self.proc.process([title], self.postmaster, started=started)
        self.memory(pid, 0, 0)
        return pid

    def memory(self, pid: int, private: int, shared: int) -> None:
        text = f"Uid:\t0\t0\t0\t0\nRssAnon:\t{private} kB\nRssShmem:\t{shared} kB\nHugetlbPages:\t0 kB\n"
        (self.proc.root / str(pid) / "status").write_text(text)

    def reaped(self, ticks: int) -> None:
        """Set the CPU time of the postmaster's children that have ended."""
        path = self.proc.root / str(self.postmaster) / "stat"
        head, _, tail = path.read_text().rpartition(")")
        fields = tail.split()
        fields[13] = str(ticks)
        path.write_text(f"{head}) {' '.join(fields)}\n")

    @property
    def session(self) -> Session:
        # Its clock and the kernel's differ by what rounding and a correction of the time make.
        return Session(self.backend, BOOT + 90.9, BOOT + 41.0)


@pytest.fixture
def proc(tmp_path: Path) -> ProcTree:
    return ProcTree(tmp_path / "proc")


@pytest.fixture
def server(proc: ProcTree) -> Postgres:
    return Postgres(proc)


def values(collector: DatabaseHost, answer: Answer) -> dict[str, float]:
    samples = check(collector.collect(answer), frozenset(collector.metrics))
    return {one.metric.name.removeprefix("mlflow_db_"): float(str(one.value)) for one in samples}


def test_the_postmaster_is_the_parent_of_the_process_that_serves_us(server: Postgres) -> None:
    found = postmaster.find(server.proc.root, server.session)
    assert found is not None
    assert found.pid == server.postmaster


def test_a_clock_that_was_set_moves_no_postgres_to_another_machine(server: Postgres) -> None:
    collector, before = DatabaseHost(proc=server.proc.root), server.session
    processes_before = values(collector, Answer(before))["processes"]
    stat = server.proc.root / "stat"
    stat.write_text(stat.read_text().replace(f"{BOOT:.0f}", f"{BOOT + 3600:.0f}"))
    assert values(collector, Answer(before))["processes"] == processes_before
    # A new session, and then a new start of the server, which nothing is known of.
    session = Session(server.child("postgres: exporter", BACKEND), BOOT + 90 + 3600, before.server_started)
    assert values(collector, Answer(session))["processes"] == processes_before + 1
    restarted = Session(session.pid, session.started, before.server_started + 0.001)
    assert "processes" not in values(collector, Answer(restarted))


@pytest.mark.parametrize("what", ["gone", "later", "older server", "not Postgres"])
def test_a_process_that_only_has_the_same_id_is_not_our_postgres(server: Postgres, what: str) -> None:
    told = server.session
    if what == "gone":
        told = Session(server.proc.next + 7, told.started, told.server_started)
    elif what == "later":
        told = Session(told.pid, told.started + 60, told.server_started)
    elif what == "older server":
        told = Session(told.pid, told.started, told.server_started - 3600)
    else:
        (server.proc.root / str(told.pid) / "cmdline").write_bytes(b"sleep\0postgres: x\0")
    assert postmaster.find(server.proc.root, told) is None


def test_of_a_database_elsewhere_only_what_was_told_is_said(tmp_path: Path) -> None:
    answer = Answer(Session(7, BOOT, BOOT), str(tmp_path))
    assert values(DatabaseHost(proc=tmp_path), answer) == {}
    told = DatabaseHost(Capacity(4.5, 16 << 30, 100 << 30), tmp_path)
    assert values(told, answer) == {
        "cpu_cores": 4.5,
        "memory_limit_bytes": 16 << 30,
        "storage_size_bytes": 100 << 30,
    }


def test_what_was_told_goes_before_what_is_found(server: Postgres) -> None:
    (server.proc.root / "meminfo").write_text("MemTotal:       25276084 kB\n")
    assert values(DatabaseHost(proc=server.proc.root), Answer(server.session))["memory_limit_bytes"] == (
        25276084 * 1024
    )
    told = DatabaseHost(Capacity(memory=1 << 30), server.proc.root)
    assert values(told, Answer(server.session))["memory_limit_bytes"] == 1 << 30


def test_private_memory_is_added_up_and_shared_memory_counted_once(server: Postgres) -> None:
    server.memory(server.postmaster, 10, 100)
    server.memory(server.others[0], 20, 700)
    server.memory(server.backend, 30, 400)
    found = values(DatabaseHost(proc=server.proc.root), Answer(server.session))
    assert (found["processes"], found["processes_resident_memory_bytes"]) == (4, (60 + 700) * 1024)


def test_cpu_of_sessions_that_end_stays_counted_once(server: Postgres) -> None:
    collector, answer = DatabaseHost(proc=server.proc.root), Answer(server.session)
    server.proc.used(server.others[0], 500 * TICKS, STARTED + 1)

    def cpu() -> float:
        return values(collector, answer)["processes_cpu_seconds_total"]

    assert cpu() == 0
    short = server.child("postgres: mlflow mlflow", BACKEND + 1)
    server.proc.used(short, 3 * TICKS, BACKEND + 1)
    assert cpu() == 3
    server.proc.end(short)  # and its parent has not been told yet
    assert cpu() == 3
    server.reaped(4 * TICKS)
    assert cpu() == 4
    server.proc.used(server.backend, TICKS, BACKEND)
    assert cpu() == 5


def test_a_restarted_postgres_goes_on_counting(server: Postgres) -> None:
    collector = DatabaseHost(proc=server.proc.root)
    values(collector, Answer(server.session))
    server.reaped(2 * TICKS)
    assert values(collector, Answer(server.session))["processes_cpu_seconds_total"] == 2
    again = Postgres(server.proc)
    again.reaped(50 * TICKS)
    assert values(collector, Answer(again.session))["processes_cpu_seconds_total"] == 2
    again.reaped(51 * TICKS)
    assert values(collector, Answer(again.session))["processes_cpu_seconds_total"] == 3


def test_open_files_are_those_of_the_process_that_has_most(server: Postgres) -> None:
    for number in range(5):
        (server.proc.root / str(server.backend) / "fd" / str(number)).symlink_to("/data/base/1")
    found = values(DatabaseHost(proc=server.proc.root), Answer(server.session))
    assert (found["process_open_fds"], found["process_max_fds"]) == (5, 1024)


def test_cores_are_the_quota_of_the_control_group_or_the_cpus_that_are_allowed(proc: ProcTree) -> None:
    # A process that there is, since the CPUs that it may use are asked of the kernel.
    pid = proc.process(["postgres"], pid=os.getpid())
    allowed = len(os.sched_getaffinity(0))
    assert cgroup.cores(proc.root, pid) == allowed
    (proc.root / str(pid) / "cgroup").write_text("0::/db\n")
    assert cgroup.cores(proc.root, pid) is None, "a quota that may be there cannot be read"
    group = proc.root / str(pid) / "root/sys/fs/cgroup/db"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{pid}\n")
    (group / "cpu.max").write_text("max 100000\n")
    assert cgroup.cores(proc.root, pid) == allowed
    (group / "cpu.max").write_text("30000 100000\n")
    assert cgroup.cores(proc.root, pid) == 0.3


def test_memory_is_the_limit_of_the_control_group_or_the_machines(server: Postgres) -> None:
    root, pid = server.proc.root, server.postmaster
    assert postmaster.memory_limit(root, pid) is None
    (root / "meminfo").write_text("MemTotal:       1000000 kB\n")
    assert postmaster.memory_limit(root, pid) == 1_024_000_000
    (root / str(pid) / "cgroup").write_text("0::/db\n")
    assert postmaster.memory_limit(root, pid) is None
    group = root / str(pid) / "root/sys/fs/cgroup/db"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{pid}\n")
    (group / "memory.max").write_text("536870912\n")
    assert postmaster.memory_limit(root, pid) == 512 << 20


def test_storage_is_where_the_postmaster_stands_or_the_directory_that_is_its_users_own(
    server: Postgres, tmp_path: Path
) -> None:
    root, pid = server.proc.root, server.postmaster
    expected = shutil.disk_usage(tmp_path)
    link = root / str(pid) / "cwd"
    link.unlink()
    assert postmaster.storage(root, pid, "") is None
    (root / str(pid) / "status").write_text(f"Uid:\t0\t{os.geteuid()}\t0\t0\n")
    found = postmaster.storage(root, pid, str(tmp_path))
    assert found is not None and found.size == expected.used + expected.free
    (root / str(pid) / "status").write_text("Uid:\t0\t4711\t0\t0\n")
    assert postmaster.storage(root, pid, str(tmp_path)) is None, "another machine's path that exists here too"
    link.symlink_to(tmp_path)
    found = postmaster.storage(root, pid, "")
    assert found is not None and found.size == expected.used + expected.free


def test_a_process_that_is_gone_has_nothing(tmp_path: Path) -> None:
    assert postmaster.reaped_seconds(tmp_path, 7) is None
    assert cgroup.cores(tmp_path, 1 << 30) is None
    assert processes.stat(tmp_path, 7) is None
