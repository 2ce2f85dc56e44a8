"""`diagnose`: what follows from Prometheus' answers and from two scrapes, and how it is shown."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from exporter.cli import main, moment
from exporter.collector import Reason, SourceError
from exporter.pack.dashboards.limits import Signal, signals
from exporter.reports import diagnose_text, ruled
from exporter.reports.concluded import diagnosis_of
from exporter.reports.diagnose import WHOSE
from exporter.reports.diagnose import Report as Output
from exporter.reports.diagnosed import Asked, Diagnosis
from exporter.reports.evidence import Seen, figures
from exporter.reports.explained import Explained, Problem, Read, Report, Where
from exporter.reports.explaining import explained
from exporter.reports.prometheus import Prometheus, Series, either, quoted
from exporter.reports.scrapes import Scrapes
from exporter.reports.terminal import Paint, painter, plain
from exporter.reports.writers import Group, Writers
from exporter.secret import Secret
from exporter.settings import Prometheus as Settings

pytestmark = pytest.mark.unit

NOW = 1_700_000_000.0
HERE = {"job": "mlflow", "tracking_server": "main"}


def pressure(cause: str, signal: str, value: float, **labels: str) -> Series:
    return Series(
        {"__name__": "mlflow:pressure:ratio", "cause": cause, "signal": signal, **HERE, **labels}, value
    )


def alert(name: str, cause: str, state: str = "firing", severity: str = "warning", **labels: str) -> Series:
    own = {"alertname": name, "alertstate": state, "cause": cause, "severity": severity, "class": "evidence"}
    return Series({"__name__": "ALERTS", **own, **HERE, **labels}, 1)


def asked(
    pressures: Iterable[Series], alerts: Iterable[Series] = (), before: Iterable[Series] = (), **ranks: float
) -> Asked:
    """Return answers in which each alert's condition has held for ten minutes."""
    since = (
        Series({**one.labels, "__name__": "ALERTS_FOR_STATE", "alertstate": ""}, NOW - 600) for one in alerts
    )
    placed = tuple(Series({"cause": cause.replace("_", "-"), **HERE}, rank) for cause, rank in ranks.items())
    return Asked(
        NOW,
        tuple(pressures),
        tuple(before),
        tuple(alerts),
        tuple(since),
        placed,
        ruled.shipped(),
        frozenset({"postgresql"}),
    )


SCANNED = pressure("database-indexes", "runs-scanned", 3.2)
SCANS = alert("MlflowSearchScansRuns", "database-indexes")
FAILING = pressure("availability", "api-failing", 2.0, vantage="server")
FAILS = alert("MlflowApiFailing", "availability", severity="critical", vantage="server")
TROUBLE = asked(
    [SCANNED, FAILING, pressure("open-files", "fds", 0.1, resource="host")],
    [SCANS, FAILS],
    [pressure("database-indexes", "runs-scanned", 0.1)],
    database_indexes=253.2,
    availability=202.0,
    open_files=50.1,
)


def shown(found: Diagnosis, paint: Paint = plain) -> list[str]:
    return list(diagnose_text.of_prometheus(found, "main (job mlflow)", NOW, (), paint))


def test_evidence_is_in_its_own_unit_now_an_hour_ago_and_at_the_threshold() -> None:
    first = diagnosis_of(TROUBLE).causes[0].evidence[0]
    assert first.says == "searches keep 1 sessions busy"
    assert (first.hour_ago_says, first.threshold_says) == ("0", "0.3")
    assert first.now == pytest.approx(0.96)
    assert first.threshold == 0.3


def test_no_more_than_the_whole_time_is_told_of_a_lock() -> None:
    """A read waits a little longer than its limit before it gives up."""
    (cause,) = diagnosis_of(asked([pressure("sqlite-backend", "lock-wait", 5.06)])).causes
    assert cause.evidence[0].says == "file locked 100 % of the time"
    scrape = "# TYPE mlflow_db_sqlite_lock_wait_seconds gauge\nmlflow_db_sqlite_lock_wait_seconds 0.506\n"
    assert [one.says for one in figures(Scrapes.of(scrape, scrape, 30))] == ["file locked 100 % of the time"]


