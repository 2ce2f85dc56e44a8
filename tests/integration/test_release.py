"""What users install: the wheel of this checkout, with its dependencies, in an environment that has nothing else.

On this Python, with the dependencies that are tested and with the oldest that are allowed; `make release-check` runs it
on each supported Python that the machine has.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from packaging.requirements import Requirement

from exporter import __version__
from exporter.pack.formats import grafana, prometheus
from exporter.pack.site import Site
from tests.lab import bounds
from tests.lab.process import free_port, wait_for
from tests.lab.servers import PASSWORDS
from tests.lab.tools import ROOT

pytestmark = pytest.mark.integration

SUPPORTED = (11, 12, 13)


def minor(python: str) -> int:
    asked = [python, "-c", "import sys; print(sys.version_info.minor)"]
    return int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def pythons() -> list[str]:
    """Return this interpreter, or with RELEASE_PYTHONS=all one of each supported minor version that is here."""
    if os.environ.get("RELEASE_PYTHONS") != "all":
        return [sys.executable]
    found = []
    for number in SUPPORTED:
        managed = sorted(Path.home().glob(f".pyenv/versions/3.{number}.*/bin/python"))
        if one := str(managed[-1]) if managed else shutil.which(f"python3.{number}"):
            found.append(one)
    return found


# Without its extras, as most install it, and with all of them, whose packages have bounds too.
CHOICES = (("", bounds.pinned()), (bounds.extras(), bounds.pinned() | bounds.oldest()))
ENVIRONMENTS = [
    pytest.param((python, *choice), id=f"{python}-{'oldest' if choice[0] else 'tested'}")
    for python in pythons()
    for choice in CHOICES
    # The oldest dependencies have no wheels for a Python that came after them.
    if not choice[0] or minor(python) == SUPPORTED[0]
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"))


def built(folder: Path) -> Path:
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of programs of a new environment with the wheel in it."""
    interpreter, extra, versions = request.param
    home = tmp_path_factory.mktemp("clean") / "venv"
    constraints = home.parent / "constraints.txt"
    constraints.write_text(bounds.lines(versions))
    # Without its own pip, which Debian's Python has in another package: ours installs into it.
    subprocess.run([interpreter, "-m", "venv", "--without-pip", str(home)], check=True)
    python = str(home / "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python]
    install = ["install", "--quiet", "--constraint", str(constraints), f"{wheel}{extra}"]
    subprocess.run([*pip, *install], check=True, cwd=home)
    subprocess.run([*pip, "check"], check=True, cwd=home, capture_output=True)
    return home / "bin"


def run(installed: Path, *arguments: str) -> str:
    """Run the installed program from elsewhere than the checkout."""
    done = subprocess.run(
        [installed / "mlflow-exporter", *arguments],
        cwd=installed,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    # A database that is not there, so that what runs on this machine does not matter.
    return {"MLFLOW_EXPORTER_DATABASE_DSN": "postgresql://nobody@127.0.0.1:1/none", "PATH": "/usr/bin:/bin"}


def test_the_wheel_holds_the_program_and_nothing_of_the_tests_or_of_this_machine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    info = f"mlflow_tracking_exporter-{__version__}.dist-info"
    assert {name.split("/")[0] for name in contents} == {"exporter", info}
    assert not [name for name in contents if re.search(r"test|Dockerfile|\.(env|key|pem|pyc)$", name)]
    for secret in (*PASSWORDS.values(), str(ROOT)):
        assert not [name for name, content in contents.items() if secret.encode() in content], secret
    metadata = contents[f"{info}/METADATA"].decode()
    required = [Requirement(line) for line in re.findall("^Requires-Dist: (.*)$", metadata, re.MULTILINE)]
    assert {(one.name, str(one.specifier)) for one in required} == {
        (one.name, str(one.specifier)) for one in bounds.declared()
    }


def test_the_same_sources_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    again = built(tmp_path)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


def test_the_program_runs_from_its_own_environment(installed: Path) -> None:
    assert run(installed, "--version") == f"mlflow-exporter {__version__}\n"
    where = [str(installed / "python"), "-c", "import exporter; print(exporter.__file__)"]
    module = subprocess.run(where, check=True, capture_output=True, text=True, cwd=installed, env={}).stdout
    assert module.startswith(str(installed.parent))


def test_check_says_what_is_missing_and_is_no_failure(installed: Path) -> None:
    shown = run(installed, "check")
    assert shown.startswith("settings   ok\n")
    assert "source     postgres: unreachable: " in shown


def test_the_pack_of_a_wheel_is_that_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    run(installed, "pack", str(tmp_path / "pack"))
    files = prometheus(Site()) | grafana(Site())
    assert "dashboards/overview.json" in files
    assert "rules/connections.yml" in files
    for path, text in files.items():
        assert (tmp_path / "pack" / path).read_text(encoding="utf-8") == text, path


def test_the_unit_and_the_grants_come_out_of_the_wheel(installed: Path) -> None:
    assert f"ExecStartPre={installed}/mlflow-exporter check\n" in run(installed, "systemd")
    assert 'GRANT USAGE ON SCHEMA "public"' in run(installed, "grants")


@pytest.fixture
def address(installed: Path) -> Iterator[str]:
    listen = f"127.0.0.1:{free_port()}"
    command = [str(installed / "mlflow-exporter"), "--web.listen", listen]
    with subprocess.Popen(command, cwd=installed, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: answers(f"http://{listen}/"), "the exporter of the wheel")
            yield f"http://{listen}"
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def test_it_serves_metrics_and_every_runbook(address: str) -> None:
    assert "mlflow_exporter_build_info{" in requests.get(f"{address}/metrics", timeout=15).text
    for runbook in (ROOT / "alerts/runbooks").glob("*.md"):
        page = requests.get(f"{address}/runbooks/{runbook.stem}", timeout=5)
        assert (page.status_code, "<h1" in page.text) == (200, True), runbook.stem
