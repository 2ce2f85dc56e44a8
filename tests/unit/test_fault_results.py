"""What the fault lab keeps of its runs, and the page that it makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.__main__ import kept, known, merged
from tests.faults.matrix import line, matrix
from tests.faults.trial import Result

pytestmark = pytest.mark.unit

FIRST, SECOND = known()[:2]
VERSIONS = ["exporter 1", "MLflow 3"]


def result(number: int, **fields: object) -> Result:
    fault = known()[number]
    made = Result(fault.cause, fault.name, resolved=300.0, pace="full", date="2026-01-02")
    return replace(made, **fields)  # type: ignore[arg-type]  # the test's own fields


def keep(folder: Path, *results: Result) -> None:
    for one, fault in zip(results, known(), strict=False):
        kept(folder, fault).write_text(json.dumps(one.json()))


def test_a_page_is_of_all_that_was_kept_in_the_faults_order_and_a_second_run_replaces_its_row(
    tmp_path: Path,
) -> None:
    keep(tmp_path, result(0), result(1))
    again = result(1, delivered={"A": 10.0}, causes={"A": "availability"}, jobs=3)
    kept(tmp_path, SECOND).write_text(json.dumps(again.json()))
    assert merged([again], tmp_path) == [result(0), again]
    assert merged([again], None) == [again]


def test_no_two_faults_are_kept_in_one_file(tmp_path: Path) -> None:
    assert len({kept(tmp_path, fault) for fault in known()}) == len(known())


def test_the_page_says_the_pace_and_has_a_row_for_what_this_machine_cannot_have() -> None:
    text = matrix([result(0), result(1, made=False, failure="no group", resolved=None, jobs=3)], VERSIONS)
    assert "Pace: full, alone (1), full, 3 side by side (1)." in text
    assert f"| {SECOND.cause}: {SECOND.name} |" in text
    assert text.count("not made here") == 2
    assert "1 of 2 as declared." in text


def test_what_goes_on_after_the_fix_is_named() -> None:
    text = matrix([result(0, resolved=None, left=("MlflowIndexMissing",))], VERSIONS)
    assert "still firing: MlflowIndexMissing" in text


def test_the_highest_pressures_stand_beside_each_fault_and_those_of_the_cause_that_was_missed() -> None:
    pressures = {
        "read-load/readers": 3.0,
        "connections/locks": 2.0,
        "exporter/blind": 1.5,
        "availability/down": 0.4,
    }
    missed = result(0, missed=("MlflowServerDown",), pressures=pressures)
    text = matrix([missed], VERSIONS)
    assert "| read-load/readers 3, connections/locks 2, exporter/blind 1.5 |" in text
    assert text.count("pressures of what was made: availability/down 0.4") == 1
    assert "missed: MlflowServerDown; pressures of what was made: availability/down 0.4" in line(missed)
