"""The arithmetic of tests/bench/: what is measured there is only as right as this."""

from __future__ import annotations

import time
from xml.etree import ElementTree

import pytest

from tests.bench import picture
from tests.bench.curves import Curve, Point
from tests.bench.link import FIRST_WINDOW, Window
from tests.bench.meter import Scrape, Work, cpu_seconds
from tests.bench.report import CPU, together
from tests.bench.results import demand

pytestmark = pytest.mark.unit

ROUND_TRIP = 0.1


def scrape(cpu: float) -> Scrape:
    return Scrape(0.1, cpu, 0, 0, 0, 0, Work())


def test_a_small_answer_needs_half_a_round_trip() -> None:
    assert Window(ROUND_TRIP).arrival(5.0, FIRST_WINDOW) == pytest.approx(5.05)


def test_a_large_answer_needs_a_round_trip_more_each_time_the_window_doubles() -> None:
    for windows, waits in ((1, 0), (2, 1), (3, 1), (7, 2), (8, 3)):
        arrives = Window(ROUND_TRIP).arrival(0.0, windows * FIRST_WINDOW)
        assert arrives == pytest.approx((waits + 0.5) * ROUND_TRIP), windows


def test_a_window_that_has_grown_is_small_again_after_a_rest() -> None:
    window = Window(ROUND_TRIP)
    first = window.arrival(0.0, 7 * FIRST_WINDOW)
    assert window.arrival(first + 0.1, 7 * FIRST_WINDOW) == pytest.approx(first + 0.15)
    assert window.arrival(10.0, 7 * FIRST_WINDOW) == pytest.approx(10.25)


def test_what_is_sent_later_never_arrives_earlier() -> None:
    window = Window(ROUND_TRIP)
    arrivals = [window.arrival(0.001 * number, size) for number, size in enumerate((200_000, 10, 50_000, 1))]
    assert arrivals == sorted(arrivals)


def test_the_cpu_time_of_a_process_is_what_it_says_itself() -> None:
    with_pid = cpu_seconds(0)  # our own
    while time.process_time() < with_pid + 0.02:
        pass
    assert 0.02 <= cpu_seconds(0) - with_pid < 0.2


def test_peers_are_added_up_round_by_round() -> None:
    peers = [[scrape(1.0), scrape(2.0)], [scrape(10.0), scrape(5.0)]]
    assert together(peers, CPU.of) == [11.0, 7.0]


def test_growth_is_that_of_the_cost_that_grows_most() -> None:
    curve = Curve("rows", (1, 2, 3), {"us": [Point(1.0, 1.0), Point(9.0, 9.0), Point(1.1, 1.5)]})
    assert curve.growth("us") == 1.5


def test_a_demand_that_is_missed_says_by_how_much() -> None:
    assert demand("memory", 50, 75, str)[-1] == "**missed: 1.50 times**"
    assert demand("memory", 50, 50, str)[-1] == "reached"
    assert demand("sessions", 0, 1, str)[-1] == "**missed**"


def test_the_picture_has_a_line_for_each_exporter_and_cost() -> None:
    curve = Curve("rows", (1, 2))
    for name in ("us", "postgres_exporter"):
        curve.lines[name] = [Point(0.05, 0.02), Point(0.06, 0.03)]
    drawn = ElementTree.fromstring(picture.svg([curve]))
    assert len(drawn.findall("{*}polyline")) == 4
