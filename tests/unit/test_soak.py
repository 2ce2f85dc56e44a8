"""The soak's verdict: it passes what is sound in spite of noise, and fails what grows, falls or stays away."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace
from typing import cast

import pytest

from tests.soak import verdict
from tests.soak.day import NIGHT, Event
from tests.soak.record import Fall, Held, Record, Scrape
from tests.soak.site import Site
from tests.soak.watching import Scraper

pytestmark = pytest.mark.unit

SECONDS = 120  # of three minutes what is left after the warm-up


def resident(
    leak: float, seconds: int = SECONDS, noise: float = 0.3, step: float = 0.0
) -> list[tuple[float, float]]:
    """Return a second's samples with so many KiB more in each, noise in MiB, and one step in the middle."""
    chance = random.Random(1)
    return [
        (at, 57 + leak * at / 1024 + noise * chance.random() + (step if at > seconds / 2 else 0))
        for at in map(float, range(seconds))
    ]


def test_the_slope_is_that_of_the_samples_whatever_their_outliers() -> None:
    points = [(float(at), 50 + at / 3600 + (40 if at % 17 == 0 else 0)) for at in range(600)]
    found = verdict.slope(points)
    assert found.value == pytest.approx(1.0, abs=0.01)
    assert found.low <= 1.0 <= found.high


def test_the_interval_of_noise_holds_zero() -> None:
    found = verdict.slope(resident(0))
    assert found.low < 0 < found.high


def test_too_few_samples_are_no_slope() -> None:
    with pytest.raises(ValueError, match="too few"):
        verdict.slope([(0.0, 1.0), (1.0, 2.0)])


@pytest.mark.parametrize("step", [0.0, 2.0, -2.0])
def test_noise_and_a_step_of_an_allocator_pass(step: float) -> None:
    assert verdict.memory(resident(0, step=step), SECONDS, warm=60).passed


@pytest.mark.parametrize(("leak", "seconds", "warm"), [(40, SECONDS, 60), (0.5, 2700, 900)])
def test_a_loss_at_each_scrape_fails_a_small_one_in_a_long_run(
    leak: float, seconds: int, warm: float
) -> None:
    found = verdict.memory(resident(leak, seconds), seconds, warm)
    assert not found.passed
    (told,) = re.findall(r"([+-][\d.]+) MiB per 1,000 scrapes", found.found)
    assert float(told) == pytest.approx(leak * 1000 / 1024, rel=0.01)


def test_a_count_that_rests_higher_than_it_did_fails() -> None:
    assert verdict.flat("fds", [7, 6], [6, 8], [7, 9], [8, 9]).passed
    assert not verdict.flat("fds", [7, 6], [7, 8], [7, 9], [8, 9]).passed


def test_a_peak_beyond_what_may_happen_at_once_fails() -> None:
    assert not verdict.flat("threads", [6], [6], [7, 9], [6, 16]).passed


def test_what_must_not_happen_is_told_by_example() -> None:
    assert verdict.none("late", "of 2", []).passed
    found = verdict.none("late", "of 2", ["after 3 s"])
    assert not found.passed
    assert "after 3 s" in verdict.table([found])


@pytest.mark.parametrize(
    ("errors", "evictions", "passed"),
    [
        ({"unreachable": 9}, 3, True),
        ({"unreachable": 9}, 0, False),
        ({}, 3, False),
        ({"unreachable": 9, "bug": 1}, 3, False),
    ],
)
def test_days_without_disturbance_and_bugs_fail(errors: dict[str, int], evictions: int, passed: bool) -> None:
    assert verdict.made(errors, evictions).passed is passed


def test_only_an_event_that_says_so_may_set_counters_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 12.0, 20.0, 22.0])
    monkeypatch.setattr("tests.soak.record.time.monotonic", lambda: next(times))
    record = Record()
    for name, resets in (("killed", ("mlflow_db_",)), ("restarted", ())):
        with record.of(Event(name, lambda: None, resets)):
            pass
    record.falls = [
        Fall(9.0, 11.0, "mlflow_db_commits_total{} 9 -> 0"),
        Fall(9.0, 30.0, "mlflow_db_deadlocks_total{} 9 -> 1"),  # absent meanwhile
        Fall(17.0, 18.0, "mlflow_db_commits_total{} 9 -> 2"),
        Fall(9.0, 11.0, "mlflow_server_cpu_seconds_total{} 9 -> 3"),
        Fall(20.0, 21.0, "mlflow_db_commits_total{} 9 -> 4"),
    ]
    assert [what[-1] for what in record.undeclared(settled=2.0)] == ["2", "3", "4"]


def test_nights_are_told_apart() -> None:
    record = Record(
        held=[Held(at, during, 1, 1, 1, 1, 1) for at, during in enumerate(["", NIGHT, NIGHT, "", NIGHT])]
    )
    assert [len(night) for night in record.nights()] == [2, 1]


@pytest.mark.parametrize(
    ("name", "values", "another", "falls"),
    [
        ("mlflow_db_statement_read_calls_total", (7, 0), True, 1),
        ("mlflow_db_slow_statement_calls_total", (7, 0), True, 0),
        ("mlflow_db_slow_statement_calls_total", (7, 0), False, 1),
        ("mlflow_db_slow_statement_calls_total", (7, 3), True, 1),
        ("mlflow_db_slow_statement_calls_total", (3, 7), True, 0),
    ],
)
def test_a_counter_falls_but_where_its_statement_comes_back_behind_another_scrape(
    name: str, values: tuple[int, int], another: bool, falls: int
) -> None:
    record = Record()
    record.scrapes += [Scrape(0.5, "", 0.1, 1, "")] if another else []
    site = cast(Site, SimpleNamespace(exporter=SimpleNamespace(url="")))
    scraper = Scraper(site, record, curious=True)
    for at, value in enumerate(values):
        scraper._look(at, at + 0.1, f"# TYPE {name} counter\n{name} {value}\n")
    assert len(record.falls) == falls
