"""Each fault of the list was made, by a test that is there, and was survived."""

from __future__ import annotations

import re

import pytest

from tests.integration.survival_rows import COLUMNS, FAULTS, PAGE, read
from tests.lab.tools import ROOT

pytestmark = pytest.mark.contract

ROWS = read(PAGE.read_text("utf-8"))


def test_each_declared_fault_has_its_row_in_order() -> None:
    declared = [(area, fault) for area, faults in FAULTS.items() for fault in faults]
    assert [(area, cells[0]) for area, cells in ROWS] == declared
    assert all(len(cells) == len(COLUMNS) for _, cells in ROWS)


def test_no_row_is_lost_or_late_or_leaks() -> None:
    assert [cells for _, cells in ROWS if re.search(r"\*\*(lost|late|leaks)\*\*", " ".join(cells))] == []
    assert {cells[COLUMNS.index("leaks")] for _, cells in ROWS} == {"0"}


def test_each_row_names_the_test_that_makes_its_fault() -> None:
    for area, cells in ROWS:
        file, _, test = cells[-1].strip("`").partition("::")
        text = (ROOT / "tests/integration" / file).read_text("utf-8")
        marked = rf'@pytest\.mark\.survives\(\s*"{re.escape(area)}",\s*"{re.escape(cells[0])}",?\s*\)'
        assert re.search(rf"{marked}\n(?:@.*\n)*def {test}\(", text), cells[-1]
