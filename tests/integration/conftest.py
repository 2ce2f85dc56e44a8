"""What integration tests share."""

from __future__ import annotations

import pytest

from tests.integration.survival import Survives
from tests.integration.survival_rows import FAULTS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; pytest-xdist keeps that order by --no-loadscope-reorder."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
def survives(request: pytest.FixtureRequest) -> Survives:
    """Return what makes the trial of the fault that the test's marker names, by area and name."""
    marker = request.node.get_closest_marker("survives")
    assert marker, "a test that takes `survives` has the marker of that name"
    area, fault = marker.args
    assert fault in FAULTS[area], f"{area}: {fault} is not in the list of tests/integration/survival_rows.py"
    return Survives(area, fault, f"{request.path.name}::{request.node.originalname}")