def test_causes_come_in_the_boards_order() -> None:
    found = diagnosis_of(TROUBLE)
    assert [(one.cause, one.state) for one in found.causes] == [
        ("database-indexes", "warning"),
        ("availability", "critical"),
        ("open-files", "well"),
    ]
    assert found.fires


def test_the_first_screen_says_what_it_is_and_what_to_do_in_80_columns() -> None:
    lines = shown(diagnosis_of(TROUBLE))
    first = "\n".join(lines[:24])
    assert "2 causes firing" in first
    assert "MlflowSearchScansRuns (warning) firing since 22:03 UTC, 10 min" in first
    assert "CREATE INDEX" in first
    assert "alerts/runbooks/database-indexes.md#mlflowsearchscansruns" in first
    assert [line for line in lines if len(line) > 80 and "https://" not in line] == []
    assert all(line.isascii() for line in lines)


def test_what_was_not_there_an_hour_ago_is_told_from_what_is_not_known() -> None:
    quiet = [pressure("database-indexes", "runs-scanned", 0.0)]
    assert diagnosis_of(asked([SCANNED], before=quiet)).causes[0].evidence[0].hour_ago_says == "none"
    assert diagnosis_of(asked([SCANNED])).causes[0].evidence[0].hour_ago_says == "no data"


def test_a_pressure_of_0_is_no_evidence_of_0() -> None:
    """Its conditions do not hold: what the evidence would be is not known."""
    (cause,) = diagnosis_of(asked([pressure("database-indexes", "runs-scanned", 0.0)])).causes
    assert cause.evidence[0].now is None
    assert "nothing of it" in shown(diagnosis_of(asked([pressure("connections", "pool", 0.0)])))[3]


def test_an_alert_that_another_explains_comes_after_it_and_needs_no_cure() -> None:
    size = pressure("database-size", "cpu", 13.0, measure="load")
    found = diagnosis_of(
        asked(
            [SCANNED, size],
            [SCANS, alert("MlflowDatabaseCpuSaturated", "database-size", measure="load")],
            database_size=263.0,
            database_indexes=253.2,
        )
    )
    assert [one.cause for one in found.causes] == ["database-size", "database-indexes"]
    text = "\n".join(shown(found))
    assert text.index("1 database-indexes:") < text.index("2 database-size:")
    assert "explained by MlflowSearchScansRuns, see there" in " ".join(text.split())
    assert "more cores" not in text


@pytest.mark.parametrize(
    ("source", "target", "by"),
    [
        ({"alertname": "MlflowSearchScansRuns"}, "MlflowDatabaseCpuSaturated", "MlflowSearchScansRuns"),
        ({"alertname": "MlflowSlowForMissingIndex", "state": "scanned"}, "MlflowDatabaseCpuSaturated", ""),
        ({"alertname": "MlflowSearchScansRuns"}, "MlflowCommitsWaitForWal", ""),
        ({"alertname": "MlflowAutovacuumBehind", "resource": "transaction ids"}, "MlflowDatabaseIoBound", ""),
    ],
)
def test_explained_is_what_the_shipped_inhibitions_silence(
    source: Mapping[str, str], target: str, by: str
) -> None:
    firing = [{"class": "evidence", "severity": "warning", **source}]
    assert explained({"alertname": target, "severity": "warning"}, firing) == by


def test_what_is_gone_comes_before_what_users_feel_of_it() -> None:
    down = pressure("availability", "database-down", 2.0)
    burn = pressure("availability", "error-budget", 15.0)
    fired = [
        alert("MlflowApiErrorBudgetBurn", "availability", severity="critical"),
        alert("MlflowDatabaseDown", "availability", severity="critical"),
    ]
    (cause,) = diagnosis_of(asked([down, burn], fired, availability=217.0)).causes
    assert [one.name for one in cause.alerts] == ["MlflowDatabaseDown", "MlflowApiErrorBudgetBurn"]
    assert cause.evidence[0].says == "database silent 100 % of 2 min"


