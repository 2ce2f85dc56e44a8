"""Files of /proc and of control groups with any bytes in them: what can be read of them, or nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from exporter.host import cgroup, commands, postmaster, processes, sock_diag, sockets, unix_sockets
from exporter.host.processes import Stat
from exporter.host.servers import WANTED
from tests.fuzz.cases import holds
from tests.fuzz.inputs import mutated_bytes
from tests.unit.proctree import TCP_HEAD, environment, uvicorn

pytestmark = pytest.mark.fuzz

PID = 4242
ONE = Stat(PID, 1, 95_105, 1.0, 4096, 1)


def nul(words: Sequence[str]) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)


# Real ones; those of other versions of the kernel and of control groups too.
STAT = (
    b"4242 (python3 (x)) S 1 1011 5022 0 -1 4194304 58913 78 0 0 12 3 7 1 20 0 7 0 95105 791699456 61035 1844"
    + b" 0" * 26
    + b"\n"
)
STATUS = (
    b"Name:\tpython3\nUid:\t0\t1000\t0\t0\nGid:\t0\t1000\t0\t0\n"
    b"RssAnon:\t   12 kB\nRssShmem:\t 3 kB\nHugetlbPages:\t 0 kB\n"
)
LIMITS = (
    b"Limit                     Soft Limit           Hard Limit           Units     \n"
    b"Max open files            1024                 524288               files     \n"
)
REST = b"00:00000000 00000000  1000        0 20001 1 0000 100 0 0 10 0\n"
ROW = b"   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 " + REST
MAPPED = b"0000000000000000FFFF00000100007F"
ROW6 = b"   1: " + MAPPED + b":1388 " + MAPPED + b":D431 01 00000000:00000000 " + REST
NETSTAT = b"TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 4 5\nIpExt: InNoRoutes\nIpExt: 0\n"
FILES: dict[str, tuple[bytes, ...]] = {
    f"{PID}/stat": (STAT,),
    "stat": (b"cpu  1 2 3\nbtime 1795215273\nprocesses 3\n",),
    f"{PID}/status": (STATUS,),
    f"{PID}/limits": (LIMITS, LIMITS.replace(b"1024", b"unlimited")),
    f"{PID}/cmdline": (nul(uvicorn(5000, 4)), b"gunicorn: master [mlflow.server:app]\0-b\0[::]:5000\0-w4\0"),
    f"{PID}/environ": (nul([f"{name}={value}" for name, value in environment().items()]),),
    f"{PID}/net/tcp": (TCP_HEAD.encode() + ROW, ROW * 3),
    f"{PID}/net/tcp6": (TCP_HEAD.encode() + ROW6, ROW6),
    f"{PID}/net/sockstat6": (b"TCP6: inuse 4\nUDP6: inuse 0\n",),
    f"{PID}/net/netstat": (NETSTAT,),
    f"{PID}/task/{PID}/children": (b"1 2 3 ",),
    f"{PID}/cgroup": (b"0::/a/b\n", b"12:cpu,cpuacct:/a/b\n3:memory:/a/b\n0::/\n", b"0::/../..\n"),
    "meminfo": (b"MemTotal:       24682496 kB\nMemFree: 1 kB\n",),
}
# Below /proc/PID/root, where the process itself may have put anything.
GROUP_FILES: dict[str, tuple[bytes, ...]] = {
    "cgroup.procs": (b"1\n4242\n", b"4242\n"),
    "memory.max": (b"max\n", b"1073741824\n"),
    "memory.current": (b"1048576\n",),
    "memory.stat": (b"anon 1\ninactive_file 4096\n",),
    "memory.events": (b"low 0\noom 1\noom_kill 1\n",),
    "cpu.max": (b"max 100000\n", b"150000 100000\n", b"0 0\n"),
    "cpu.stat": (b"usage_usec 1\nthrottled_usec 5\n", b"throttled_time 5\n"),
    "memory.limit_in_bytes": (b"9223372036854771712\n", b"1073741824\n"),
    "memory.usage_in_bytes": (b"1048576\n",),
    "memory.oom_control": (b"oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",),
    "cpu.cfs_quota_us": (b"-1\n", b"150000\n"),
    "cpu.cfs_period_us": (b"100000\n",),
}


@pytest.fixture(scope="module")
def proc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a /proc with one process, whose files are the first of each kind."""
    root = tmp_path_factory.mktemp("proc")
    for name, contents in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(contents[0])
    for folder in ("", "cpu/", "memory/"):
        below = root / str(PID) / "root/sys/fs/cgroup" / folder / "a/b"
        below.mkdir(parents=True)
        for name, contents in GROUP_FILES.items():
            (below / name).write_bytes(contents[0])
            (below.parent / name).write_bytes(contents[-1])
    (root / "self").symlink_to(str(PID))
    yield root


def number(value: object, least: float = 0) -> None:
    """Assert that a figure is one that a sample can have."""
    assert value is None or (isinstance(value, int | float) and least <= float(value) < float("inf"))


def read_all(proc: Path) -> None:
    """Read the process in every way that the exporter does."""
    for one in (processes.stat(proc, PID), ONE):
        if one:
            assert one.pid == PID
            for value in (one.cpu_seconds, one.resident_bytes, one.threads, one.started, one.parent):
                number(value)
    for read in (processes.owner, processes.group, processes.max_fds, processes.open_fds):
        number(read(proc, PID))
    number(processes.boot_time(proc))
    number(postmaster.reaped_seconds(proc, PID))
    number(postmaster.memory_limit(proc, PID))
    used = postmaster.usage(proc, [ONE], 1.0)
    number(used.memory)
    postmaster.find(proc, postmaster.Session(PID, 1795215273.0 + 951, 1795215273.0))
    assert all(isinstance(one, int) for one in processes.children(proc, PID))
    read_words(proc)
    read_groups(proc)
    read_sockets(proc)


