"""The unit as systemd itself judges it, where it is installed, and what it is told by the exporter."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from exporter.systemd import PROGRAM, UNIT, unit
from tests.lab import tools
from tests.lab.process import free_port, wait_for
from tests.lab.servers import Exporter

pytestmark = pytest.mark.integration

# Of 10, as `systemd-analyze security` weighs: what is left is to see processes and to use the network.
EXPOSURE = 2.0


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd on this machine")
def test_systemd_understands_every_line_and_finds_little_exposed(tmp_path: Path) -> None:
    file = tmp_path / UNIT
    file.write_text(unit("mlflow", tmp_path / "none").replace(PROGRAM, "/bin/true"))
    verified = analyze("verify", file)
    assert (verified.returncode, verified.stderr) == (0, "")
    secure = analyze("security", "--offline=yes", f"--threshold={EXPOSURE * 10:.0f}", "--no-pager", file)
    assert secure.returncode == 0, secure.stdout


# It was `Type=simple`: `systemctl reload` just after a restart ended it, and it was away for ten seconds.
@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_its_start_is_over_when_it_answers_and_a_reload_does_not_end_it(kind: str, tmp_path: Path) -> None:
    port = free_port()
    address = f"@lab-notify-{port}" if kind == "abstract" else str(tmp_path / "notify")
    command = [sys.executable, "-m", "exporter", "--web.listen", f"127.0.0.1:{port}", "--server.port", "1"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        manager.settimeout(30)
        process = subprocess.Popen(
            command,
            env={"PYTHONPATH": str(tools.ROOT), "PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": address},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert manager.recv(100) == b"READY=1"
            process.send_signal(signal.SIGHUP)
            assert requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=10).status_code == 200
        finally:
            process.terminate()
            _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log


def test_a_manager_that_is_gone_is_named_and_keeps_nobody_from_being_served(tmp_path: Path) -> None:
    env = {"NOTIFY_SOCKET": str(tmp_path / "gone")}
    with Exporter(("--server.port", "1"), env) as exporter:
        wait_for(lambda: "cannot tell systemd" in exporter.log(), "the warning")
        assert exporter.get("/-/ready").status_code == 200