def test_labels_that_a_site_gives_its_alerts_change_nothing() -> None:
    of_site = {"namespace": "prod", "team": "ml"}
    texts = {one.name: one for one in ruled.shipped()}
    rules = ruled.loaded(
        {
            "name": one.alert,
            "query": f"(mlflow:pressure:ratio{{{one.matchers}}} > 1) * {one.threshold}",
            "labels": {"cause": one.cause, "severity": one.severity, **of_site},
            "annotations": texts[one.alert].annotations,
        }
        for one in signals()
    )
    pools = [pressure("connections", "pool", value, instance=at) for at, value in (("a", 3.0), ("b", 2.0))]
    name = "MlflowConnectionPoolExhausted"
    fired = [alert(name, "connections", instance=at, **of_site) for at in ("b", "a")]
    found = diagnosis_of(replace(asked([*pools, pressure("connections", "pool", 9.0)], fired), rules=rules))
    alerts = found.causes[0].alerts
    assert [(one.about, one.pressure) for one in alerts] == [
        ({"instance": "a"}, 3.0),
        ({"instance": "b"}, 2.0),
    ]
    # Where the rules are not told, nobody can tell such a label from one of the pressure.
    found = diagnosis_of(asked(pools, fired))
    assert [one.pressure for one in found.causes[0].alerts] == [3.0, 2.0]


def test_a_fix_is_the_one_for_what_the_alert_is_about() -> None:
    about = {"setting": "wal_buffers"}
    fired = alert("MlflowDatabaseWalTooSmall", "database-configuration", **about)
    found = diagnosis_of(asked([pressure("database-configuration", "wal-buffers", 4.0, **about)], [fired]))
    fix = found.causes[0].alerts[0].fix
    assert "wal_buffers = '16MB'" in fix
    assert "{{" not in fix
    assert "max_wal_size to at least 4GB" not in fix


def test_what_is_blind_names_the_alerts_that_are_silent_for_it() -> None:
    blind = pressure("exporter", "blind", 2.0, collector="schema")
    source = pressure("exporter", "blind", 2.0, collector="source:postgres")
    first, second = diagnosis_of(asked([blind, source])).blind
    assert first.silent == "MlflowIndexMissing MlflowSearchScansRuns MlflowSlowForMissingIndex"
    assert second.silent == "all alerts about the database"


def test_alerts_without_series_are_not_judged_and_say_what_they_need() -> None:
    lacks = {name: one.needs for one in diagnosis_of(TROUBLE).unjudged for name in one.alerts}
    assert "MlflowSearchScansRuns" not in lacks
    assert "--expose-prometheus" in lacks["MlflowApiErrorBudgetBurn"]
    assert "MlflowSqliteLocked" not in lacks  # it is Postgres


def test_findings_and_what_is_near_fire_nothing() -> None:
    found = diagnosis_of(
        asked(
            [
                pressure("open-files", "fds", 0.9, resource="host"),
                pressure("database-indexes", "runs-scanned", 0),
            ],
            [alert("MlflowIndexMissing", "database-indexes", severity="info", table="runs")],
            database_indexes=100.0,
            open_files=50.9,
        )
    )
    assert [one.state for one in found.causes] == ["finding", "near"]
    assert not found.fires
    lines = shown(found)
    assert "nothing fires" in lines[0]
    assert "  MlflowIndexMissing: An index of MLflow's tables is missing or invalid. (table" in lines


def test_rules_of_another_version_are_shown_without_words_of_ours() -> None:
    rule = {
        "name": "MlflowNew",
        "query": '(mlflow:pressure:ratio{cause="connections",signal="new"} > 1) * 7',
        "labels": {"cause": "connections", "severity": "warning"},
        "annotations": {"summary": "New."},
    }
    new = asked([pressure("connections", "new", 2.0)], [alert("MlflowNew", "connections")])
    found = diagnosis_of(replace(new, rules=ruled.loaded([rule, {"name": "Other", "query": "up"}])))
    assert found.causes[0].evidence[0].says == "new 14"
    unknown = diagnosis_of(asked([], [alert("MlflowNewer", "connections")]))
    assert (unknown.causes[0].state, unknown.causes[0].alerts[0].fix) == ("warning", "")


