from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from exporter.collector import Reason, SourceError
from exporter.collectors.statements import Statements
from exporter.metric import check
from exporter.rights import MONITOR
from exporter.sources.facts import Facts
from exporter.sources.pipeline import Row
from exporter.statements import KNOWN

pytestmark = pytest.mark.unit

INSERT = "INSERT INTO metrics (key) VALUES ($1)"
HISTORY = "SELECT metrics.key AS metrics_key FROM metrics WHERE metrics.run_uuid = $1"
ORDERS = "SELECT id FROM orders"
TEXTS = {1: INSERT, 2: HISTORY, 3: ORDERS}
FACTS = Facts(
    150000, "15.0", False, "mlflow", "exporter", False, True, True, 0, 2200, "public", True, "public", True
)

Costs = tuple[float, float, float, float, float]
"""blocks hit, blocks read, temp blocks, WAL bytes, I/O milliseconds"""
Entry = tuple[int, int | None, bool, int, float, int] | tuple[int, int | None, bool, int, float, int, Costs]
"""userid, queryid, toplevel, calls, milliseconds, rows, and costs where they matter"""
YEAR_2000 = 946_684_800
POINTS = ("log_metrics", "metrics")
NO_COSTS: Costs = (0.0, 0.0, 0.0, 0.0, 0.0)
CALLS = "mlflow_db_statement_write_calls_total"


def binary(form: str, rows: Sequence[Sequence[float]]) -> bytes | None:
    """Return rows as `statements` puts them together; of no row there is none."""
    packed = [
        struct.pack(
            f">{form}",
            *(int(value) if code == "q" else value for code, value in zip(form, row, strict=True)),
        )
        for row in rows
    ]
    return b"".join(packed) or None


class Server:
    """Answers as pg_stat_statements gives them, from entries that a test changes between two scrapes."""

    def __init__(self) -> None:
        self.facts = FACTS
        self.round_trip = 0.001
        self.entries: list[Entry] = []
        self.texts = dict(TEXTS)
        self.settings: dict[str, object] = {
            "track": "top",
            "io_timing": True,
            "server_started": 1.0,
            "reset": 0.0,
            "mlflow_db_statements_limit": 5000,
            "mlflow_db_statements_evicted_total": 0,
        }
        self.since = 0.0
        self.read_at = 50.0
        self.now = 1_000.0
        self.asked: list[list[int]] = []
        self.asking: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.now

    def rows(self, query: str) -> Sequence[Row]:
        if query == "statements_info":
            return [self.settings]
        assert query == "statements"
        self.read_at += 1.0
        identity = [(role * 2 + level, queryid or 0) for role, queryid, level, *_ in self.entries]
        counts = [
            ((self.since - YEAR_2000) * 1e6, *entry[3:6], *(entry[6] if len(entry) > 6 else NO_COSTS))
            for entry in self.entries
        ]
        return [
            {
                "mlflow_db_statements_tracked": len(self.entries),
                "read_at": self.read_at,
                "statements": binary("qq", identity),
                "counts": binary("qqdqqqqqd", counts),
            }
        ]

    def ask(self, query: str, *params: object) -> Sequence[Row]:
        assert query == "statement_texts"
        (queryids,) = params
        assert isinstance(queryids, list)
        self.asked.append(queryids)
        self.asking()
        return [{"queryid": one, "text": self.texts[one]} for one in queryids if one in self.texts]

    def slow(self, seconds: float) -> Callable[[], None]:
        def pass_time() -> None:
            self.now += seconds

        return pass_time


class Scraper:
    def __init__(self, server: Server, slowest: int = 10, texts: bool = True) -> None:
        self.server = server
        self.collector = Statements(slowest, texts, server.clock)

    def __call__(self, *entries: Entry) -> dict[tuple[str, ...], float]:
        """Scrape once with these statements tracked; returns each sample's value by name and labels."""
        self.server.entries = list(entries)
        samples = check(self.collector.collect(self.server), frozenset(self.collector.metrics))
        return {(sample.metric.name, *sample.labels): sample.value for sample in samples}  # type: ignore[misc]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def scrape(server: Server) -> Scraper:
    return Scraper(server)


def insert(
    calls: int, milliseconds: float = 0.0, rows: int = 0, userid: int = 10, toplevel: bool = True
) -> Entry:
    return (userid, 1, toplevel, calls, milliseconds, rows)


