"""What this project depends on: the oldest versions that it allows, and those that its tests run with.

`python -m tests.lab.bounds` prints constraints for the oldest, and for all else what the tests run with.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.lab.tools import ROOT

CONSTRAINTS = ROOT / "tests/constraints.txt"


def declared() -> list[Requirement]:
    """Return the dependencies of pyproject.toml, those of its extras too."""
    optional = [one for extra in _project()["optional-dependencies"].values() for one in extra]
    return [Requirement(one) for one in (*_project()["dependencies"], *optional)]


def extras() -> str:
    """Return all extras as pip takes them, `[one,other]`."""
    return f"[{','.join(_project()['optional-dependencies'])}]"


@cache
def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def bound(requirement: Requirement) -> str:
    """Return the oldest version allowed; raises ValueError where that is not all that is said of versions."""
    (specifier,) = requirement.specifier
    if specifier.operator != ">=" or requirement.url or requirement.marker:
        raise ValueError(f"{requirement} is not NAME>=VERSION")
    return specifier.version


def oldest() -> dict[str, str]:
    """Return the oldest allowed version of each dependency.

    An extra of psycopg is a package beside it of the same version.
    """
    return {
        canonicalize_name(name): bound(one)
        for one in declared()
        for name in (one.name, *(f"{one.name}-{extra}" for extra in one.extras))
    }


def pinned() -> dict[str, str]:
    """Return the versions of tests/constraints.txt."""
    lines = CONSTRAINTS.read_text().splitlines()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def lines(versions: Mapping[str, str]) -> str:
    """Return a constraints file."""
    return "".join(f"{name}=={version}\n" for name, version in versions.items())


if __name__ == "__main__":
    print(lines(pinned() | oldest()), end="")