def test_a_threshold_that_a_site_has_overridden_is_the_one_that_is_told() -> None:
    rule = {
        "name": "MlflowSearchScansRuns",
        "query": '(mlflow:pressure:ratio{signal="runs-scanned",cause="database-indexes"} > 1) * 0.6',
        "labels": {"cause": "database-indexes", "severity": "critical"},
        "annotations": {"runbook_url": "http://wiki/database-indexes"},
    }
    found = diagnosis_of(replace(asked([SCANNED], [SCANS]), rules=ruled.loaded([rule])))
    first = found.causes[0].evidence[0]
    assert (first.says, first.threshold_says) == ("searches keep 1.9 sessions busy", "0.6")
    assert "  http://wiki/database-indexes" in shown(found)


def test_a_label_cannot_steer_the_terminal() -> None:
    evil = alert("MlflowSearchScansRuns", "database-indexes", resource="\x1b[2J\nboo")
    assert all(line.isprintable() for line in shown(diagnosis_of(asked([SCANNED], [evil]))))


def test_what_a_rule_or_a_failure_says_cannot_steer_the_terminal() -> None:
    evil = "Bad.\x1b]0;title\x07 \u202egood"
    rules = [
        replace(one, annotations={**one.annotations, **dict.fromkeys(("summary", "diagnosis", "fix"), evil)})
        for one in ruled.shipped()
    ]
    blind = pressure("exporter", "blind", 2.0, collector="schema")
    unknown = alert("MlflowNewer\x1b[2J", "cause\x1b[2J")
    found = diagnosis_of(replace(asked([SCANNED, blind], [SCANS, unknown]), rules=tuple(rules)))
    why = Problem.of("prometheus", SourceError(Reason.UNSUPPORTED, evil, evil))
    lines = [*shown(found), *diagnose_text.failed(why)]
    assert [line for line in lines if not line.isprintable()] == []
    assert r"  Bad.\x1b]0;title\x07 \u202egood" in lines
    assert any("INDEX" in line for line in shown(diagnosis_of(TROUBLE)))


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_may_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert painter(io.StringIO()) is plain
    coloured = shown(diagnosis_of(TROUBLE), painter(Screen()))
    assert "\x1b[1;33mFIRING \x1b[0m" in "".join(coloured)
    assert [line for line in shown(diagnosis_of(TROUBLE)) if "\x1b" in line] == []
    monkeypatch.setenv("TERM", "dumb")
    assert painter(Screen()) is plain
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert painter(Screen()) is plain


def test_as_json_all_comes_at_the_end_as_one_object() -> None:
    out = io.StringIO()
    report = Output(out, as_json=True)
    report.add(["for people"], at=NOW, diagnosis=diagnosis_of(TROUBLE))
    report.add(["more"], problems=[])
    assert out.getvalue() == ""
    report.close()
    said = json.loads(out.getvalue())
    assert said.keys() == {"at", "diagnosis", "problems"}
    assert said["diagnosis"].keys() == {"causes", "blind", "unjudged"}
    first = said["diagnosis"]["causes"][0]
    assert first.keys() == {"cause", "title", "state", "pressure", "evidence", "alerts", "findings"}
    assert first["alerts"][0]["since"] == NOW - 600


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--prometheus", "prometheus:9090"], "--prometheus.url: found a string, allowed http(s)://HOST"),
        (["--tracking-server", "main"], "give --prometheus URL"),
        (["--prometheus", "http://p:9090", "--at", "yesterday"], "write 2026-01-31T03:00Z"),
    ],
)
def test_faulty_usage_ends_with_2_and_says_what_to_write(
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("exporter.cli.set_up", lambda level: None)  # the log is of all tests
    try:
        status = main(["diagnose", *arguments])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert status == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "at"),
    [("2023-11-14T22:13:20Z", NOW), ("2023-11-14T22:13:20", NOW), ("2023-11-15T00:13:20+02:00", NOW)],
)
def test_a_time_without_a_zone_is_utc(text: str, at: float) -> None:
    assert moment(text) == at


