"""`make demo`, as its user sees it: what it says, how it exits, and that nothing stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.lab.servers import alive, wait_for
from tests.lab.tools import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.long]


class Demo:
    """A demo in a process of its own, with its own directory for temporary files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "tmp"
        self.directory.mkdir()
        self.output = directory / "output"
        self.seen: dict[int, psutil.Process] = {}
        self.queues: set[Path] = set()

    def start(self, *arguments: str) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.lab", *arguments],
                cwd=ROOT,
                env=os.environ | {"TMPDIR": str(self.directory)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, text: str) -> None:
        wait_for(lambda: text in self.text() or self.process.poll() is not None, f"demo says {text!r}", 300)
        assert text in self.text(), self.text()

    def text(self) -> str:
        return self.output.read_text()

    def look(self) -> None:
        """Remember what runs now and where MLflow keeps its job queues."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            self.seen[process.pid] = process
            with suppress(psutil.Error):
                if queue := process.environ().get("_MLFLOW_HUEY_STORAGE_PATH"):
                    self.queues.add(Path(queue))

    def left(self) -> list[object]:
        return [
            *filter(alive, self.seen.values()),
            *self.directory.iterdir(),
            *(path for path in self.queues if path.exists()),
        ]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    started = Demo(tmp_path)
    yield started
    if started.process.poll() is None:
        started.process.terminate()
        started.process.wait(120)


def test_a_bounded_demo_exits_0_when_every_collector_succeeded_and_leaves_nothing(demo: Demo) -> None:
    demo.start("0.6")
    demo.wait_for("collectors")
    demo.look()

    assert demo.process.wait(300) == 0, demo.text()
    counts = re.findall(r"collectors (\d+) of (\d+)", demo.text())
    assert counts[-1][0] == counts[-1][1]
    assert len(demo.seen) > 20
    assert demo.queues
    assert demo.left() == []


@pytest.mark.parametrize("moment", ["starting exporter", "collectors"])
def test_ctrl_c_ends_all_that_it_started(demo: Demo, moment: str) -> None:
    demo.start()
    demo.wait_for(moment)
    demo.look()
    demo.process.send_signal(signal.SIGINT)

    assert demo.process.wait(120) == 0, demo.text()
    assert len(demo.seen) > 10
    assert demo.left() == []


def test_a_demo_that_failed_exits_1_and_says_what(demo: Demo) -> None:
    demo.start("0.4")
    demo.wait_for("collectors")
    demo.look()
    (prometheus,) = [process for process in demo.seen.values() if process.name() == "prometheus"]
    prometheus.kill()

    assert demo.process.wait(300) == 1
    assert "FAILED: prometheus has ended" in demo.text()
    assert demo.left() == []
