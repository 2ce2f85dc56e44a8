"""Which statements are shown one by one, how long, and what their counters look like to Prometheus."""

from __future__ import annotations

import pytest

from exporter.plan import plan
from exporter.settings import load
from exporter.statements import Statement
from exporter.statements.sticky import ROUND_SECONDS, SlowStatements

pytestmark = pytest.mark.unit

SEARCH = Statement("search_runs", "runs", False)


class Server:
    """Scrapes every 15 s; what is given ran since the scrape before."""

    def __init__(self, limit: int) -> None:
        self.slow = SlowStatements(limit)
        self.now = 1_000.0
        self.described: list[int] = []

    def scrape(self, spent: dict[int, float]) -> dict[int, float]:
        for queryid, milliseconds in spent.items():
            self.slow.add(queryid, 1, milliseconds)
        self.slow.choose(self.now, self.describe)
        self.now += 15.0
        return {queryid: slow.milliseconds for queryid, slow in self.slow}

    def describe(self, queryid: int) -> tuple[Statement, str]:
        self.described.append(queryid)
        return SEARCH, f"SELECT {queryid}"

    def pass_round(self, spent: dict[int, float]) -> dict[int, float]:
        """Scrape to the end of the round and once more."""
        found = self.scrape(spent)
        for _ in range(int(ROUND_SECONDS / 15.0)):
            found = self.scrape(spent)
        return found


def test_those_with_most_time_are_shown_and_count_from_zero() -> None:
    server = Server(2)
    assert server.scrape({1: 5.0, 2: 50.0, 3: 20.0}) == {2: 0.0, 3: 0.0}
    assert server.scrape({1: 5.0, 2: 7.0}) == {2: 7.0, 3: 0.0}
    assert [(slow.calls, slow.text) for _, slow in server.slow] == [(1, "SELECT 2"), (0, "SELECT 3")]


def test_a_free_place_goes_at_once_to_what_takes_a_tenth_of_all_time() -> None:
    server = Server(3)
    assert server.scrape({1: 100.0, 2: 5.0}).keys() == {1}
    assert server.scrape({1: 100.0, 2: 5.0, 3: 25.0}).keys() == {1, 3}


def test_what_takes_less_than_a_hundredth_of_all_time_is_not_shown() -> None:
    assert Server(10).pass_round({1: 1_000.0, 2: 9.0, 3: 11.0}).keys() == {1, 3}


def test_within_a_round_nobody_is_pushed_out() -> None:
    server = Server(1)
    server.scrape({1: 10.0})
    for _ in range(18):
        assert server.scrape({1: 1.0, 2: 1_000.0}).keys() == {1}


def test_one_that_is_still_among_the_first_twice_as_many_stays() -> None:
    server = Server(2)
    server.scrape({1: 20.0, 2: 19.0})
    assert server.pass_round({1: 20.0, 2: 10.0, 3: 30.0, 4: 15.0}).keys() == {1, 2}
    assert server.pass_round({1: 20.0, 2: 1.0, 3: 30.0, 4: 15.0, 5: 5.0}).keys() == {1, 3}


def test_places_change_seldom_under_a_load_that_changes_all_the_time() -> None:
    server = Server(10)
    for number in range(400):
        server.scrape({(number * 7 + place) % 100: 10.0 + place for place in range(20)})
    assert len(server.described) <= 10 * 21


def test_an_idle_statement_leaves_and_is_back_with_its_counters_at_zero() -> None:
    server = Server(1)
    assert server.pass_round({1: 40.0})[1] > 0
    for _ in range(2):
        found = server.pass_round({2: 1.0})
    assert found.keys() == {2}
    for _ in range(2):
        found = server.pass_round({1: 40.0})
    assert found.keys() == {1}
    assert server.described == [1, 2, 1]
    assert found[1] < 40.0 * 42


def test_what_the_server_no_longer_tracks_is_gone_and_forgotten() -> None:
    server = Server(2)
    server.scrape({1: 10.0, 2: 10.0, 3: 10.0})
    server.slow.keep({2})
    assert [queryid for queryid, _ in server.slow] == [2]
    assert server.scrape({}).keys() == {2}


def test_none_is_shown_where_none_is_wanted() -> None:
    server = Server(0)
    assert server.scrape({1: 10.0}) == {}
    assert server.pass_round({1: 10.0}) == {}


def test_other_settings_of_statements_are_another_part_and_those_of_probes_are_not() -> None:
    def lanes(**environ: str) -> object:
        values = {"DATABASE_DSN": "postgresql://m@db/m", **environ}
        return plan(
            load(None, {f"MLFLOW_EXPORTER_{key}": value for key, value in values.items()}, {}), None
        ).lanes

    assert lanes(STATEMENTS_SLOWEST="3") != lanes()
    assert lanes(STATEMENTS_TEXTS="false") != lanes()
    assert lanes(PROBES_INTERVAL="30") == lanes()
    assert lanes(STATEMENTS_SLOWEST="3", COLLECTORS="database") == lanes(COLLECTORS="database")
