"""The pack as an installed wheel writes it, checked and loaded by those that it is for."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.lab.tools import ROOT, program

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what the wheel of this checkout installs."""
    wheels = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(installed: Path, *arguments: str) -> str:
    """Run the installed exporter, and not the checkout's."""
    command = [sys.executable, "-m", "exporter", *arguments]
    done = subprocess.run(
        command,
        cwd=installed,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_wheel_writes_a_pack_that_promtool_and_amtool_accept(
    installed: Path, tmp_path: Path
) -> None:
    pack = tmp_path / "pack"
    base = "http://exporter:10500/runbooks"
    run(installed, "pack", str(pack), "--runbook-url", base, "--grafana-url", "https://grafana.example.org")
    rules = sorted(pack.glob("rules/*.yml"))
    assert [file.name for file in rules] == sorted(
        file.name for file in (ROOT / "alerts/rules").glob("*.yml")
    )
    check("promtool", "check", "rules", *rules, pack / "watchdog.yml")
    check("promtool", "check", "config", pack / "prometheus.yml")
    check("amtool", "check-config", pack / "alertmanager.yml")


def test_an_installed_wheel_writes_manifests_and_a_site_s_runbooks(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text("thresholds: {MlflowLockWaits: 2}\n")
    run(
        installed,
        "pack",
        str(tmp_path / "pack"),
        "--format",
        "kubernetes",
        "--values",
        str(tmp_path / "site.yml"),
    )
    assert (tmp_path / "pack/sidecar-patch.yaml").exists()
    assert "2 sessions (as shipped: 0.8)" in (tmp_path / "pack/runbooks/connections.md").read_text()


def check(name: str, *arguments: str | Path) -> None:
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wheel_has_the_pages_of_the_runbooks_and_not_what_makes_them(installed: Path) -> None:
    pages = installed / "exporter/runbooks"
    assert {file.name for file in pages.glob("*.html")} == {
        file.name for file in (ROOT / "exporter/runbooks").glob("*.html")
    }
    assert not (pages / "build.py").exists()
    assert not (installed / "exporter/pack/data/alerts/tests").exists()
    assert not (installed / "tests").exists()