def history(calls: int) -> Entry:
    return (10, 2, True, calls, 0.0, 0)


def test_the_first_reading_is_the_baseline_and_known_classes_start_at_zero(scrape: Scraper) -> None:
    found = scrape(insert(500, 20.0, 500))
    for known in KNOWN:
        access = "write" if known.writes else "read"
        for what in ("calls", "seconds", "rows"):
            name = f"mlflow_db_statement_{access}_{what}_total"
            assert found[name, known.operation, known.table] == 0


def test_what_is_counted_between_two_readings_is_added_in_base_units(scrape: Scraper) -> None:
    scrape(insert(500, 20.0, 500))
    scrape(insert(510, 45.0, 600))
    found = scrape(insert(511, 46.0, 601))
    assert found[CALLS, *POINTS] == 11
    assert found["mlflow_db_statement_write_seconds_total", *POINTS] == pytest.approx(0.026)
    assert found["mlflow_db_statement_write_rows_total", *POINTS] == 101


def test_a_statement_first_seen_later_counts_from_zero(scrape: Scraper) -> None:
    scrape()
    assert scrape(insert(7))[CALLS, *POINTS] == 7


def test_statements_of_two_roles_and_two_texts_of_one_class_add_up(server: Server, scrape: Scraper) -> None:
    server.texts[4] = INSERT
    scrape()
    assert scrape(insert(3, userid=10), insert(4, userid=11), (10, 4, True, 5, 0, 0))[CALLS, *POINTS] == 12


def test_a_nested_twin_is_not_added_to_the_statement_at_top_level(scrape: Scraper) -> None:
    scrape()
    found = scrape(insert(3), insert(100, toplevel=False))
    assert found[CALLS, *POINTS] == 3
    assert found[CALLS, "nested", ""] == 100


def test_after_a_reset_counters_go_on_rising(scrape: Scraper) -> None:
    scrape(insert(500))
    scrape(insert(600))
    scrape()
    assert scrape(insert(40))[CALLS, *POINTS] == 140


def test_a_reset_between_two_readings_counts_what_came_after_it(scrape: Scraper) -> None:
    scrape(insert(500))
    assert scrape(insert(30))[CALLS, *POINTS] == 30


def test_a_statement_that_was_pushed_out_and_is_back_is_recognised_by_any_count_that_fell(
    scrape: Scraper,
) -> None:
    scrape(insert(5, 900.0, 5))
    assert scrape(insert(6, 1.0, 6))[CALLS, *POINTS] == 6


def test_one_that_is_back_with_more_in_all_counts_is_never_counted_too_high(scrape: Scraper) -> None:
    scrape(insert(5))
    assert scrape(insert(60))[CALLS, *POINTS] == 55


def test_from_postgres_17_on_its_start_tells_that_a_statement_is_back(
    server: Server, scrape: Scraper
) -> None:
    scrape(insert(5))
    server.since = server.read_at + 0.5
    assert scrape(insert(60))[CALLS, *POINTS] == 60
    assert scrape(insert(61))[CALLS, *POINTS] == 61


@pytest.mark.parametrize("calls", [60, 5])
def test_from_postgres_14_on_the_time_of_a_reset_tells_that_all_counts_are_new(
    server: Server, scrape: Scraper, calls: int
) -> None:
    scrape(insert(5))
    server.settings["reset"] = server.read_at + 0.5
    assert scrape(insert(calls))[CALLS, *POINTS] == calls
    assert scrape(insert(calls))[CALLS, *POINTS] == calls


def test_a_reset_just_before_a_reading_that_did_not_see_it_counts_nothing_twice(
    server: Server, scrape: Scraper
) -> None:
    scrape(insert(5))
    reset = server.read_at + 0.9
    assert scrape(insert(1))[CALLS, *POINTS] == 1
    server.settings["reset"] = reset
    assert scrape(insert(4))[CALLS, *POINTS] == 4


def test_another_server_is_a_new_baseline(server: Server, scrape: Scraper) -> None:
    scrape(insert(5))
    assert scrape(insert(9))[CALLS, *POINTS] == 4
    server.settings["server_started"] = 2.0
    scrape(insert(5_000), history(70))
    found = scrape(insert(5_001), history(71))
    assert found[CALLS, *POINTS] == 5
    assert found["mlflow_db_statement_read_calls_total", "metric_history", "metrics"] == 1


