"""What is said of a schema: which indexes it should have, and what is wrong with those it has."""

from __future__ import annotations

import pytest

from exporter.collectors.schema import report
from exporter.schema import Found, Index, audit, catalogue, searches_runs

pytestmark = pytest.mark.unit

HEAD, BEFORE = "f4a9b2c7d1e6", "8b6ad64cb8f5"
OLDEST = "acf3f17fdcc7"
KEY = Index("metrics", ("run_uuid", "key", "step"), False, False)
RUN = Index("metrics", ("run_uuid",), False, False)
PRIMARY = Index("runs", ("run_uuid",), True, False)


def has(
    what: Index, name: str = "", *, valid: bool = True, building: bool = False, covering: bool = False
) -> Found:
    return Found(what, name or "_".join(what.columns), covering, valid, building, 8192)


def test_each_revision_expects_what_came_with_it_or_before_and_is_not_yet_gone() -> None:
    known = catalogue()
    assert KEY in known.expected(HEAD)
    assert KEY not in known.expected(OLDEST)
    assert RUN in known.expected(OLDEST)
    gone = next(one for one in known.entries if one.until)
    assert gone.definition in known.expected(gone.since)
    assert gone.definition not in known.expected(gone.until)


def test_releases_are_the_first_with_their_schema_and_between_two_there_is_none() -> None:
    known = catalogue()
    assert known.release(OLDEST) == "2.10"
    assert known.release(HEAD) == "3.18"
    assert known.release(BEFORE) == ""
    assert known.release("0123456789ab") is None
    assert known.expected("0123456789ab") == ()


def test_the_advised_index_on_runs_is_expected_of_no_release() -> None:
    assert {one.definition for one in catalogue().entries if one.definition.table == "runs"} == {PRIMARY}


def test_an_index_is_known_by_what_it_is_on_not_by_its_name() -> None:
    assert audit([has(KEY, "anything")], [KEY]).missing == []
    assert audit([has(RUN)], [KEY]).missing == [KEY]
    assert audit([has(KEY._replace(table="params"))], [KEY]).missing == [KEY]
    assert audit([has(KEY._replace(columns=("key", "run_uuid", "step")))], [KEY]).missing == [KEY]
    assert audit([has(KEY._replace(partial=True))], [KEY]).missing == [KEY]


def test_a_longer_index_stands_for_a_shorter_one_unless_that_keeps_values_unique() -> None:
    longer = PRIMARY._replace(columns=("run_uuid", "status"))
    assert audit([has(KEY)], [RUN, KEY]).missing == []
    assert audit([has(longer)], [PRIMARY]).missing == [PRIMARY]
    assert audit([has(PRIMARY._replace(unique=False))], [PRIMARY]).missing == [PRIMARY]


def test_an_index_that_failed_to_build_is_invalid_not_missing_and_one_being_built_is_neither() -> None:
    broken = has(KEY, valid=False)
    assert audit([broken], [KEY])[:2] == ([], [broken])
    assert audit([has(KEY, valid=False, building=True)], [KEY])[:2] == ([], [])


def test_of_two_equal_indexes_one_is_redundant_and_never_the_unique_one() -> None:
    first, second = has(RUN, "a"), has(RUN, "b")
    assert audit([second, first], [RUN]).redundant == [second]
    unique, plain = has(PRIMARY, "z"), has(PRIMARY._replace(unique=False), "a")
    assert audit([plain, unique], [PRIMARY]).redundant == [plain]


def test_the_beginning_of_another_index_is_redundant_unless_mlflow_made_it() -> None:
    assert audit([has(RUN), has(KEY)], [KEY]).redundant == [has(RUN)]
    assert audit([has(RUN), has(KEY)], [RUN, KEY]).redundant == []


def test_what_serves_something_of_its_own_is_not_redundant() -> None:
    assert audit([has(RUN, covering=True), has(KEY)], [KEY]).redundant == []
    assert audit([has(RUN._replace(partial=True)), has(KEY)], [KEY]).redundant == []
    assert audit([has(RUN), has(KEY._replace(partial=True))], []).redundant == []
    assert audit([has(RUN), has(KEY, valid=False)], []).redundant == []


def test_any_valid_index_of_runs_that_begins_with_the_experiment_helps_its_search() -> None:
    advised = Index("runs", ("experiment_id", "start_time"), False, False)
    assert searches_runs(has(advised))
    assert searches_runs(has(advised._replace(columns=("experiment_id",))))
    assert not searches_runs(has(advised._replace(columns=("start_time", "experiment_id"))))
    assert not searches_runs(has(advised._replace(table="trace_info")))
    assert not searches_runs(has(advised._replace(partial=True)))
    assert not searches_runs(has(advised, valid=False))


def said(revision: str, present: list[Found]) -> dict[tuple[str, ...], float]:
    return {
        (sample.metric.name.removeprefix("mlflow_"), *sample.labels): float(sample.value)  # type: ignore[arg-type]
        for sample in report(revision, present)
    }


def test_an_unknown_revision_claims_nothing_missing_or_redundant() -> None:
    assert said("0123456789ab", [has(RUN), has(KEY), has(KEY, "broken", valid=False)]) == {
        ("store_schema_known",): 0,
        ("store_schema_info", "0123456789ab", ""): 1,
        ("db_runs_search_index_present",): 0,
        ("db_indexes_invalid",): 1,
        ("db_invalid_index_info", "metrics", "run_uuid, key, step", "yes"): 1,
    }


def test_what_is_missing_is_named_by_table_and_columns() -> None:
    present = [has(one) for one in catalogue().expected(HEAD) if one != KEY]
    found = said(HEAD, present)
    assert found[("db_indexes_expected",)] == len(present) + 1
    assert found[("db_indexes_missing",)] == 1
    assert found[("db_missing_index_info", "metrics", "run_uuid, key, step")] == 1
    assert found[("store_schema_info", HEAD, "3.18")] == 1


def test_an_expression_of_an_operator_is_no_label_and_no_flood_of_series_follows() -> None:
    broken = [
        has(Index("runs", (f"column_{number}",), False, False), valid=False) for number in range(30)
    ] + [has(Index("runs", ("aaa", "(lower('secret'::text))"), False, False), valid=False)]
    found = said(HEAD, broken)
    labels = [key[1:] for key in found if key[0] == "db_invalid_index_info"]
    assert len(labels) == 20
    assert labels[0] == ("runs", "aaa, (expression)", "no")
    assert found[("db_indexes_invalid",)] == 31