@pytest.mark.parametrize(
    ("value", "matcher"),
    [("a.b", r"a\\.b"), ("", ""), ('a"b', r"a\"b"), ("x y-z", "x y-z"), ("a|b", r"a\\|b")],
)
def test_a_name_becomes_a_matcher_of_just_that_name(value: str, matcher: str) -> None:
    assert either([value, ""]) == f"{matcher}|"
    assert quoted("a\\b") == r'"a\\b"'


INDEX = "CREATE INDEX CONCURRENTLY ix_runs_experiment_id_start_time ON runs (experiment_id, start_time);"


def database(says: str, helps: bool) -> list[str]:
    """Return what is shown of a database where all runs are read and one job writes."""
    read = Read("runs", 200_000, 4e7, "", 200_000, "All runs are read.", INDEX)
    search = Explained("search_runs", "runs", 0.9, 100, 9.0, 10, 0.9, "SELECT", (read,))
    job = Group("sweep", "alice", "train.py", "0123456789abcdef", 3, 1, 12.5, 0)
    report = Report(
        30.0,
        "17.2",
        Where(9.0, 1.0, 0.1, 0.9, helps, says),
        (search, search),
        (),
        Writers(3, (job,), (), {}, {}),
        (Problem("plans", Reason.PERMISSION, "no SELECT on runs", "GRANT SELECT ON runs TO exporter;"),),
    )
    return list(diagnose_text.of_database("mlflow@db:5432/mlflow", report, plain))


def test_the_database_says_once_which_index_would_help_and_who_writes() -> None:
    lines = database("SQL is 90% of the workers' busy time: that is where the time goes.", True)
    text = " ".join(" ".join(lines).split())
    assert text.count(INDEX) == 1
    assert "sweep alice train.py 01234567 3 1 12.5" in text
    assert "NOT READ: plans permission: no SELECT on runs GRANT SELECT ON runs TO exporter;" in text
    assert max(map(len, lines)) <= 80


def test_beside_a_server_that_was_chosen_it_says_that_the_database_may_be_another_one_s() -> None:
    report = Report(3.0, "17.2", Where(9.0, 1.0, 0.1, 0.9, False, "Well."), (), (), None, ())
    remark = WHOSE.format("team-b\x1b[2J")
    lines = list(diagnose_text.of_database("mlflow@db:5432/mlflow", report, plain, remark))
    assert r"no word on whether team-b\x1b[2J uses it" in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80


def test_where_sql_is_not_the_time_no_index_is_advised() -> None:
    text = " ".join(database("SQL is 3% of the workers' busy time: an index will not help.", False))
    assert INDEX not in text


def signed(**settings: Any) -> str | None:
    """Return the header by which a request would sign in."""
    request = requests.Request("GET", "http://prometheus:9090/api/v1/query").prepare()
    with closing(Prometheus(Settings(url="http://prometheus:9090", **settings))) as prometheus:
        return prometheus.sign(request).headers.get("Authorization")


def test_it_signs_in_with_a_token_or_a_password_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc\n")
    assert signed() is None
    assert signed(token_file=str(file)) == "Bearer abc"
    assert signed(token=Secret("def")) == "Bearer def"
    assert signed(username="u", password=Secret("pä")) == "Basic dTpww6Q="


def test_a_token_that_is_no_header_is_refused_and_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no header can carry") as refused:
        signed(token=Secret("hunter2\nX-Other: 1"))
    assert "hunter2" not in f"{refused.value.detail} {refused.value.remedy}"
    with pytest.raises(SourceError, match="token_file: FileNotFoundError"):
        signed(token_file=str(tmp_path / "gone"))


