"""Every query of the dashboards, run as Grafana runs it: on a real, healthy site, and on 200 tracking servers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.causes import CAUSES
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.pages import dashboards, overview
from exporter.pack.dashboards.pages.overview import ROWS
from exporter.pack.dashboards.panel import Column, graph, table
from tests.faults import boards
from tests.faults.trial import Result
from tests.lab import panels
from tests.lab.fleet import Fleet
from tests.lab.load import LEAVE_ONE_RUNNING, Load
from tests.lab.needs import Needs
from tests.lab.panels import Answer, View
from tests.lab.stack import Lab, healthy

pytestmark = [pytest.mark.integration, pytest.mark.long]

Answers = Sequence[Answer]

# With what many sites have not, so that its panels have something to show. MLflow's own role may not see a replica.
SITE = Needs(
    options=("--expose-prometheus", "metrics"),
    replica=True,
    role="exporter",
    proxy="clients",
    background="idle",
)
SECONDS = 60  # of the rules' time ten minutes: all their windows but those of the slow burns

NOT_SQLITE = "the site has Postgres"
NO_LIMIT = "the server is in no container"
NO_EVENT = "nothing of that kind happens in health"

# What may be empty there, by dashboard and the title of the panel or of its row; and columns, by panel and field.
MAY_BE_EMPTY = {
    ("causes", "2. The backend store is SQLite  (sqlite-backend)"): NOT_SQLITE,
    ("causes", "Alerts over time"): NO_EVENT,
    ("causes", "Collectors that cannot read"): NO_EVENT,
    ("causes", "Indexes that are missing or invalid"): NO_EVENT,
    ("causes", "Settings outside what is recommended"): "the lab's fit its machine",
    ("database", "Log kept for slots"): "the replica has none",
    ("database", "Reset"): NO_EVENT,
    ("database", "SQLite: empty with Postgres"): NOT_SQLITE,
    ("probes", "Certificates"): "the server has no TLS",
    ("probes", "Named URLs"): "there are none",
    ("queries", "Statistics reset"): NO_EVENT,
    ("server", "Limits of the container"): NO_LIMIT,
}
MAY_BE_BLANK = {
    ("database", "Tables, largest first", "Value #F"): "of tables with 100,000 rows",
    ("exporter", "Collectors", "Value #D"): NO_EVENT,
    ("exporter", "Collectors", "reason"): NO_EVENT,
    ("workload", "Tables", "Value #C"): "the growth of a month",
}

BOARDS = [one.name for one in dashboards()]
LINES = 20  # of a graph: what is to be seen at once, of however many servers


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the series are of a site that worked for a while."""
    kept = tmp_path_factory.mktemp("series") / "data"
    with Lab(SITE) as lab:
        with Load(lab.url, clients=2, runs=3) as first:
            first.join()
        lab.sql("VACUUM (ANALYZE)")
        with Load(lab.url, clients=4, rate=20.0):
            time.sleep(5)
            lab.sql(LEAVE_ONE_RUNNING)
            restarted(lab)
            healthy(lab)
            time.sleep(SECONDS)
        lab.prometheus.stop()
        shutil.copytree(lab.prometheus.data, kept)
    return kept


def restarted(lab: Lab) -> None:
    """Let the exporter read anew what it reads every 5 minutes, and did before there was a run."""
    lab.prometheus.pause()  # whose scrapes give it less time than that takes
    lab.exporter.stop()
    lab.exporter.start()
    lab.exporter.scrape(30)
    lab.prometheus.resume()


@pytest.fixture(scope="module")
def site(series: Path) -> Answers:
    """Return what all dashboards show of it."""
    with boards.Kept(series) as prometheus:
        # Prometheus ends amid a scrape now and then, and a scrape that fails leaves nothing to show at its time.
        return panels.ask(prometheus.url, dashboards(), View(*prometheus.answered(), boards.SCRAPE))


def of(board: str, answers: Answers) -> Answers:
    return [one for one in answers if one.place.dashboard == board]


@pytest.mark.parametrize("board", BOARDS)
def test_each_query_gets_finite_values_and_no_more_series_than_can_be_read(board: str, site: Answers) -> None:
    assert [said for one in of(board, site) if (said := one.wrong())] == []


@pytest.mark.parametrize("board", BOARDS)
def test_no_panel_is_empty_but_those_that_may_be(board: str, site: Answers) -> None:
    found = panels.empty(of(board, site))
    said = {
        one for one in found if {(one.dashboard, one.title), (one.dashboard, one.row)} & MAY_BE_EMPTY.keys()
    }
    assert sorted(map(str, found - said)) == []


@pytest.mark.parametrize("board", BOARDS)
def test_each_line_of_a_panel_has_a_name_of_its_own(board: str, site: Answers) -> None:
    assert sorted(f"{place}: {name!r}" for place, name in panels.alike(of(board, site))) == []


@pytest.mark.parametrize("board", BOARDS)
def test_each_column_of_a_table_is_a_field_of_its_queries(board: str, site: Answers) -> None:
    found = panels.unfilled(of(board, site))
    assert (
        sorted(
            f"{one}: {column}"
            for one, column in found
            if (one.dashboard, one.title, column) not in MAY_BE_BLANK
        )
        == []
    )


@pytest.mark.parametrize("board", BOARDS)
def test_each_variable_has_something_to_choose(board: str, site: Answers) -> None:
    found = [one for one in of(board, site) if one.place.kind == "variable"]
    assert len(found) == 3
    assert [str(one.query) for one in found if not one.result] == []