def test_texts_are_read_once_each_and_all_together(server: Server, scrape: Scraper) -> None:
    scrape(insert(1), history(1))
    scrape(insert(2), history(2))
    scrape(insert(2), history(2), (10, 3, True, 1, 0, 0), (11, 3, False, 1, 0, 0))
    assert server.asked == [[1, 2], [3]]


def test_texts_are_not_read_again_before_a_thousand_times_their_cost_has_passed(
    server: Server, scrape: Scraper
) -> None:
    server.asking = server.slow(0.01)
    scrape()
    assert scrape(insert(2))[CALLS, *POINTS] == 2
    server.now += 9.9
    waiting = scrape(insert(3), history(20))
    assert waiting["mlflow_db_statements_pending",] == 1
    assert waiting[CALLS, *POINTS] == 3
    assert waiting["mlflow_db_statement_read_calls_total", "metric_history", "metrics"] == 0
    server.now += 0.2
    found = scrape(insert(3), history(25))
    assert found["mlflow_db_statements_pending",] == 0
    assert found["mlflow_db_statement_read_calls_total", "metric_history", "metrics"] == 25
    assert server.asked == [[1], [2]]


def test_no_more_than_five_hundred_texts_are_asked_for_at_once(server: Server, scrape: Scraper) -> None:
    server.texts = dict.fromkeys(range(1, 701), INSERT)
    entries: list[Entry] = [(10, queryid, True, 1, 0.0, 1) for queryid in server.texts]
    scrape()
    first = scrape(*entries)
    assert (first[CALLS, *POINTS], first["mlflow_db_statements_pending",]) == (500, 200)
    assert scrape(*entries)[CALLS, *POINTS] == 700


def test_while_more_wait_than_are_read_at_once_the_rest_is_short(server: Server, scrape: Scraper) -> None:
    server.texts = dict.fromkeys(range(1, 1_201), INSERT)
    entries: list[Entry] = [(10, queryid, True, 1, 0.0, 1) for queryid in server.texts]
    server.asking = server.slow(0.05)
    scrape()
    for read in (500, 1_000, 1_200):
        assert scrape(*entries)[CALLS, *POINTS] == read
        server.now += 5.1


def test_a_slow_reading_of_texts_is_repeated_after_two_minutes(server: Server, scrape: Scraper) -> None:
    server.asking = server.slow(2.0)
    scrape()
    scrape(insert(2))
    server.now += 119.0
    assert scrape(insert(3), history(20))["mlflow_db_statements_pending",] == 1
    server.now += 2.0
    assert scrape(insert(3), history(20))["mlflow_db_statements_pending",] == 0


def test_the_text_of_a_statement_that_does_not_run_is_never_read(server: Server, scrape: Scraper) -> None:
    scrape(insert(5), history(7))
    assert scrape(insert(5), history(7))["mlflow_db_statements_pending",] == 0
    assert server.asked == []
    found = scrape(insert(6), history(7))
    assert (found[CALLS, *POINTS], server.asked) == (1, [[1]])


def test_what_is_pushed_out_before_its_text_is_read_counts_as_other(server: Server, scrape: Scraper) -> None:
    scrape()
    server.asking = server.slow(1.0)
    scrape(insert(1))
    scrape(insert(1), history(20))
    found = scrape(insert(1))
    assert found["mlflow_db_statements_pending",] == 0
    assert found["mlflow_db_statement_read_calls_total", "other", ""] == 20


def test_what_is_pushed_out_while_its_text_is_read_counts_as_other(server: Server, scrape: Scraper) -> None:
    scrape()
    del server.texts[2]
    assert scrape(history(20))["mlflow_db_statements_pending",] == 1
    assert scrape()["mlflow_db_statement_read_calls_total", "other", ""] == 20


def test_what_is_pushed_out_while_its_text_is_read_and_back_at_once_is_counted_once(
    server: Server, scrape: Scraper
) -> None:
    scrape()
    text = server.texts.pop(2)
    scrape(history(3))
    server.texts[2] = text
    for calls in (4, 5):
        found = scrape(history(calls))
    assert found["mlflow_db_statement_read_calls_total", "metric_history", "metrics"] == 5
    assert found["mlflow_db_statement_read_calls_total", "other", ""] == 0


