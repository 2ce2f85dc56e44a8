"""Matchers of Alertmanager taken apart, and refused aloud where they are not written as ours are."""

from __future__ import annotations

import pytest

from exporter.pack.matchers import parsed

pytestmark = pytest.mark.unit


def test_each_comparison_is_told_apart_and_white_space_means_nothing() -> None:
    assert parsed(['a="x"', 'b=~"x|y"', 'c!="z"', 'd !~ ""']) == (
        ("a", "=", "x"),
        ("b", "=~", "x|y"),
        ("c", "!=", "z"),
        ("d", "!~", ""),
    )


@pytest.mark.parametrize("text", ["a=x", 'a="x', 'a="x", b="y"', 'a=="x"', r'a="\\"', ""])
def test_what_is_no_matcher_is_named_and_not_left_out(text: str) -> None:
    with pytest.raises(ValueError, match="is no matcher") as error:
        parsed(['a="x"', text])
    assert repr(text) in str(error.value)
