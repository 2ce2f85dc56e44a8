"""Where the lab's programs are: in the checkout as `make tools` put them there, else on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"

# Debian keeps daemons in sbin, which an ordinary user's PATH lacks.
SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"


class MissingToolError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is neither in {TOOLS} nor on PATH: run `make tools`")


def program(*names: str) -> Path:
    """Return the first of these programs that `.tools/debian` or PATH has; raises MissingToolError."""
    private = ":".join(str(TOOLS / "debian" / folder) for folder in ("usr/bin", "usr/sbin"))
    for name in names:
        if found := shutil.which(name, path=f"{private}:{SEARCHED}"):
            return Path(found)
    raise MissingToolError(names[0])


def versions(name: str) -> list[Path]:
    """Return the oldest program of that name that the pack is for, and the current one, as `make lint-pack` got them.

    Where it could get none, this machine's own.
    """
    got = [TOOLS / age / "usr/bin" / name for age in ("oldest", "current")]
    oldest, current = (one if one.exists() else None for one in got)
    return [oldest or program(name), *([current] if current else [])]


def library_path() -> str:
    """Return where libraries of unpacked Debian packages are, for LD_LIBRARY_PATH; empty if there are none."""
    return ":".join(str(folder) for folder in (TOOLS / "debian/usr/lib").glob("*-linux-gnu"))


def faketime() -> Path | None:
    """Return the library that shows a process another time of day, None where it is not installed."""
    for root in (TOOLS / "debian", Path(os.environ.get("LAB_FAKETIME", "/")), Path("/")):
        for found in root.glob("usr/lib/*/faketime/libfaketime.so.1"):
            return found
    return None


def postgres_bin(major: int) -> Path:
    """Return the directory of that major's `postgres` and `initdb`; raises MissingToolError."""
    for folder in (TOOLS / f"postgres/{major}/bin", Path(f"/usr/lib/postgresql/{major}/bin")):
        if (folder / "postgres").exists():
            return folder
    raise MissingToolError(f"Postgres {major}")


def mlflow() -> Path:
    """Return the mlflow executable; LAB_MLFLOW names another one than the checkout's. Raises MissingToolError."""
    chosen = os.environ.get("LAB_MLFLOW") or shutil.which("mlflow", path=str(ROOT / ".venv-mlflow/bin"))
    if found := chosen or shutil.which("mlflow"):
        return Path(found)
    raise MissingToolError("mlflow")


def mlflow_version() -> str:
    """Return the version of the mlflow distribution beside that executable, without starting it."""
    for info in mlflow().parent.parent.glob("lib/python3*/site-packages/mlflow-*.dist-info"):
        return info.name.removeprefix("mlflow-").removesuffix(".dist-info")
    raise MissingToolError("mlflow")