def test_the_same_is_seen_of_a_fault_whose_series_were_kept(series: Path) -> None:
    result = Result("exporter", "none", resolved=100, pace="brief")
    seen = boards.seen(result, series)
    assert len(seen.during) == len(seen.after) > 0
    assert seen.troubles == {}
    assert {cause for cause, _ in seen.ranks} <= {cause.slug for cause in CAUSES}
    assert len(seen.ranks) == len(CAUSES) - 1  # without SQLite's
    summary = boards.Summary()
    summary.add(seen)
    assert summary.troubles == {}
    assert summary.first.total() == 1


def test_what_may_be_empty_is_there() -> None:
    there: set[tuple[str, ...]] = set()
    for one in dashboards():
        for row, panel in panels.shown(one.json()["panels"]):
            title = panel["title"]
            there |= {(one.name, row), (one.name, title)}
            there |= {(one.name, title, column) for column in panels.columns(panel)}
    said = {*MAY_BE_EMPTY, *MAY_BE_BLANK, *boards.EMPTY, *boards.BARE}
    assert {which for which in said - there if which[0] in BOARDS} == set()


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet([overview.dashboard()]) as prometheus:
        yield prometheus


@pytest.mark.parametrize("each", [False, True], ids=["All", "each of them"])
def test_the_overview_of_200_servers_answers_in_time_and_can_be_read(fleet: Fleet, each: bool) -> None:
    view = replace(fleet.view, selected={"tracking_server": fleet.servers}) if each else fleet.view
    answers = panels.ask(fleet.url, [overview.dashboard()], view)
    for one in sorted(answers, key=lambda one: -one.seconds)[:5]:
        print(f"{one.seconds:.2f} s: {one.query}")
    assert [f"{one.query}: {one.error}" for one in answers if one.error] == []
    assert panels.empty(answers) == set()
    assert [
        f"{one.query}: {one.series} series"
        for one in answers
        if one.place.panel and one.series > (ROWS if one.place.kind == "table" else LINES)
    ] == []


def test_the_overview_of_200_servers_has_those_in_trouble_on_its_board(fleet: Fleet) -> None:
    answers = panels.ask(fleet.url, [overview.dashboard()], fleet.view)
    rows = [
        row for one in answers if one.query.ref == "A" and "cause" in one.place.columns for row in one.result
    ]
    above = {row["metric"]["tracking_server"] for row in rows if float(row["value"][1]) > 1}
    assert sorted(above) == fleet.in_trouble


def test_the_tiles_of_200_servers_tell_of_the_worst_one_and_of_no_alert_of_others(fleet: Fleet) -> None:
    answers = panels.ask(fleet.url, [overview.dashboard()], fleet.view)
    tiles = {one.place.title: one.values for one in answers if one.place.kind == "stat"}
    assert (tiles["Server"], tiles["Database"], tiles["API"]) == (["0"], ["1"], ["2"])
    assert tiles["Firing"] == [str(len(fleet.in_trouble))]
    lines = [one for one in answers if one.place.title == "Causes over time"]
    assert all(row["metric"].get("cause") for one in lines for row in one.result)


def test_what_is_wrong_with_a_dashboard_is_seen(fleet: Fleet) -> None:
    two = "topk(2, mlflow_server_up)"
    wrong = {
        "parse error": graph("parse error", "x", "mlflow_server_up +"),
        "there is no variable '__rate'": graph("variable", "x", "rate(mlflow_server_up[$__rate])"),
        "120 NaN": graph("NaN", "x", "max(0 / (mlflow_db_up - 1))", unit_="short"),
        "120 infinite": graph("Inf", "x", "max(1 / (mlflow_db_up - 1))", unit_="short"),
        "200 series": graph("many", "x", {"{{tracking_server}}": "mlflow_server_up"}),
        "": graph("alike", "x", {"up": two}),
    }
    nothing = graph("empty", "x", "mlflow_server_up == 7")
    columns = [Column("instance", "Exporter"), Column("Value", "Up"), Column("Value #A", "Down")]
    rows = table("columns", "x", two, columns)
    lines = [[one] for one in (*wrong.values(), nothing, rows)]
    answers = panels.ask(fleet.url, [Dashboard("x", "x", "x", [Row("", lines)])], fleet.view)
    shown = [one for one in answers if one.place.panel]

    for said, answer in zip(wrong, shown, strict=False):
        assert said in answer.wrong()
        assert bool(said) is bool(answer.wrong())
    assert {one.title for one in panels.empty(answers)} == {"parse error", "variable", "empty"}
    assert {(place.title, name) for place, name in panels.alike(answers)} == {("alike", "up")}
    assert {(place.title, column) for place, column in panels.unfilled(answers)} == {("columns", "Value #A")}


def test_numbers_are_put_into_queries_as_grafana_does() -> None:
    hours = View(0, 6 * 3600)
    assert [hours.step(columns) for columns in (24, 12, 6)] == [15, 30, 60]
    assert View(0, 300, scrape=1.5).step() == 1.5
    assert View(0, 30 * 86400).step(12) == 3600
    variables = overview.dashboard().json()["templating"]["list"]
    chosen = replace(hours, selected={"tracking_server": ["a.b", "c"], "instance": ["x:1"]})
    values = chosen.values(variables, 60)
    assert [values[name] for name in ("__rate_interval", "__range", "__interval")] == ["75s", "21600s", "60s"]
    assert [values[name] for name in ("job", "tracking_server", "instance")] == [".+", r"(a\\.b|c)", "x:1"]
    assert panels.replaced("${job} $tracking_server ${job:regex} $1", values) == r".+ (a\\.b|c) .+ $1"
