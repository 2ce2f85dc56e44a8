"""server-resources: the tracking server's processes lack CPU or memory, die, hang, or are missing.

Made: a CPU quota too small for its clients; searches whose pages are so large that Python is busy with them; a memory
limit near what is used, and one that large pages exceed; workers that die one after the other; a job runner that is
killed; a worker that hangs. Fixed as the runbook says: more CPU, more memory, smaller pages, a restart.
"""

from __future__ import annotations

import time
from functools import partial

import psutil

from tests.faults import Fault, Lab, Needs
from tests.lab.bigdata import POPULATED
from tests.lab.load import Load
from tests.lab.process import wait_for
from tests.lab.shapes import Searches

MB = 1 << 20
GROUP = Needs(groups=frozenset({"mlflow"}))
LARGE = Needs(data="million", groups=frozenset({"mlflow"}))


def team(lab: Lab, clients: int, rate: float) -> Load:
    return Load(lab.url, clients, rate=rate, seed=100)


def pages(lab: Lab, clients: int, size: int) -> Load:
    """Return clients that search for that many runs at once."""
    shape = partial(Searches, experiments=POPULATED, max_results=size)
    return Load(lab.url, clients, client=shape)


def small_quota(lab: Lab) -> None:
    lab.group("mlflow").cpu(0.3)
    lab.begin(team(lab, 6, 20))


def large_quota(lab: Lab) -> None:
    lab.group("mlflow").cpu(None)


def large_pages(lab: Lab) -> None:
    """Ask a server of half a core for pages of 2,000 runs: with pages of 100 that is enough for the same people.

    Without that limit it depends on what else this machine does whether a worker gets the core that it asks for:
    on a crowded one the busiest had 0.24 to 0.54 of it.
    """
    lab.group("mlflow").cpu(0.5)
    lab.begin(pages(lab, 6, 2000))


def small_pages(lab: Lab) -> None:
    lab.end()
    shape = partial(Searches, experiments=["1", "2", "3"], max_results=100)
    lab.begin(Load(lab.url, 1, rate=1, client=shape))


def tight_memory(lab: Lab) -> None:
    group = lab.group("mlflow")
    group.memory(round(group.memory_used() / 0.95))


def huge_pages(lab: Lab) -> None:
    group = lab.group("mlflow")
    group.memory(group.memory_used() + 40 * MB)
    lab.begin(pages(lab, 4, 20_000))


def enough_memory(lab: Lab) -> None:
    lab.end()
    lab.group("mlflow").memory(None)


def enough_memory_and_restart(lab: Lab) -> None:
    """Restart too: the kernel's choice may have been the supervisor."""
    enough_memory(lab)
    lab.restart_mlflow()


def deaths(lab: Lab) -> None:
    for _ in range(3):
        lab.mlflow.kill_worker()
        time.sleep(0.5)  # the socket's holder is gone from /proc only a moment later
        wait_for(lambda: len(lab.mlflow.worker_pids()) == lab.needs.workers, "the worker is replaced", 60)


def leave_alone(lab: Lab) -> None:
    """Whatever killed them has ended."""


def kill_job_runner(lab: Lab) -> None:
    (runner,) = (one for one in lab.mlflow.family() if any("_job_runner" in word for word in one.cmdline()))
    runner.kill()


def restart(lab: Lab) -> None:
    lab.restart_mlflow()


def hang(lab: Lab) -> None:
    for pid in lab.mlflow.worker_pids():
        psutil.Process(pid).suspend()


FAULTS = (
    Fault(
        "server-resources",
        "CPU quota",
        frozenset({"MlflowServerCpuSaturated"}),
        small_quota,
        large_quota,
        GROUP,
    ),
    Fault(
        "server-resources",
        "pages of 2,000 runs",
        frozenset({"MlflowServerCpuSaturated"}),
        large_pages,
        small_pages,
        LARGE,
    ),
    Fault(
        "server-resources",
        "memory near its limit",
        frozenset({"MlflowServerMemoryNearLimit"}),
        tight_memory,
        enough_memory,
        GROUP,
    ),
    Fault(
        "server-resources",
        "out of memory",
        frozenset({"MlflowServerOutOfMemory"}),
        huge_pages,
        enough_memory_and_restart,
        LARGE,
        within=360,
    ),
    Fault(
        "server-resources",
        "workers die",
        frozenset({"MlflowServerWorkersRestarting"}),
        deaths,
        leave_alone,
        within=360,
    ),
    Fault(
        "server-resources",
        "job runner killed",
        frozenset({"MlflowServerProcessMissing"}),
        kill_job_runner,
        restart,
        Needs(jobs=True),
    ),
    Fault(
        "server-resources",
        "the only worker hangs",
        frozenset({"MlflowServerRequestsQueueing"}),
        hang,
        restart,
        Needs(workers=1),
    ),
)