BEFORE = """
# TYPE mlflow_store_log_calls_total counter
mlflow_store_log_calls_total 1000
# TYPE mlflow_server_worker_cpu_seconds_total counter
mlflow_server_worker_cpu_seconds_total{worker="0"} 5
mlflow_server_worker_cpu_seconds_total{worker="1"} 100
"""
AFTER = """
# TYPE mlflow_store_log_calls_total counter
mlflow_store_log_calls_total 1600
# TYPE mlflow_server_worker_cpu_seconds_total counter
mlflow_server_worker_cpu_seconds_total{worker="0"} 20
mlflow_server_worker_cpu_seconds_total{worker="1"} 3
mlflow_server_worker_cpu_seconds_total{worker="2"} 900
# TYPE mlflow_db_load_sampled_seconds_total counter
mlflow_db_load_sampled_seconds_total 30
# TYPE mlflow_db_load_operation_seconds_total counter
mlflow_db_load_operation_seconds_total{operation="search_runs",database="mlflow"} 15
mlflow_db_load_operation_seconds_total{operation="search_runs",database="other"} 30
# TYPE mlflow_db_commits_total counter
mlflow_db_commits_total 5000
# TYPE mlflow_server_worker_open_fds gauge
mlflow_server_worker_open_fds{worker="0"} 500
mlflow_server_worker_open_fds{worker="1"} 20
# TYPE mlflow_server_worker_max_fds gauge
mlflow_server_worker_max_fds{worker="0"} 1000
mlflow_server_worker_max_fds{worker="1"} 1024
"""


def test_two_scrapes_give_rates_shares_and_no_more_than_there_is() -> None:
    scrapes = Scrapes.of(BEFORE, AFTER, 30)
    said = {one.says: one.threshold_says for one in figures(scrapes)}
    assert said == {
        "20 logging calls/s": "20",
        "busiest worker uses 50 % of a core": "80 %",
        "searches keep 0.5 sessions busy": "0.3",
        "50 % of a worker's open files used": "80 %",
        "100 % of the sessions' time is reads": "",
    }
    # Of a server's counter that was not there before nothing is known.
    assert scrapes.rate("mlflow_db_commits_total") is None


def test_two_scrapes_are_shown_without_a_judgement() -> None:
    seen = Seen("uvicorn on http://[::1]:5000", 30, tuple(figures(Scrapes.of(BEFORE, AFTER, 30))), ())
    lines = list(diagnose_text.of_scrapes(seen, plain))
    assert "NO RULE WAS EVALUATED" in "".join(lines)
    assert not {"FIRING", "pending", "near"} & set(" ".join(lines).split())
    assert max(map(len, lines)) <= 80


EVIDENCE = {rule.name: rule for rule in ruled.shipped() if rule.signals}


def of_signal(signal: Signal, value: float) -> Series:
    return pressure(signal.cause, signal.name, value, **about(signal))


def about(signal: Signal) -> dict[str, str]:
    """Return the labels beyond cause and signal."""
    return dict(re.findall(r'(\w+)="([^"]*)"', signal.place)[1:])


@pytest.mark.parametrize("name", EVIDENCE)
def test_what_to_do_is_on_the_first_screen_whatever_fires(name: str) -> None:
    signal = EVIDENCE[name].signals[0]
    calm = [of_signal(one, 0.5) for one in signals() if one.cause != signal.cause]
    fired = alert(name, signal.cause, severity=signal.severity, **about(signal))
    found = asked([of_signal(signal, 2.5), *calm], [fired])
    ranks = tuple(Series({"cause": one.labels["cause"]}, 50 + one.value) for one in found.pressures)
    first = shown(diagnosis_of(replace(found, ranks=ranks)))[:24]
    assert any(line.startswith(f"FIRING  {signal.cause}") for line in first)
    assert any(line.endswith(f"#{name.lower()}") for line in first), "the runbook's link is below it"
    assert any(line.startswith(("  Now  ", "  Fix  ")) for line in first)
