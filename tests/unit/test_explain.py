"""What `explain` concludes from what was read, and how it says it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from exporter.collector import Reason, SourceError
from exporter.reports.explain_text import failed, text
from exporter.reports.explained import Problem, Report, missing, report_of
from exporter.reports.terminal import COLUMNS, duration, printable, size
from exporter.reports.watch import Watch
from exporter.reports.writers import writers
from exporter.schema import catalogue
from exporter.sources.facts import Facts
from exporter.sources.pipeline import Row
from exporter.statements.slowest import Slow

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[1] / "golden" / "plans"
FACTS = Facts(
    150_018, "15.18", False, "mlflow", "exporter", False, True, True, 0, 2200, "public", True, "public", True
)
SEARCH = Slow(
    "search_runs",
    "runs",
    False,
    "SELECT DISTINCT runs.run_uuid FROM runs WHERE runs.experiment_id IN ($1, $2) LIMIT $3",
    100,
    10.0,
)
INSERT = Slow("log_metrics", "metrics", True, "INSERT INTO metrics (key) VALUES ($1)", 1000, 2.0)
DATASETS = Slow("datasets", "inputs", False, "SELECT inputs.input_uuid FROM inputs", 10, 1.0)
NAMES = ("evil\x1b[2J\u202e" + "x" * 500, "mallory\x07", "train.py\n", "deadbeefcafe")
BEGAN = 1_700_000_000_000


def index(name: str, *columns: str) -> dict[str, object]:
    return {"name": name, "columns": columns, "partial": False, "valid": True, "scans": 105}


def tables(*indexes: dict[str, object]) -> list[Row]:
    rows = (("runs", 1e6, 181_968_896.0, indexes), ("inputs", None, 0.0, ()))
    return [
        {"table": name, "mlflow_db_table_rows": count, "bytes": bytes_, "indexes": json.dumps(found)}
        for name, count, bytes_, found in rows
    ]


def plan(*names: str) -> str:
    return json.dumps([json.loads((GOLDEN / f"{name}.json").read_text())[0] for name in names])


def seen(sql: float = 5.0, cpu: float | None = 5.0, plan_name: str = "search_runs_15") -> Watch:
    """Return ten seconds with that much SQL and CPU of workers."""
    after = [
        replace(SEARCH, calls=SEARCH.calls + 50, seconds=SEARCH.seconds + sql),
        INSERT,
        DATASETS,
    ]
    return Watch(
        FACTS,
        BEGAN,
        10.0,
        before=[SEARCH, INSERT, DATASETS],
        after=after,
        planned=[after[0], DATASETS],
        plans=plan(plan_name, "denied_15"),
        tables=tables(),
        cpu=None if cpu is None else {(1, 1): cpu},
    )


def run(name: str, steps: float | None, keys: int, last: int, **other: object) -> dict[str, object]:
    experiment, user, source, commit = NAMES
    row: dict[str, object] = {
        "run": name,
        "experiment": experiment,
        "status": "RUNNING",
        "started": BEGAN - 1000,
        "user": user,
        "source": source,
        "commit": commit,
        "keys": keys,
        "mlflow_db_writer_steps": steps,
        "last": last,
    }
    return row | other


def columns(report: Report) -> int:
    # A statement to be copied stays whole; prose does not.
    return max(len(line) for line in text(report).splitlines())


def test_a_search_that_reads_all_runs_is_named_with_the_index_that_would_help() -> None:
    said = text(report_of(seen()))
    assert "1. search_runs on runs: 83%, 150 calls of 100 ms" in said
    assert "reads runs WHOLLY, 1,000,000 rows, 174 MB" in said
    assert "CREATE INDEX CONCURRENTLY ix_runs_experiment_id_start_time" in said
    assert "ON runs (experiment_id, start_time);" in said


def test_with_the_index_it_says_that_it_is_used_and_what_a_call_takes_now() -> None:
    watch = seen(sql=0.5, plan_name="search_runs_with_index_15")
    watch.tables = tables(index("ix_runs_experiment_id_start_time", "experiment_id", "start_time"))
    said = " ".join(text(report_of(watch)).split())
    assert "CREATE INDEX" not in said
    assert "The index on (experiment_id, start_time) is used, 105 times so far" in said
    assert "while watched 50 calls of 10 ms: the average above still holds slower calls of before" in said


@pytest.mark.parametrize(
    ("sql", "cpu", "helps", "says"),
    [
        (
            0.8,
            9.2,
            False,
            "SQL is 8% of the workers' busy time: an index will not help. The time goes to Python, ",
        ),
        (0.01, 9.9, False, "SQL is less than 1% of the workers' busy time: an index will not help."),
        (
            0.1,
            2.0,
            False,
            "SQL is 5% of the workers' busy time, and the busiest worker uses 20% of a core: nothing",
        ),
        (3.0, 7.0, True, "SQL is 30% of the workers' busy time: an index can spare no more than that."),
        (9.0, 1.0, True, "SQL is 90% of the workers' busy time: that is where the time goes."),
        (0.01, 0.01, True, "MLflow did next to nothing meanwhile"),
    ],
)
def test_it_says_whether_sql_is_where_the_time_goes(sql: float, cpu: float, helps: bool, says: str) -> None:
    where = report_of(seen(sql, cpu)).where
    assert where.says.startswith(says)
    assert where.helps is helps


def test_where_an_index_will_not_help_its_statement_says_how_little() -> None:
    said = " ".join(text(report_of(seen(0.8, 9.2))).split())
    assert "But SQL is not where the time goes: at best each of these calls takes 72 ms less." in said


def test_without_a_worker_in_sight_open_transactions_tell_and_it_says_at_most() -> None:
    watch = seen(cpu=None)
    sample = {"address": "10.0.0.1", "user": "mlflow", "application": "", "mlflow_db_sessions": 9}
    watch.sessions = [[sample | {"active": 1, "between_statements": 9, "waiting": 0}]] * 2
    where = report_of(watch).where
    assert where.share == pytest.approx(0.1)
    assert where.says.startswith(
        "SQL is 10% of the time of open transactions, at most: an index will not help."
    )
    watch.sessions = watch.sessions[:0]
    assert report_of(watch).where.share is None


def test_sessions_that_wait_for_a_lock_are_where_the_time_goes_whatever_the_statistics_say() -> None:
    watch = seen(0.0, 0.1)
    sample = {"address": "socket", "user": "mlflow", "application": "", "mlflow_db_sessions": 3}
    sample |= {"active": 3, "between_statements": 0, "waiting": 3}
    watch.sessions = [[sample], [sample | {"waiting": 0}]]
    where = report_of(watch).where
    assert where.says.startswith("1.5 sessions wait for a lock on average")
    assert not where.helps
    watch.sessions = [[sample], *[[sample | {"waiting": 0}]] * 9]
    assert "lock" not in report_of(watch).where.says


def test_sessions_of_several_machines_are_said_to_share_the_sql() -> None:
    watch = seen()
    sample = {
        "user": "mlflow",
        "application": "",
        "mlflow_db_sessions": 9,
        "active": 1,
        "between_statements": 9,
        "waiting": 0,
    }
    watch.sessions = [[sample | {"address": "10.0.0.1"}, sample | {"address": "10.0.0.2"}]]
    assert "servers on other machines" in report_of(watch).where.says
    watch.sessions = [[sample | {"address": "127.0.0.1"}, sample | {"address": "socket"}]]
    assert "servers on other machines" not in report_of(watch).where.says


def test_without_statistics_of_statements_no_share_is_made_up() -> None:
    watch = seen()
    watch.before = []
    watch.problems["statements"] = SourceError(Reason.TIMEOUT, "statements_slowest: no answer")
    report = report_of(watch)
    assert (report.where.sql_seconds, report.where.share) == (None, None)
    assert {one.recent_calls for one in report.statements} == {0}
    assert "cannot be told" in text(report)


def test_writes_are_permission_and_a_missing_right_names_the_one_grant() -> None:
    report = report_of(seen())
    found = {one.operation: one for one in report.statements}
    assert found["log_metrics"].reason is Reason.PERMISSION
    assert found["datasets"].reason is Reason.PERMISSION
    assert found["datasets"].remedy == 'GRANT SELECT ON "public"."inputs" TO "exporter";'
    assert 'GRANT SELECT ON "public"."inputs" TO "exporter";' in text(report)


def test_what_could_not_be_read_is_named_and_the_rest_is_said() -> None:
    watch = seen()
    watch.problems["writers"] = SourceError(Reason.PERMISSION, "permission denied for table runs", "GRANT …;")
    said = text(report_of(watch))
    assert "NOT READ: writers" in said
    assert "permission: permission denied for table runs" in said
    assert "CREATE INDEX CONCURRENTLY" in said
    assert "TOP WRITERS" not in said


def test_statements_of_other_roles_that_are_hidden_name_the_grant() -> None:
    watch = Watch(FACTS, BEGAN, 10.0, hidden=7)
    assert 'GRANT pg_read_all_stats TO "exporter";' in text(report_of(watch))


def test_nothing_read_is_a_report_too() -> None:
    said = failed(Problem("database", Reason.UNREACHABLE, "connection refused", "Start it."))
    assert (
        said
        == "NOTHING COULD BE READ\nNOT READ: database\n  unreachable: connection refused\n    Start it.\n"
    )


def test_runs_are_compared_with_themselves_and_grouped_by_who_logs() -> None:
    before = [run("a", 100.0, 2, 5), run("still", 50.0, 1, 5), run("ends", 10.0, 1, 5)]
    after = [
        run("a", 160.0, 2, 9),
        run("still", 50.0, 1, 5),
        run("ends", 30.0, 1, 8, status="FINISHED"),
        run("new", 20.0, 3, 9, started=BEGAN + 5),
        run("came into view", 9_000.0, 3, 9),
        run("other", 5.0, 3, 9, started=BEGAN + 5, user="bob"),
    ]
    found = writers(replace(Watch(), began=BEGAN, seconds=10.0, writers=(before, after)))
    assert [(one.run, one.steps) for one in found.runs] == [
        ("a", 60),
        ("new", 20),
        ("ends", 20),
        ("other", 5),
    ]
    first, second = found.groups
    assert (first.runs, first.started, first.steps_per_second) == (3, 1, 10.0)
    assert (second.user, second.runs) == ("bob", 1)
    assert found.running == 5


def test_a_run_without_steps_is_seen_by_its_timestamps() -> None:
    before, after = [run("a", None, 0, 5)], [run("a", None, 0, 6)]
    found = writers(replace(Watch(), began=BEGAN, seconds=10.0, writers=(before, after)))
    assert [(one.run, one.steps) for one in found.runs] == [("a", 0.0)]


def test_names_that_would_steer_a_terminal_are_spelt_out_and_cut_in_text_and_json() -> None:
    watch = seen()
    watch.writers = ([run("a", 1.0, 2, 5)], [run("a", 2.0, 2, 6)])
    watch.clients = Counter({"10.0.0.7": 3})
    report = report_of(watch)
    for shown in (text(report), msgspec.json.encode(report).decode()):
        assert all(sign.isprintable() or sign == "\n" for sign in shown)
        assert "\u202e" not in shown
        assert "x" * 81 not in shown
    assert "10.0.0.7" in text(report)
    assert columns(report) <= COLUMNS


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\u202eb", r"a\u202eb"),
        ("é中", "é中"),
        (None, ""),
        (0, "0"),
        ("y" * 9, "yyyy…"),
    ],
)
def test_printable_spells_out_and_cuts(given: object, shown: str) -> None:
    assert printable(given, 5 if given == "y" * 9 else 20) == shown


def test_figures_are_read_at_a_glance() -> None:
    assert [size(number) for number in (0, 2048, 5e6, 3e12)] == ["0 B", "2 kB", "5 MB", "2794 GB"]
    assert [duration(number) for number in (0.00042, 0.119, 1.5, 72.0)] == [
        "0.42 ms",
        "119 ms",
        "1.50 s",
        "72.0 s",
    ]


def test_an_index_of_mlflows_own_that_is_gone_is_named_with_the_statement_that_makes_it() -> None:
    known = catalogue()
    revision = next(one for one, release in reversed(known.revisions) if release)
    rows = [
        {
            **index._asdict(),
            "revision": revision,
            "name": "i",
            "covering": False,
            "valid": True,
            "building": False,
            "bytes": 0,
        }
        for index in known.expected(revision)
        if (index.table, index.columns) != ("metrics", ("run_uuid", "key", "step"))
    ]
    assert list(missing(rows, "tracking")) == [
        'CREATE INDEX CONCURRENTLY ON "tracking"."metrics" ("run_uuid", "key", "step");'
    ]
    assert list(missing([], "tracking")) == []
    assert list(missing([{**row, "revision": "of a fork"} for row in rows], "tracking")) == []