def test_nothing_is_remembered_of_statements_no_longer_tracked(server: Server, scrape: Scraper) -> None:
    server.texts = dict.fromkeys(range(1, 10_000), HISTORY)
    for first in range(1, 5_000, 100):
        scrape(*((10, queryid, True, 1, 0.0, 0) for queryid in range(first, first + 100)))
    sizes = [len(value) for value in vars(scrape.collector.totals).values() if isinstance(value, dict)]
    assert max(sizes) <= 100
    assert scrape()["mlflow_db_statement_read_calls_total", "metric_history", "metrics"] == 4_900


def test_a_failure_to_read_texts_is_reported_until_they_are_read_and_loses_no_counts(
    server: Server, scrape: Scraper
) -> None:
    def fail() -> None:
        server.now += 2.0
        raise SourceError(Reason.TIMEOUT, "statement_texts: too slow")

    scrape()
    server.asking = fail
    for calls in (1, 2):
        with pytest.raises(SourceError, match="too slow"):
            scrape(insert(calls))
    assert len(server.asked) == 1
    server.now += 200.0
    server.asking = server.slow(0.0)
    assert scrape(insert(3))[CALLS, *POINTS] == 3


def test_a_failure_is_over_when_no_text_is_wanted_any_more(server: Server, scrape: Scraper) -> None:
    def fail() -> None:
        raise SourceError(Reason.TIMEOUT, "too slow")

    server.asking = fail
    scrape()
    with pytest.raises(SourceError):
        scrape(insert(1))
    assert scrape()["mlflow_db_statements_pending",] == 0


def test_a_server_on_which_everything_is_used_and_costs_stays_below_400_series(
    server: Server, scrape: Scraper
) -> None:
    corpus = [
        (line.split("\t")[3] == "top", line.split("\t")[4])
        for file in (Path(__file__).parents[1] / "golden/statements").glob("*.tsv")
        for line in file.read_text().splitlines()
        if not line.startswith("#")
    ]
    server.texts = {queryid: text for queryid, (_, text) in enumerate(corpus, start=1)}

    def ran(times: int) -> list[Entry]:
        return [
            (
                10,
                queryid,
                toplevel,
                times,
                times * 9.0,
                times,
                (times * 9.0, times * 1.0, 0.0, times * 50.0, times * 2.0),
            )
            for queryid, (toplevel, _) in enumerate(corpus, start=1)
        ]

    scrape()
    scrape(*ran(1))
    assert 300 < len(scrape(*ran(2))) <= 400


def test_with_statements_of_other_roles_hidden_those_seen_are_counted(scrape: Scraper) -> None:
    hidden: Entry = (99, None, True, 1_000, 1.0, 1)
    scrape(insert(1), hidden, hidden)
    found = scrape(insert(2), hidden, hidden)
    assert found["mlflow_db_statements_hidden",] == 2
    assert found[CALLS, *POINTS] == 1


def test_a_role_that_sees_no_statement_of_mlflow_is_told_its_grant(scrape: Scraper) -> None:
    with pytest.raises(SourceError) as raised:
        scrape((20, 3, True, 1, 0.0, 0), (10, None, True, 50, 1.0, 1))
    assert raised.value.reason is Reason.PERMISSION
    assert raised.value.remedy == MONITOR.format(role='"exporter"')


def test_a_grant_while_we_run_does_not_bring_old_counts(scrape: Scraper) -> None:
    with pytest.raises(SourceError):
        scrape((10, None, True, 1_000, 0.0, 0), (20, 3, True, 1, 0.0, 0))
    scrape(insert(1_000), (20, 3, True, 2, 0.0, 0))
    found = scrape(insert(1_005), (20, 3, True, 2, 0.0, 0))
    assert found[CALLS, *POINTS] == 5
    assert found["mlflow_db_statement_read_calls_total", "other", ""] == 1


def test_a_server_that_tracks_nothing_gives_no_zeros(server: Server, scrape: Scraper) -> None:
    server.settings["track"] = "none"
    with pytest.raises(SourceError) as raised:
        scrape()
    assert raised.value.reason is Reason.UNSUPPORTED
    assert raised.value.remedy.startswith("pg_stat_statements.track = 'top'")


def test_evictions_are_absent_where_the_server_has_no_such_count(server: Server, scrape: Scraper) -> None:
    assert ("mlflow_db_statements_evicted_total",) in scrape()
    server.settings["mlflow_db_statements_evicted_total"] = None
    assert ("mlflow_db_statements_evicted_total",) not in scrape()


