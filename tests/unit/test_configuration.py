"""Which values the memory, cores and size of a database recommend."""

from __future__ import annotations

import pytest

from exporter.collectors.configuration import GIB, MIB, recommended

pytestmark = pytest.mark.unit


def test_nothing_is_recommended_where_memory_is_unknown() -> None:
    assert recommended(None, 4, GIB) == {}


def test_work_mem_is_left_out_where_the_cores_are_unknown() -> None:
    assert set(recommended(16 * GIB, None, GIB)) == {"shared_buffers", "effective_cache_size", "max_wal_size"}


def test_a_large_database_gets_a_quarter_of_memory_as_buffers_and_half_as_cache() -> None:
    ranges = recommended(16 * GIB, 4, 500 * GIB)
    assert ranges["shared_buffers"] == (4 * GIB, 0.4 * 16 * GIB)
    assert ranges["effective_cache_size"] == (8 * GIB, 12 * GIB)
    assert ranges["max_wal_size"] == (8 * GIB, None)
    assert ranges["work_mem"] == (64 * MIB, 256 * MIB)


def test_a_size_that_is_not_known_counts_as_large() -> None:
    assert recommended(16 * GIB, 4, None) == recommended(16 * GIB, 4, 500 * GIB)


def test_a_small_database_is_content_with_the_defaults_on_any_machine() -> None:
    defaults = {
        "shared_buffers": 128 * MIB,
        "effective_cache_size": 4 * GIB,
        "max_wal_size": GIB,
        "work_mem": 4 * MIB,
    }
    ranges = recommended(16 * GIB, 64, 50 * MIB)
    for name in ("shared_buffers", "effective_cache_size", "max_wal_size"):
        low, high = ranges[name]
        assert low <= defaults[name] <= (high or defaults[name])


def test_the_default_cache_size_is_too_much_for_a_machine_of_two_gigabytes() -> None:
    _, high = recommended(2 * GIB, 2, 500 * GIB)["effective_cache_size"]
    assert high is not None and high < 4 * GIB


@pytest.mark.parametrize("memory", [256 * MIB, GIB, 16 * GIB, 2048 * GIB])
@pytest.mark.parametrize("cores", [0.5, 2, 128])
@pytest.mark.parametrize("size", [0, GIB, 4096 * GIB])
def test_the_least_value_is_never_above_the_greatest_and_all_sorts_fit_into_memory(
    memory: int, cores: float, size: int
) -> None:
    ranges = recommended(memory, cores, size)
    assert all(low <= high for low, high in ranges.values() if high is not None)
    assert ranges["max_wal_size"][0] <= 16 * GIB
    assert ranges["work_mem"][0] * max(16, 4 * cores) <= max(memory / 4, 4 * MIB * max(16, 4 * cores))
