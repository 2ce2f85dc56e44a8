"""The unit as systemd itself judges it, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from exporter.systemd import PROGRAM, UNIT, unit

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd on this machine"),
]

# Of 10, as `systemd-analyze security` weighs: what is left is to see processes and to use the network.
EXPOSURE = 2.0


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_understands_every_line_and_finds_little_exposed(tmp_path: Path) -> None:
    file = tmp_path / UNIT
    file.write_text(unit("mlflow", tmp_path / "none").replace(PROGRAM, "/bin/true"))
    verified = analyze("verify", file)
    assert (verified.returncode, verified.stderr) == (0, "")
    secure = analyze("security", "--offline=yes", f"--threshold={EXPOSURE * 10:.0f}", "--no-pager", file)
    assert secure.returncode == 0, secure.stdout