SEARCH = "SELECT DISTINCT runs.run_uuid FROM runs WHERE runs.experiment_id = $1::VARCHAR"
READ, WRITE = "mlflow_db_statement_read", "mlflow_db_statement_write"


def test_costs_are_added_up_by_operation_in_base_units(server: Server, scrape: Scraper) -> None:
    server.texts[4] = "INSERT INTO latest_metrics (key) VALUES ($1)"
    scrape((10, 1, True, 1, 1.0, 1), (10, 4, True, 1, 1.0, 1))
    found = scrape(
        (10, 1, True, 2, 1.0, 1, (7.0, 2.0, 0.0, 300.0, 500.0)),
        (10, 4, True, 2, 1.0, 1, (3.0, 0.0, 0.0, 200.0, 0.0)),
    )
    assert found[f"{WRITE}_blocks_hit_total", "log_metrics"] == 10
    assert found[f"{WRITE}_blocks_read_total", "log_metrics"] == 2
    assert found[f"{WRITE}_wal_bytes_total", "log_metrics"] == 500
    assert found[f"{WRITE}_io_seconds_total", "log_metrics"] == 0.5
    assert found[f"{WRITE}_temp_blocks_total", "log_metrics"] == 0
    assert found[f"{READ}_blocks_hit_total", "log_metrics"] == 0


def test_costs_of_everyday_operations_start_at_zero_and_others_appear_when_they_have_some(
    scrape: Scraper,
) -> None:
    first = scrape((10, 3, True, 1, 1.0, 1))
    assert first[f"{READ}_temp_blocks_total", "search_runs"] == 0
    assert first[f"{READ}_blocks_read_total", "metric_history"] == 0
    assert first[f"{WRITE}_wal_bytes_total", "create_run"] == 0
    assert (f"{READ}_blocks_hit_total", "other") not in first
    found = scrape((10, 3, True, 2, 1.0, 1, (5.0, 0.0, 8.0, 0.0, 0.0)))
    assert found[f"{READ}_blocks_hit_total", "other"] == 5
    assert found[f"{READ}_temp_blocks_total", "other"] == 8
    assert (f"{READ}_blocks_read_total", "other") not in found


def test_an_io_time_that_is_not_taken_is_absent_and_not_zero(server: Server, scrape: Scraper) -> None:
    assert scrape()[f"{READ}_io_seconds_total", "search_runs"] == 0
    server.settings["io_timing"] = False
    assert not {name for name, *_ in scrape()} & {f"{READ}_io_seconds_total", f"{WRITE}_io_seconds_total"}


@pytest.mark.parametrize(("calls", "rows"), [(50, 50), (1, 50)], ids=["psycopg3", "psycopg2"])
def test_points_in_a_logging_call_are_the_same_with_either_driver(
    server: Server, scrape: Scraper, calls: int, rows: int
) -> None:
    server.texts[5] = "SELECT latest_metrics.key FROM latest_metrics WHERE latest_metrics.key IN ($1, $2)"
    server.texts[6] = server.texts[5].replace("key FROM", "key, latest_metrics.value FROM") + " FOR UPDATE"
    assert scrape()["mlflow_store_points_logged_total",] == 0
    found = scrape((10, 1, True, calls, 0.0, rows), (10, 5, True, 2, 0.0, 2), (10, 6, True, 2, 0.0, 2))
    assert found["mlflow_store_points_logged_total",] / found["mlflow_store_log_calls_total",] == 25


def test_params_in_a_logging_call_are_told_too(server: Server, scrape: Scraper) -> None:
    server.texts[5] = "INSERT INTO params (key, value, run_uuid) VALUES ($1, $2, $3), ($4, $5, $6)"
    server.texts[6] = "SELECT params.key AS params_key FROM params WHERE $1 = params.run_uuid"
    scrape()
    found = scrape((10, 5, True, 3, 0.0, 6), (10, 6, True, 3, 0.0, 0))
    assert found["mlflow_store_params_logged_total",] == 6
    assert found["mlflow_store_log_param_calls_total",] == 3


def drivers(found: dict[tuple[str, ...], float]) -> set[str]:
    return {labels[0] for name, *labels in found if name == "mlflow_db_driver_info"}


