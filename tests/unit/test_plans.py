"""What recorded plans of real servers read, which index is advised, and which statements are planned at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from exporter import plans, queries
from exporter.collector import Reason, SourceError
from exporter.plans import Index, Scan, Table, advise, answers
from exporter.statements import classify
from exporter.statements.slowest import Slow, obstacle, since, slowest

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[1] / "golden" / "plans"
PRIMARY = Index("run_pk", ("run_uuid",), partial=False, valid=True, scans=9)
RUNS = Table("runs", 1_000_000.0, 181_968_896.0, (PRIMARY,))
ADVISED = Index("by_experiment", ("experiment_id", "start_time"), partial=False, valid=True, scans=3)


def scans(name: str) -> tuple[Scan, ...]:
    (answer,) = answers((GOLDEN / f"{name}.json").read_text())
    assert not isinstance(answer, SourceError)
    return answer


def with_index(*indexes: Index, rows: float | None = 1_000_000.0) -> Table:
    return Table("runs", rows, 181_968_896.0, (PRIMARY, *indexes))


def slow(text: str, writes: bool = False) -> Slow:
    return Slow("search_runs", "runs", writes, text, 1, 1.0)


@pytest.mark.parametrize("name", ["search_runs_15", "search_runs_17"])
def test_a_search_without_an_index_reads_all_runs_and_compares_their_experiment(name: str) -> None:
    (scan,) = scans(name)
    assert (scan.table, scan.index) == ("runs", "")
    assert scan.equal == ("experiment_id", "lifecycle_stage")


def test_rows_of_a_parallel_scan_are_those_of_all_its_processes() -> None:
    (scan,) = scans("search_runs_15")
    # 500 experiments share 1,000,000 runs evenly.
    assert scan.rows == pytest.approx(2000, rel=0.02)


def test_a_search_with_the_index_names_it() -> None:
    (scan,) = scans("search_runs_with_index_15")
    assert scan.index == "ix_runs_experiment_id_start_time"
    assert scan.rows == pytest.approx(2000, rel=0.02)
    assert advise(scan, RUNS) is None


def test_a_search_by_metric_reads_each_of_its_tables() -> None:
    found = {scan.table: scan.index for scan in scans("search_runs_by_metric_15")}
    assert found.keys() == {"runs", "latest_metrics"}


def test_the_history_of_a_metric_is_read_by_an_index_or_from_a_table_of_no_size() -> None:
    (scan,) = scans("metric_history_15")
    assert scan.table == "metrics"
    assert advise(scan, Table("metrics", None, 0.0, ())) is None


def test_the_index_on_experiment_and_start_time_is_advised_where_a_search_reads_all_runs() -> None:
    advice = advise(scans("search_runs_15")[0], RUNS)
    assert advice is not None
    assert advice.statement == (
        "CREATE INDEX CONCURRENTLY ix_runs_experiment_id_start_time\n  ON runs (experiment_id, start_time);"
    )
    assert "metric, parameter or tag" in advice.says


def test_of_a_small_or_never_analysed_table_nothing_is_advised() -> None:
    (scan,) = scans("search_runs_15")
    assert advise(scan, with_index(rows=49_999.0)) is None
    assert advise(scan, with_index(rows=None)) is None


def test_no_index_is_advised_where_a_large_part_of_the_table_is_wanted() -> None:
    advice = advise(scans("runs_by_status_15")[0], RUNS)
    assert advice is not None
    assert "100% of the rows" in advice.says
    assert advice.statement == ""


def test_an_index_that_exists_and_is_not_used_is_not_advised_again() -> None:
    advice = advise(scans("search_runs_15")[0], with_index(ADVISED))
    assert advice is not None
    assert "does not use the index by_experiment" in advice.says
    assert advice.statement == ""


def test_an_index_whose_build_failed_is_to_be_dropped() -> None:
    broken = Index("by_experiment", ("experiment_id", "start_time"), partial=False, valid=False, scans=0)
    advice = advise(scans("search_runs_15")[0], with_index(broken))
    assert advice is not None
    assert advice.statement == 'DROP INDEX CONCURRENTLY "by_experiment";'


def test_a_partial_index_does_not_stand_for_a_whole_one() -> None:
    partial = Index("active", ("experiment_id",), partial=True, valid=True, scans=0)
    advice = advise(scans("search_runs_15")[0], with_index(partial))
    assert advice is not None
    assert advice.statement.startswith("CREATE INDEX")


def test_an_index_of_mlflows_own_that_is_missing_is_the_one_advised() -> None:
    advice = advise(Scan("metrics", "", 25.0, ("run_uuid",)), Table("metrics", 1e7, 1e9, ()))
    assert advice is not None
    assert "MLflow's migrations make one" in advice.says
    assert advice.statement.endswith("ON metrics (run_uuid);") or "(run_uuid, " in advice.statement


def test_what_no_release_has_is_advised_with_caution() -> None:
    advice = advise(Scan("runs", "", 25.0, ("name",)), RUNS)
    assert advice is not None
    assert "try it on a copy first" in advice.says
    assert advice.statement.endswith("ON runs (name);")


def test_a_scan_that_compares_nothing_gets_no_index() -> None:
    advice = advise(Scan("runs", "", 1_000_000.0, ()), RUNS)
    assert advice is not None
    assert "no index" in advice.says
    assert advice.statement == ""


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        ("(experiment_id = $1)", ("experiment_id",)),
        ("((experiment_id = ANY (ARRAY[$1, $2])) AND ((status)::text = $3))", ("experiment_id", "status")),
        ("(($1)::text = (run_uuid)::text)", ("run_uuid",)),
        ("(((a)::text = $1) AND ((b = $2) OR (c = $3)))", ("a",)),
        ("((runs.start_time > $1) AND (runs.experiment_id = $2))", ("experiment_id",)),
        ("((value)::text ~~ ($1)::text)", ()),
        ("((experiment_id = $1) OR (experiment_id = $2))", ()),
        ("", ()),
    ],
)
def test_the_columns_that_a_filter_compares_for_equality(condition: str, columns: tuple[str, ...]) -> None:
    plan: list[dict[str, Any]] = [
        {"Plan": {"Node Type": "Seq Scan", "Relation Name": "t", "Plan Rows": 1, "Filter": condition}}
    ]
    (scan,) = plans.scans(plan)
    assert scan.equal == columns


def test_a_bitmap_scan_is_one_by_the_index_below_it() -> None:
    bitmap = {"Node Type": "Bitmap Index Scan", "Index Name": "i", "Plan Rows": 5}
    heap = {"Node Type": "Bitmap Heap Scan", "Relation Name": "t", "Plan Rows": 5, "Plans": [bitmap]}
    assert plans.scans([{"Plan": heap}]) == (Scan("t", "i", 5.0, ()),)


@pytest.mark.parametrize(
    ("name", "reason"), [("denied_15", Reason.PERMISSION), ("refused_17", Reason.UNSUPPORTED)]
)
def test_what_postgres_would_not_plan_has_a_reason(name: str, reason: Reason) -> None:
    (answer,) = answers((GOLDEN / f"{name}.json").read_text())
    assert isinstance(answer, SourceError)
    assert answer.reason is reason


def test_tables_and_their_indexes_are_read() -> None:
    index = '{"name":"run_pk","columns":["run_uuid"],"partial":false,"valid":true,"scans":9}'
    rows: list[dict[str, object]] = [
        {"table": "runs", "mlflow_db_table_rows": 1e6, "bytes": 181968896.0, "indexes": f"[{index}]"},
        {"table": "tags", "mlflow_db_table_rows": None, "bytes": 0.0, "indexes": "[]"},
    ]
    assert plans.tables(rows) == {"runs": RUNS, "tags": Table("tags", None, 0.0, ())}


def row(text: str | None, seconds: float, calls: int = 1) -> dict[str, object]:
    return {"queryid": 1, "text": text, "calls": calls, "mlflow_db_statement_seconds": seconds}


SEARCH = "SELECT DISTINCT runs.run_uuid FROM runs WHERE runs.experiment_id IN ({}) LIMIT {}"


def test_statements_that_differ_in_the_length_of_a_list_or_in_casts_are_one() -> None:
    rows = [
        row(SEARCH.format("$1::INTEGER", "$2::INTEGER"), 1.0, 3),
        row(SEARCH.format("$1::INTEGER, $2::INTEGER", "$3::INTEGER"), 2.0, 4),
        row(SEARCH.format("$1 /*, ... */", "$2"), 0.5, 5),
    ]
    first, *others = slowest(rows)
    assert (first.operation, first.table, first.calls, first.seconds) == ("search_runs", "runs", 12, 3.5)
    assert first.text == rows[1]["text"]
    assert others == []


def test_batches_of_any_size_are_one_and_other_applications_are_left_out() -> None:
    insert = "INSERT INTO metrics (key, value) VALUES ({})"
    found = slowest(
        [
            row(insert.format("$1, $2"), 1.0),
            row(insert.format("$1, $2), ($3, $4"), 2.0),
            row("SELECT * FROM orders", 9.0),
            row("select 1 as mlflow_db_up", 8.0),
            row(None, 7.0),
        ]
    )
    assert [(one.operation, one.calls) for one in found] == [("log_metrics", 2)]


def test_a_while_counts_what_was_added_and_after_a_reset_what_there_is() -> None:
    before = slowest([row(SEARCH.format("$1", "$2"), 5.0, 10)])
    later = slowest([row(SEARCH.format("$1, $2", "$3"), 7.0, 14)])
    assert list(since(before, later).values()) == [(4, 2.0)]
    reset = slowest([row(SEARCH.format("$1", "$2"), 1.0, 2)])
    assert list(since(before, reset).values()) == [(2, 1.0)]


def test_a_plain_select_is_planned() -> None:
    assert obstacle(slow("SELECT count(*) FROM runs WHERE runs.experiment_id IN ($1::INTEGER)")) is None


@pytest.mark.parametrize(
    ("text", "writes"),
    [
        ("INSERT INTO runs (run_uuid) VALUES ($1)", True),
        ("SELECT runs.run_uuid FROM runs WHERE runs.run_uuid = $1 FOR UPDATE", False),
        ("DELETE FROM runs", True),
        ("WITH gone AS (DELETE FROM runs RETURNING run_uuid) SELECT * FROM gone", False),
    ],
)
def test_what_writes_or_locks_is_not_planned_and_says_permission(text: str, writes: bool) -> None:
    against = obstacle(slow(text, writes))
    assert against is not None
    assert against[0] is Reason.PERMISSION


@pytest.mark.parametrize(
    "text",
    [
        "SELECT pg_sleep($1) FROM runs",
        "SELECT public.count(runs.run_uuid) FROM runs",
        'SELECT "evil"(runs.run_uuid) FROM runs',
        "SELECT runs.run_uuid FROM runs; DROP TABLE runs",
        "SELECT runs.run_uuid FROM runs WHERE runs.run_uuid IN (" + "$1, " * 10_000 + "$1)",
        "SELECT runs.run_uuid FROM runs" + " JOIN tags ON true" * 101,
    ],
    ids=["sleep", "schema", "quoted", "two", "long", "joins"],
)
def test_what_may_do_more_than_read_or_is_cut_is_not_planned(text: str) -> None:
    against = obstacle(slow(text))
    assert against is not None
    assert against[0] is Reason.UNSUPPORTED


def test_our_own_statements_are_recognised_in_pg_stat_statements_as_they_appear_there() -> None:
    # Leading comments are gone since 18, constants always; nested statements look as top level on 13.
    parts = [
        part
        for _, file in queries.variants()["explain"]
        for part in Path(queries.__file__ or "").with_name(file).read_text().split("\n;\n")
    ]
    texts = ["\n".join(line for line in part.splitlines() if not line.startswith("--")) for part in parts]
    texts += [
        "prepare mlflow_exporter_explain as SELECT DISTINCT runs.run_uuid FROM runs",
        "explain (format json) execute mlflow_exporter_explain (null,null)",
        "deallocate mlflow_exporter_explain",
    ]
    assert {classify(text).operation for text in texts} == {"exporter"}


def test_a_comment_of_one_endless_word_takes_no_time() -> None:
    text = "SELECT runs.run_uuid FROM runs /* " + "x" * 29_000 + " */"
    started = time.monotonic()
    assert obstacle(slow(text)) is None
    # 10 s where it takes the square of its length.
    assert time.monotonic() - started < 1
