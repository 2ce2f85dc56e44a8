"""Install what `python -m tests.compose` needs, inside the checkout only: `python -m tests.compose.install`, as root.

Debian's Docker Engine and Docker Compose, unpacked; and a root file system for images that stand in for the public
ones, as no closed network reaches those: a Debian with Python, Prometheus and wheels of what the images install.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.lab import install
from tests.lab.tools import ROOT, TOOLS

ENGINE = TOOLS / "engine"
SUITE, PYTHON = "bookworm", "3.11"
PROGRAMS = ("docker.io", "containerd", "runc", "tini", "iptables", "debootstrap", "docker-compose")
# What Docker Compose imports. Python's packages are no libraries, which alone are taken with what depends on them.
IMPORTED = (
    *("attr", "cached-property", "certifi", "chardet", "charset-normalizer", "distro", "distutils", "docker"),
    *("dockerpty", "docopt", "dotenv", "idna", "jsonschema", "packaging", "pkg-resources", "pyrsistent"),
    *("requests", "setuptools", "six", "texttable", "urllib3", "websocket", "yaml"),
)
INCLUDED = (
    *("python3", "python3-venv", "python3-pip", "busybox-static", "ca-certificates", "postgresql-client"),
    *("prometheus", "prometheus-alertmanager"),
)


def engine() -> None:
    """Unpack the programs and make the root file system, last, so that it is there only when all is."""
    install.unpack([*PROGRAMS, *(f"python3-{name}" for name in IMPORTED)], ENGINE)
    root = Path(tempfile.gettempdir(), "root")
    os.environ["DEBOOTSTRAP_DIR"] = str(ENGINE / "usr/share/debootstrap")
    debootstrap = ["sh", str(ENGINE / "usr/sbin/debootstrap"), "--variant=minbase"]
    install.run(*debootstrap, f"--include={','.join(INCLUDED)}", SUITE, str(root), install.mirror())
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    download(root, install.CONSTRAINTS, *settings["build-system"]["requires"])
    download(
        root,
        install.CONSTRAINTS,
        *project["dependencies"],
        *project["optional-dependencies"]["auth"],
        "psutil",
    )
    download(root, install.MLFLOW_CONSTRAINTS, "mlflow", "psycopg[binary]", "prometheus-flask-exporter")
    shutil.rmtree(ENGINE / "root", ignore_errors=True)
    root.rename(ENGINE / "root")


def download(root: Path, constraints: Path, *packages: str) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "download",
        "--only-binary=:all:",
        "--python-version",
        PYTHON,
    ]
    install.run(*pip, "--dest", str(root / "wheels"), "--constraint", str(constraints), *packages)


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("debootstrap and a Docker Engine need root: run it with sudo")
    with tempfile.TemporaryDirectory(dir=TOOLS, prefix="scratch-") as scratch:
        tempfile.tempdir = scratch
        engine()
