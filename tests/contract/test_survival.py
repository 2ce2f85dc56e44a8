"""Each fault of the list was made, by a test that is there, and was survived."""

from __future__ import annotations

import ast
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
        file, _, name = cells[-1].strip("`").partition("::")
        assert (area, cells[0]) in made(file, name), cells[-1]


def made(file: str, name: str) -> list[tuple[str, ...]]:
    """Return what the markers `survives` of a test name, those of its parameters too."""
    tree = ast.parse((ROOT / "tests/integration" / file).read_text("utf-8"))
    (test,) = (one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == name)
    return [
        tuple(str(argument.value) for argument in call.args if isinstance(argument, ast.Constant))
        for decorator in test.decorator_list
        for call in ast.walk(decorator)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.survives"
    ]
