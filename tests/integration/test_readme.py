"""The README's commands, run one after the other as a new user would: into a clean environment, on a real database.

A command that is new in the README is run when it begins as those of RUN do; what cannot be run here has its reason in
NOT_RUN; anything else fails.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.contract import readme
from tests.integration.test_release import answers
from tests.lab.postgres import Postgres
from tests.lab.process import free_port, wait_for
from tests.lab.tools import ROOT

pytestmark = pytest.mark.integration

PROGRAM = r"(/opt/mlflow-exporter/bin/)?mlflow-exporter\b"
RUN = (PROGRAM, r"(/opt/mlflow-exporter/bin/)?pip install ", "python3 -m venv ", "make ", "echo ")
# What a command begins with, and why it is not run here.
NOT_RUN = {
    r"docker\b|docker-compose\b": "no container engine where the tests run; tests of their own read these files",
    r"kubectl\b|helm\b": "no cluster where the tests run",
    r"sudo\b|systemctl\b|journalctl\b|apt-get\b|useradd\b": "changes this machine",
    r"psql\b": "no psql where the tests run: tests/integration/test_grants.py runs what it is given",
    r"git clone\b|cd\b": "this is that checkout",
    r"curl\b": "asks a server of the reader's",
    PROGRAM + r" diagnose\b": "tests of its own run it with a Prometheus",
}
# What stands in the README, and what for it here: `{home}` is a new directory, `{python}` this interpreter.
HERE = (
    (r"/opt/mlflow-exporter/bin/pip ", "{python} -m pip --python {home}/venv/bin/python "),
    (r"/opt/mlflow-exporter", "{home}/venv"),
    (r"python3 -m venv ", "{python} -m venv --without-pip "),  # Debian's has its pip in another package
    (r" install \.(?=\s|$)", " install --quiet {root}"),
    (r"^make ", "make --dry-run -C {root} "),  # that the target is there: some take hours, one runs this
    (r"--for \d+[sm]\b", "--for 1s"),
    (r"/etc/", "{home}/etc/"),
    (r"~/", "{home}/"),
)
SECONDS = 60


def test_each_command_of_the_readme_is_run_or_has_its_reason() -> None:
    for command in readme.commands():
        assert begins(words(command.text), (*RUN, *NOT_RUN)), (
            f"README.md:{command.line}: `{command.text}` is neither run nor excused: add how it begins to RUN, or to "
            "NOT_RUN with the reason, in tests/integration/test_readme.py"
        )


def test_the_commands_run(tmp_path: Path, postgres: Callable[[int], Postgres]) -> None:
    server = postgres(15)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)  # what /etc/ is here
    # pip's index and certificates are settings of this machine; the exporter's are ours.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    environment |= {
        "PATH": f"{tmp_path}/venv/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MLFLOW_EXPORTER_DATABASE_DSN": server.create_mlflow("readme"),
        "MLFLOW_EXPORTER_SERVER_PORT": "1",  # whatever else runs on this machine
        "MLFLOW_EXPORTER_WEB_LISTEN": f"127.0.0.1:{free_port()}",
    }
    ran = 0
    try:
        for command in readme.commands():
            start = words(command.text)
            if not begins(start, RUN) or begins(start, NOT_RUN):  # nobody has said that it may be run
                continue
            text = here(command.text, tmp_path)
            (serve if serves(start) else finish)(text, f"README.md:{command.line}", tmp_path, environment)
            ran += 1
    finally:
        server.drop("readme")
    assert ran


def finish(text: str, where: str, directory: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euc", text],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{where}: {text}\n{done.stdout}{done.stderr}"


def serve(text: str, where: str, directory: Path, environment: dict[str, str]) -> None:
    command = ["bash", "-euc", f"exec {text}"]
    with subprocess.Popen(command, cwd=directory, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://{environment['MLFLOW_EXPORTER_WEB_LISTEN']}/metrics"
            wait_for(lambda: answers(url), f"{where}: {text}")
        finally:
            process.terminate()


def begins(text: str, starts: Iterable[str]) -> bool:
    return any(re.match(start, text) for start in starts)


def words(text: str) -> str:
    """Return a command without the variables that are set for it alone."""
    return re.sub(r"^(\w+=\S* )+", "", text.lstrip())


def serves(text: str) -> bool:
    """Tell whether it is our program without a command, or with `serve`."""
    if not re.match(PROGRAM, text):
        return False
    first = [*shlex.split(text, comments=True), ""][1]
    return first in ("", "serve") or (first.startswith("-") and first not in ("--help", "--version", "-h"))


def here(text: str, home: Path) -> str:
    for pattern, replacement in HERE:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text.replace("{home}", str(home)).replace("{root}", str(ROOT)).replace("{python}", sys.executable)