def test_the_driver_is_unknown_until_a_statement_runs_and_known_while_all_is_idle(
    server: Server, scrape: Scraper
) -> None:
    server.texts = {1: SEARCH}
    assert drivers(scrape((10, 1, True, 9, 1.0, 1))) == set()
    assert drivers(scrape((10, 1, True, 10, 1.0, 1))) == {"psycopg3"}
    server.now += 10_000
    assert drivers(scrape((10, 1, True, 10, 1.0, 1))) == {"psycopg3"}


def test_after_a_change_of_driver_both_are_told_for_a_quarter_of_an_hour(
    server: Server, scrape: Scraper
) -> None:
    server.texts = {1: SEARCH, 2: SEARCH.replace("::VARCHAR", "")}
    scrape()
    scrape((10, 1, True, 1, 1.0, 1))
    server.now += 600
    assert drivers(scrape((10, 1, True, 1, 1.0, 1), (10, 2, True, 1, 1.0, 1))) == {"psycopg2", "psycopg3"}
    server.now += 600
    assert drivers(scrape((10, 1, True, 1, 1.0, 1), (10, 2, True, 2, 1.0, 1))) == {"psycopg2"}


def slow(found: dict[tuple[str, ...], float], what: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(labels): value
        for (name, *labels), value in found.items()
        if name == f"mlflow_db_slow_statement_{what}"
    }


def test_a_slow_statement_is_shown_with_its_class_and_the_start_of_its_text(
    server: Server, scrape: Scraper
) -> None:
    server.texts = {-7: SEARCH + " AND x = 'Zq'"}
    scrape()
    scrape((10, -7, True, 1, 500.0, 1))
    found = scrape((10, -7, True, 3, 1_500.0, 1), (11, -7, True, 1, 1_000.0, 1))
    assert slow(found, "seconds_total") == {("-7",): 2.0}
    assert slow(found, "calls_total") == {("-7",): 3}
    text = "SELECT DISTINCT runs.run_uuid FROM runs WHERE runs.experiment_id = $1::VARCHAR AND x = ?"
    assert slow(found, "info") == {("-7", "search_runs", "runs", text): 1}


def test_texts_can_be_left_out(server: Server) -> None:
    scrape = Scraper(server, texts=False)
    server.texts = {-7: SEARCH}
    scrape()
    assert slow(scrape((10, -7, True, 1, 500.0, 1)), "info") == {("-7", "search_runs", "runs", ""): 1}


def test_no_single_statement_is_shown_where_none_is_wanted(server: Server) -> None:
    scrape = Scraper(server, slowest=0)
    scrape()
    assert not {name for name, *_ in scrape(insert(1, 500.0)) if "slow" in name}


def test_what_runs_inside_another_statement_and_what_is_ours_are_not_among_the_slowest(
    server: Server, scrape: Scraper
) -> None:
    server.texts[9] = "-- mlflow-exporter: texts\nselect 1"
    scrape()
    found = scrape((10, 2, False, 1, 900.0, 0), (10, 9, True, 1, 900.0, 0), insert(1, 50.0))
    assert {queryid for (queryid,) in slow(found, "calls_total")} == {"1"}


def test_a_slow_statement_that_is_pushed_out_vanishes_and_its_twin_inside_a_function_does_not_keep_it(
    scrape: Scraper,
) -> None:
    scrape()
    scrape(insert(1, 50.0), insert(1, 1.0, toplevel=False))
    found = scrape(insert(1, 1.0, toplevel=False))
    assert slow(found, "info") == {}
    assert slow(scrape(insert(9, 50.0), insert(1, 1.0, toplevel=False)), "calls_total") == {("1",): 0}


def test_statements_that_others_push_aside_in_the_servers_table_keep_their_counts(scrape: Scraper) -> None:
    scrape(insert(5), history(5))
    found = scrape(history(6), (10, 3, True, 1, 0.0, 0), insert(9))
    assert found[CALLS, *POINTS] == 4
    assert found["mlflow_db_statement_read_calls_total", "metric_history", "metrics"] == 1


def test_of_many_statements_those_that_moved_are_found_wherever_they_are(
    server: Server, scrape: Scraper
) -> None:
    server.texts = dict.fromkeys(range(1, 2_001), INSERT)
    entries: list[Entry] = [(10, queryid, True, 1, 0.0, 0) for queryid in server.texts]
    scrape(*entries)
    for number, place in enumerate((0, 1, 63, 64, 1_000, 1_998, 1_999), start=1):
        entries[place] = (10, place + 1, True, 2, 0.0, 0)
        assert scrape(*entries)[CALLS, *POINTS] == number