def read_words(proc: Path) -> None:
    argv = processes.command(proc, PID)
    for marked in (True, False):
        if found := commands.frontend(argv, marked):
            assert found.kind in commands.KINDS
            assert 0 <= found.port <= 99_999
            number(found.workers)
    commands.may_be_ours(argv), commands.is_cli(argv), commands.is_forked_worker(argv)
    assert isinstance(commands.background_role(argv), str)
    assert isinstance(processes.environ(proc, PID, WANTED), dict | None)


def read_groups(proc: Path) -> None:
    for controller in ("cpu", "memory"):
        if group := cgroup.group(proc, PID, controller):
            cpu, memory = cgroup.cpu(group), cgroup.memory(group)
            for value in (cpu.cores, cpu.throttled, memory.limit, memory.used, memory.oom_kills):
                number(value)
    number(cgroup.cores(proc, PID))


def read_sockets(proc: Path) -> None:
    if table := sockets.tables(proc, PID):
        for one in table.listeners():
            assert 0 <= one.port < 65536
            number(one.queue)
        for other in table.connections((5000,), (5432, 54321)):
            assert 0 <= other.local_port < 65536
    for count in sockets.listen_failures(proc, PID).values():
        number(count)


def fuzzed(files: dict[str, tuple[bytes, ...]]) -> st.SearchStrategy[tuple[str, bytes]]:
    """Return a file's name, and real content of it that was changed, or any."""

    def content(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        any_bytes = st.one_of(mutated_bytes(files[name]), mutated_bytes(files[name]), st.binary(max_size=300))
        return st.tuples(st.just(name), any_bytes)

    return st.sampled_from(sorted(files)).flatmap(content)


def tried(path: Path, content: bytes, run: Callable[[], Any]) -> None:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        run()
    finally:
        path.write_bytes(before)


HUGE = b"9" * 5_000


@holds(
    was_wrong={
        "more digits than a float can be": {
            "file": (f"{PID}/stat", STAT.replace(b" 12 ", b" " + HUGE[:400] + b" "))
        },
        "more digits than Python reads": {"file": (f"{PID}/limits", LIMITS.replace(b"1024", HUGE))},
        "a control group with a NUL in its name": {"file": (f"{PID}/cgroup", b"0::\0/a/b\n")},
        "an address of an odd length": {"file": (f"{PID}/net/tcp", ROW.replace(b"0100007F", b"0100007F0"))},
    },
    file=fuzzed(FILES),
)
def test_what_any_file_of_a_process_gives_is_a_figure_or_nothing(file: tuple[str, bytes], proc: Path) -> None:
    name, content = file
    tried(proc / name, content, lambda: read_all(proc))


@holds(
    was_wrong={
        "a quota of more digits than Python reads": {"file": ("cpu.max", HUGE + b" 1"), "folder": ""},
        "a quota too large for a float": {"file": ("cpu.max", HUGE[:400] + b" 1"), "folder": ""},
        "throttled for longer than a float": {
            "file": ("cpu.stat", b"throttled_usec " + HUGE[:400]),
            "folder": "",
        },
    },
    file=fuzzed(GROUP_FILES),
    folder=st.sampled_from(("", "cpu/", "memory/")),
)
def test_what_a_process_writes_below_its_root_is_a_limit_or_nothing(
    file: tuple[str, bytes], folder: str, proc: Path
) -> None:
    name, content = file
    version = FILES[f"{PID}/cgroup"][1 if folder else 0]
    path = proc / str(PID) / "root/sys/fs/cgroup" / folder / "a/b" / name
    tried(proc / f"{PID}/cgroup", version, lambda: tried(path, content, lambda: read_groups(proc)))


ATTRIBUTES = struct.pack("=HH16s", 20, 0, b"/run/x/.s.PGSQL\0") + struct.pack("=HHI", 8, 2, 77)
BODY = struct.pack("=BBBBIII", 1, 1, 1, 0, 5, 0, 0) + ATTRIBUTES
MESSAGE = struct.pack("=IHHII", 16 + len(BODY), 20, 2, 1, 0) + BODY


@holds(data=st.one_of(mutated_bytes((MESSAGE, MESSAGE * 3)), st.binary(max_size=200)))
def test_any_message_of_the_kernel_about_unix_sockets_is_taken_apart_to_its_end(data: bytes) -> None:
    with suppress(OSError):  # what is cut short, or an error
        for kind, body in sock_diag.messages(data):
            assert isinstance(kind, int)
            for number, value in unix_sockets._attributes(body[unix_sockets.MESSAGE.size :]):
                assert isinstance(number, int) and len(value) <= len(data)


@holds(
    share=0.5,
    was_wrong={"a digit to Unicode is none to Python": {"target": "²"}},
    target=st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60
    ),
)
def test_any_descriptor_of_a_process_is_a_socket_or_none(target: str, proc: Path) -> None:
    folder = proc / str(PID) / "fd"
    folder.mkdir(exist_ok=True)
    for name in (target, f"socket:[{target}]", f"socket:[{target}"):
        link = folder / "3"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        found = processes.sockets(proc, PID)
        assert found is not None and len(found) <= 1
