"""`mlflow-exporter systemd`: the unit beside this module, with this installation's program and the user given."""

from __future__ import annotations

import re
import sysconfig
from importlib.resources import files
from pathlib import Path

UNIT = "mlflow-exporter.service"
# What stands in the unit as it is packaged.
PROGRAM = "/opt/mlflow-exporter/bin/mlflow-exporter"
USER = "User=mlflow\n"


def unit(user: str, program: Path | None = None) -> str:
    """Return the unit; the program is that of this installation, else the path that the README installs to."""
    text = files(__name__).joinpath(UNIT).read_text(encoding="utf-8")
    program = program or Path(sysconfig.get_path("scripts"), "mlflow-exporter")
    if program.is_file():
        text = text.replace(PROGRAM, _word(str(program)))
    return text.replace(USER, f"User={user}\n")


def _word(path: str) -> str:
    """Return the path as one word of a command line in a unit, where `%` and spaces mean something."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[\w./%+:@=-]+", escaped) else f'"{escaped}"'
