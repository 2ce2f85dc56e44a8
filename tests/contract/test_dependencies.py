"""Dependencies are few, bounded below only, pinned where they are tested, and of licences that allow their use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.lab import bounds
from tests.lab.tools import ROOT

pytestmark = pytest.mark.contract

# How a package says in words what CONTRIBUTING.md says by SPDX's identifier. Whoever passes on a work of ours with the
# last two among them has to let their users replace these, which an installed Python package does.
LICENCES = {
    "Apache-2.0": r"\bApache\b",
    "BSD-3-Clause": r"\bBSD\b",
    "MIT": r"\bMIT\b",
    "PSF-2.0": r"\bPSF\b",
    "LGPL-3.0-only": r"\bLGPL",
    "MPL-2.0": r"\bMPL",
}


def installed() -> dict[str, Distribution]:
    """Return the dependencies and theirs, as they are installed here, those of the extras too."""
    found: dict[str, Distribution] = {}
    for requirement in bounds.declared():
        found |= dict(_with_theirs(requirement))
    return found


def _with_theirs(requirement: Requirement) -> Iterator[tuple[str, Distribution]]:
    one = distribution(requirement.name)
    yield canonicalize_name(requirement.name), one
    for needed in map(Requirement, one.requires or ()):
        extras = requirement.extras or {""}
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
            yield from _with_theirs(needed)


def test_each_dependency_has_a_lower_bound_and_no_other() -> None:
    assert all(bounds.oldest().values())


def test_each_dependency_has_its_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert not [line for line in block.splitlines() if not re.search(r'",\s+# \w', line)]


def test_what_users_get_is_pinned_for_the_tests_and_the_image_above_the_bounds() -> None:
    pinned = bounds.pinned()
    assert installed().keys() <= pinned.keys()
    for name, oldest in bounds.oldest().items():
        assert Version(oldest) <= Version(pinned[name]), name
    assert "--constraint /src/tests/constraints.txt" in (ROOT / "exporter/Dockerfile").read_text()


def test_each_licence_is_listed_and_is_the_packages_own() -> None:
    listed = dict(
        re.findall(r"^\| `([a-z0-9-]+)` \| ([\w.-]+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    )
    packages = installed()
    assert listed.keys() == packages.keys()
    for name, licence in listed.items():
        assert re.search(LICENCES[licence], _stated(packages[name])), name


def _stated(package: Distribution) -> str:
    said = package.metadata
    short = [*(said.get_all("License-Expression") or ()), *(said.get_all("License") or ())]
    files = [file.read_text() for file in package.files or () if file.name.startswith("LICENSE")]
    return " ".join([*short, *(said.get_all("Classifier") or ()), *([] if short else files)])
