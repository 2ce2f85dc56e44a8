"""The readers of /proc, on recorded files and on broken ones."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from exporter.host import cgroup, processes, sockets
from exporter.host.growth import CpuGrowth, Growth
from exporter.host.processes import Stat
from tests.unit.proctree import PYTHON, ProcTree

pytestmark = pytest.mark.unit

TCP6 = (
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr\n"
    "   0: 00000000000000000000000000000000:1388 00000000000000000000000000000000:0000 0A 00000000:00000003"
    " 00:00000000 00000000  1000        0 31338 1 0000000083a5b5c7 100 0 0 10 0\n"
    "   1: 0000000000000000FFFF00000100007F:1388 0000000000000000FFFF00000200007F:D431 01 00000000:00000000"
    " 02:000AFFFA 00000000  1000        0 31340 2 00000000d9f30b1b 20 4 30 10 -1\n"
)


@pytest.fixture
def proc(tmp_path: Path) -> ProcTree:
    return ProcTree(tmp_path / "proc")


def test_stat_survives_a_name_with_parentheses_and_spaces(proc: ProcTree) -> None:
    pid = proc.process([PYTHON], started=4711)
    proc.used(pid, 250, 4711)
    path = proc.root / str(pid) / "stat"
    path.write_text(path.read_text().replace("(python3)", "(a) R (b) 1 2)"))
    stat = processes.stat(proc.root, pid)
    assert stat is not None
    assert (stat.identity, stat.threads) == ((pid, 4711), 7)
    assert stat.cpu_seconds == 250 / processes.TICKS
    assert stat.resident_bytes == 61035 * processes.PAGE


@pytest.mark.parametrize("text", [b"", b"1", b"1 (x) S", b"1 (x) S " + b"x " * 50, b"\xff" * 5000])
def test_broken_stat_is_no_process(proc: ProcTree, text: bytes) -> None:
    pid = proc.process([PYTHON])
    (proc.root / str(pid) / "stat").write_bytes(text)
    assert processes.stat(proc.root, pid) is None


def test_process_that_is_gone_gives_nothing(tmp_path: Path) -> None:
    assert processes.stat(tmp_path, 7) is None
    assert processes.children(tmp_path, 7) == ()
    assert processes.command(tmp_path, 7) == ()
    assert processes.environ(tmp_path, 7, ("HOME",)) is None
    assert processes.sockets(tmp_path, 7) is None
    assert processes.open_fds(tmp_path, 7) is None
    assert processes.max_fds(tmp_path, 7) is None
    assert sockets.tables(tmp_path, 7) is None
    assert cgroup.group(tmp_path, 7, "memory") is None


def test_descriptors_are_counted_and_sockets_told_from_files(proc: ProcTree) -> None:
    pid = proc.process([PYTHON], sockets=[11, 12])
    (proc.root / str(pid) / "fd" / "9").symlink_to("/srv/mlflow/mlflow.db")
    assert processes.open_fds(proc.root, pid) == 3
    assert processes.sockets(proc.root, pid) == frozenset((11, 12))
    assert processes.max_fds(proc.root, pid) == 1024


def test_unlimited_descriptors_are_no_limit(proc: ProcTree) -> None:
    pid = proc.process([PYTHON])
    (proc.root / str(pid) / "limits").write_text("Max open files    unlimited    unlimited    files\n")
    assert processes.max_fds(proc.root, pid) is None


def test_tables_of_both_families_are_read_where_ipv6_is_in_use(proc: ProcTree) -> None:
    pid = proc.process([PYTHON])
    inode = proc.listen(5000, queue=20)
    net = proc.root / str(pid) / "net"
    (net / "tcp6").write_text(TCP6)
    (net / "sockstat6").write_text("TCP6: inuse 2\nUDP6: inuse 0\n")
    table = sockets.tables(proc.root, pid)
    assert table is not None
    v4, v6 = table.listeners()
    assert (v4.address, v4.port, v4.queue, v4.inode) == (ipaddress.ip_address("127.0.0.1"), 5000, 20, inode)
    assert (v6.address, v6.port, v6.queue, v6.user) == (ipaddress.ip_address("::"), 5000, 3, 1000)
    (one,) = table.connections({5000}, ())
    assert (one.remote, one.remote_port, one.inode) == (ipaddress.ip_address("127.0.0.2"), 0xD431, 31340)
    (net / "sockstat6").write_text("TCP6: inuse 0\nUDP6: inuse 0\n")
    without_v6 = sockets.tables(proc.root, pid)
    assert without_v6 is not None
    assert without_v6.listeners() == [v4]


def test_connections_are_chosen_by_port_at_either_end(proc: ProcTree) -> None:
    pid = proc.process([PYTHON])
    client = proc.connect(5000, 45678)
    database = proc.connect(51111, 5432)
    proc.connect(5001, 45679)
    table = sockets.tables(proc.root, pid)
    assert table is not None
    assert {one.inode for one in table.connections({5000}, {5432})} == {client, database}
    assert list(table.connections((), ())) == []


def test_listen_failures_are_found_by_their_column(proc: ProcTree) -> None:
    pid = proc.process([PYTHON])
    netstat = proc.root / str(pid) / "net" / "netstat"
    netstat.write_text(
        "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPHPHits\nTcpExt: 1 25438 25440 7\n"
        "IpExt: InNoRoutes\nIpExt: 0\n"
    )
    assert sockets.listen_failures(proc.root, pid) == {"ListenOverflows": 25438, "ListenDrops": 25440}
    netstat.write_text("TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 1\n")
    assert sockets.listen_failures(proc.root, pid) == {}


def grouped(proc: ProcTree, lines: str, files: dict[str, str], own: str = "root/sys/fs/cgroup") -> int:
    """Add a process with these lines in its cgroup file, and files in the folders of its view."""
    pid = proc.process([PYTHON])
    (proc.root / str(pid) / "cgroup").write_text(lines)
    for name, text in files.items():
        path = proc.root / str(pid) / own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("PID", str(pid)))
    return pid


V2 = {
    "cgroup.procs": "1\n",
    "pod/memory.max": "2000000000\n",
    "pod/memory.current": "900000000\n",
    "pod/memory.stat": "anon 1\ninactive_file 100000000\n",
    "pod/cpu.max": "150000 100000\n",
    "pod/cpu.stat": "usage_usec 1\nnr_throttled 5\nthrottled_usec 2500000\n",
    "pod/mlflow/cgroup.procs": "1\nPID\n",
    "pod/mlflow/memory.max": "max\n",
    "pod/mlflow/memory.current": "800000000\n",
    "pod/mlflow/memory.stat": "inactive_file 0\n",
    "pod/mlflow/memory.events": "low 0\noom 3\noom_kill 2\n",
    "pod/mlflow/cpu.max": "max 100000\n",
    "pod/mlflow/cpu.stat": "throttled_usec 0\n",
}


def test_version_2_limit_of_a_group_around_ours_counts(proc: ProcTree) -> None:
    pid = grouped(proc, "0::/pod/mlflow\n", V2)
    group = cgroup.group(proc.root, pid, "memory")
    assert group is not None
    assert cgroup.memory(group) == cgroup.Memory(2_000_000_000, 800_000_000, 2)
    cpu = cgroup.cpu(group)
    assert (cpu.cores, cpu.throttled) == (1.5, 2.5)


def test_container_with_a_view_of_its_own_is_found_by_the_group_that_names_the_process(
    proc: ProcTree,
) -> None:
    files = {
        "cgroup.procs": "PID\n",
        "memory.max": "1000\n",
        "memory.current": "700\n",
        "memory.stat": "inactive_file 9\n",
    }
    pid = grouped(proc, "0::/system.slice/docker-abc.scope\n", files)
    group = cgroup.group(proc.root, pid, "memory")
    assert group is not None
    assert cgroup.memory(group) == cgroup.Memory(1000, 691, None)


def test_group_that_does_not_name_the_process_is_not_taken_for_its_own(proc: ProcTree) -> None:
    pid = grouped(proc, "0::/pod/mlflow\n", V2 | {"pod/mlflow/cgroup.procs": "1\n"})
    assert cgroup.group(proc.root, pid, "memory") is None


def test_no_limit_is_no_limit_and_not_the_machines(proc: ProcTree) -> None:
    pid = grouped(proc, "0::/\n", {"cgroup.procs": "1\nPID\n"})
    group = cgroup.group(proc.root, pid, "memory")
    assert group is not None
    assert (cgroup.memory(group), cgroup.cpu(group)) == (cgroup.Memory(), cgroup.Cpu())


V1 = {
    "memory/app/cgroup.procs": "PID\n",
    "memory/app/memory.limit_in_bytes": "1000\n",
    "memory/app/memory.usage_in_bytes": "900\n",
    "memory/app/memory.stat": "cache 1\ntotal_inactive_file 200\n",
    "memory/app/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    "memory/memory.limit_in_bytes": "9223372036854771712\n",
    "cpu,cpuacct/app/cgroup.procs": "PID\n",
    "cpu,cpuacct/app/cpu.cfs_quota_us": "50000\n",
    "cpu,cpuacct/app/cpu.cfs_period_us": "100000\n",
    "cpu,cpuacct/app/cpu.stat": "nr_periods 1\nthrottled_time 3000000000\n",
}


def test_version_1_is_read_in_its_own_units(proc: ProcTree) -> None:
    pid = grouped(proc, "8:cpu,cpuacct:/app\n4:memory:/app\n0::/\n", V1)
    memory, cpu = (cgroup.group(proc.root, pid, name) for name in ("memory", "cpu"))
    assert memory is not None and cpu is not None
    assert cgroup.memory(memory) == cgroup.Memory(1000, 700, 4)
    assert (cgroup.cpu(cpu).cores, cgroup.cpu(cpu).throttled) == (0.5, 3.0)


def test_version_1_without_limit_or_quota_gives_only_what_is_the_groups(proc: ProcTree) -> None:
    unlimited = {
        "memory/app/memory.limit_in_bytes": "9223372036854771712\n",
        "cpu,cpuacct/app/cpu.cfs_quota_us": "-1\n",
    }
    pid = grouped(proc, "8:cpu,cpuacct:/app\n4:memory:/app\n", V1 | unlimited)
    memory, cpu = (cgroup.group(proc.root, pid, name) for name in ("memory", "cpu"))
    assert memory is not None and cpu is not None
    assert cgroup.memory(memory) == cgroup.Memory(None, 700, 4)
    assert cgroup.cpu(cpu) == cgroup.Cpu()


def test_version_1_top_group_without_a_limit_may_be_the_machine(proc: ProcTree) -> None:
    files = {
        "memory/cgroup.procs": "PID\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "5\n",
        "memory/memory.stat": "total_inactive_file 0\n",
    }
    pid = grouped(proc, "4:memory:/\n", files)
    group = cgroup.group(proc.root, pid, "memory")
    assert group is not None
    assert cgroup.memory(group) == cgroup.Memory()


def stat(pid: int, started: int, cpu: float) -> Stat:
    return Stat(pid, 1, started, cpu, 0, 1)


def test_cpu_of_a_process_born_between_readings_counts_from_its_birth() -> None:
    growth = CpuGrowth()
    assert growth.since([stat(7, 100, 3600.0)], now=1000.5) == {(7, 100): 0.0}
    assert growth.since([stat(7, 100, 3601.5), stat(8, 1200, 4.0)], now=2000) == {
        (7, 100): 1.5,
        (8, 1200): 4.0,
    }


def test_cpu_of_a_process_that_was_there_unseen_starts_at_zero() -> None:
    growth = CpuGrowth()
    growth.since([], now=1000)
    assert growth.since([stat(7, 100, 3600.0)], now=2000) == {(7, 100): 0.0}


def test_pid_that_is_used_again_is_another_process() -> None:
    growth = CpuGrowth()
    growth.since([stat(7, 100, 3600.0)], now=1000)
    assert growth.since([stat(7, 1500, 2.0)], now=2000) == {(7, 1500): 2.0}


def test_growth_neither_jumps_nor_falls_when_its_owner_changes() -> None:
    growth = Growth()
    values = [(500.0, "a"), (510.0, "a"), (9000.0, "b"), (9001.0, "b"), (3.0, "a"), (2.0, "a"), (4.0, "a")]
    assert [growth.to(value, owner) for value, owner in values] == [0, 10, 10, 11, 11, 11, 13]
