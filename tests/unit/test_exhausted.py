"""What the exporter itself lacks is said of the exporter, and of nobody else."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from exporter.collector import Reason, SourceError
from exporter.discovery import Discovery
from exporter.exhausted import MEMORY, Shortage, exhausted
from exporter.host import processes
from exporter.host.servers import WANTED
from exporter.metric import Sample
from exporter.plan import plan
from exporter.running import Running
from exporter.samplers.attempt import Attempt, Failure
from exporter.samplers.http_phases import fetch
from exporter.samplers.http_probe import HttpProbe, HttpProbeSpec
from exporter.samplers.loop import Loop
from exporter.samplers.probes import Probe
from exporter.scrape import Scraper
from exporter.settings import Probes, Settings
from exporter.sources.conninfo import Target
from exporter.sources.names import resolved
from exporter.sources.postgres_errors import connect_error
from tests.unit.proctree import ProcTree

pytestmark = pytest.mark.unit

NO_THREAD = RuntimeError("can't start new thread")
EMFILE = OSError(errno.EMFILE, "Too many open files")


def refuse(*_: object, **__: object) -> None:
    raise EMFILE


@pytest.fixture
def no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open", "scandir", "listdir"):
        monkeypatch.setattr(os, name, refuse)


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (EMFILE, "LimitNOFILE="),
        (OSError(errno.ENFILE, "Too many open files in system"), "fs.file-max"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "MemoryMax="),
        (MemoryError(), "MemoryMax="),
        (NO_THREAD, "TasksMax="),
    ],
)
def test_what_has_run_out_is_named_with_what_raises_its_limit(error: Exception, names: str) -> None:
    found = exhausted(error)
    assert found is not None and found.reason is Reason.EXHAUSTED
    assert names in found.remedy


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file"),
        RuntimeError("other"),
        socket.gaierror(-2, "unknown"),
        KeyError(),
    ],
)
def test_any_other_error_is_about_what_was_read(error: Exception) -> None:
    assert exhausted(error) is None


@pytest.mark.usefixtures("no_descriptor")
def test_no_process_is_gone_for_want_of_a_descriptor() -> None:
    proc = Path("/proc")
    for read in (
        processes.stat,
        partial(processes.environ, names=WANTED),
        processes.open_fds,
        processes.sockets,
        processes.children,
    ):
        with pytest.raises(OSError, match="Too many open files"):
            read(proc, os.getpid())


def test_a_known_server_is_not_lost_by_a_look_without_a_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = ProcTree(tmp_path / "proc")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    pids = proc.server(workers=2)
    discovery = Discovery(proc=proc.root)
    before = discovery.look()
    # A look walks all processes again once the supervisor is gone.
    proc.end(pids["supervisor"][0])
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            discovery.look()
    after = discovery.look()
    assert after.found == before.found
    assert sum(one.orphaned for one in after.processes) == 2


def asks_over_http(folder: Path) -> None:
    fetch("http://127.0.0.1:9/", {}, Attempt(1.0), None)


def reads_a_password(folder: Path) -> None:
    Target((), password_file=str(folder / "secret")).conninfo()


def reads_a_token(folder: Path) -> None:
    HttpProbe(HttpProbeSpec("api", "http://127.0.0.1:9/", token_file=str(folder / "secret"))).headers()


def connects_to_postgres(folder: Path) -> None:
    raise connect_error("no error details available")  # all that libpq says of it


def resolves_a_name(folder: Path) -> None:
    resolved(b"host=database.invalid")


@pytest.mark.parametrize(
    "act", [asks_over_http, reads_a_password, reads_a_token, resolves_a_name, connects_to_postgres]
)
def test_nobody_is_blamed_for_our_want_of_a_descriptor(act: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # below what is open
    try:
        with pytest.raises(SourceError) as raised:
            act(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised.value.reason is Reason.EXHAUSTED


def without_a_thread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread start whose name begins so."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            raise NO_THREAD
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)


class Fine(Probe):
    """A probe of what is always well."""

    def __init__(self) -> None:
        super().__init__(name="fine", vantage="here", interval=15.0, timeout=3.0, reasons=(Failure.TIMEOUT,))

    def measure(self, attempt: Attempt) -> float:
        return 0.001


def totals(samples: Iterable[Sample]) -> dict[str, object]:
    return {one.metric.name: one.value for one in samples if one.metric.name.endswith("_total")}


def test_an_attempt_that_no_thread_can_watch_is_not_made_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits = iter([False] * 3 + [True])
    loop = Loop(Fine(), wait=lambda _: next(waits))
    without_a_thread("watchdog-", monkeypatch)
    loop.run()
    found = totals(loop.samples())
    assert found["mlflow_probe_attempts_total"] == found["mlflow_probe_failures_total"] == 0
    assert found["mlflow_exporter_sampler_errors_total"] == 3
    (line,) = (record.getMessage() for record in caplog.records)
    assert "exhausted: the exporter can start no thread" in line
    assert "TasksMax=" in line


def test_a_plan_that_no_thread_can_be_started_for_leaves_the_old_one_in_force(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scraper = Scraper()
    running, discovery = Running(scraper), Discovery(proc=tmp_path)
    running.apply(plan(Settings(), None), discovery)
    before = scraper.parts
    wanted = plan(Settings(probes=Probes(urls={"ui": "http://127.0.0.1:9/"})), None)
    try:
        with monkeypatch.context() as patch:
            without_a_thread("sampler-", patch)
            with pytest.raises(RuntimeError):
                running.apply(wanted, discovery)
        assert scraper.parts == before
        running.apply(wanted, discovery)
        assert [loop.name for loop in running.loops] == ["ui"]
    finally:
        running.close()


def test_a_shortage_is_logged_when_it_begins_and_with_its_count_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shortage = Shortage()
    shortage.over()
    assert caplog.messages == []
    for _ in range(3):
        shortage.refused(SourceError(Reason.EXHAUSTED, *MEMORY))
    shortage.over()
    shortage.over()
    assert [message.split(": ")[0] for message in caplog.messages] == [
        "requests are refused",
        "requests refused",
    ]
    assert "requests refused: 3: " in caplog.messages[1]
    assert all("MemoryMax=" in message for message in caplog.messages)


def test_a_log_without_memory_does_not_cost_the_answer_that_ends_a_shortage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def short(*_: object) -> None:
        raise MemoryError

    shortage = Shortage()
    shortage.refused(SourceError(Reason.EXHAUSTED, *MEMORY))
    monkeypatch.setattr("exporter.exhausted.log.warning", short)
    shortage.over()
