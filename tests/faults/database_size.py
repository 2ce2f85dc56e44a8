"""The database is too small: too little CPU for its writes, a disk too slow for what it reads.

A storage that fills is not made here: its alert looks back 6 hours, which no time-lapse of ours reaches; it is
proven by promtool alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial

from tests.faults import Fault, Lab, Needs
from tests.lab.load import Load
from tests.lab.shapes import Histories, Import, PointsTogether


def little_cpu(lab: Lab) -> None:
    """Leave it a fifth of a core, for jobs that log in batches and an import of runs from elsewhere.

    Sessions on the CPU for each core: 0.01 before, already at 0.3 of a core 6 and more, 0.35 after at four.
    """
    lab.group("postgres").cpu(0.2)
    lab.begin(Load(lab.url, 3, rate=10, client=partial(PointsTogether, keys=100)))
    lab.begin(Import(lab.postgres, sessions=2, points=2500, every=0.4))


def more_cpu(lab: Lab) -> None:
    lab.group("postgres").cpu(4)


def slow_disk(lab: Lab) -> None:
    """Let the disk take twenty reads a second, with nothing in memory, and ask for ten charts a second.

    Sessions that wait for a block: 0 before, 3.5 of the four, 0.03 after.
    """
    runs = [run for (run,) in lab.sql("SELECT DISTINCT run_uuid FROM latest_metrics WHERE key = 'key-1'")]
    lab.sql("CHECKPOINT")
    os.sync()  # only what is on disk can be dropped from the cache
    for file in (lab.postgres.data / "base").glob("*/*"):
        with suppress(OSError):  # gone meanwhile
            opened = os.open(file, os.O_RDONLY)
            os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(opened)
    lab.group("postgres").io(lab.postgres.data, reads=20)
    keys = [f"key-{number}" for number in range(1, 11)]
    lab.begin(Load(lab.url, 4, rate=10, client=partial(Histories, runs=runs, keys=keys)))


def faster_disk(lab: Lab) -> None:
    lab.group("postgres").io(lab.postgres.data)


FAULTS = (
    Fault(
        "database-size",
        "too little CPU",
        frozenset({"MlflowDatabaseCpuSaturated"}),
        little_cpu,
        more_cpu,
        Needs(groups=frozenset({"postgres"})),
    ),
    Fault(
        "database-size",
        "slow disk",
        frozenset({"MlflowDatabaseIoBound"}),
        slow_disk,
        faster_disk,
        Needs(data="million", groups=frozenset({"postgres"})),
    ),
)
