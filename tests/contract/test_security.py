"""SECURITY.md: each promise names tests, and each test that it names is there and runs."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from exporter import __version__
from tests.lab.tools import ROOT

pytestmark = pytest.mark.contract

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """Return the cells of all rows of promises."""
    promised = TEXT.partition("## What is promised")[2].partition("## What is not promised")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in promised.splitlines()
        if line[:1] == "|"
    ]
    return [row for row in cells if row[0] not in ("promise", "---")]


@cache
def found_in(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {
        one.name: one
        for one in tree.body
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    }


def test_each_promise_names_a_test_and_nothing_else_in_its_cell() -> None:
    assert len(rows()) > 30
    for row in rows():
        assert len(row) == 2, row
        assert re.fullmatch(rf"{NAMED.pattern}(?:, {NAMED.pattern})*", row[1]), row


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED.findall(TEXT))))
def test_each_test_that_holds_a_promise_is_there_and_is_not_left_out(file: str, name: str) -> None:
    found = found_in(file)
    assert name in found, f"{file} has no test {name}"
    marks = [ast.unparse(one) for one in found[name].decorator_list]
    assert not any("skip" in mark or "xfail" in mark for mark in marks), marks


def test_no_promise_is_made_twice() -> None:
    promises = [row[0] for row in rows()]
    assert len(promises) == len(set(promises))


def test_it_says_where_to_report_and_what_is_mended() -> None:
    assert "(https://" not in TEXT.partition("## Supported")[0]  # one link, by reference, to the private form
    assert "/security/advisories/new" in TEXT
    assert "@" not in TEXT  # no address that nobody reads
    assert f"({__version__.rpartition('.')[0]})" in TEXT
