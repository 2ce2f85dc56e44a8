"""Matchers as `alertmanager.yml` has them: `name="value"` with one of four comparisons."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# The value is in quotes, always, and has none itself, nor a backslash that would mean something before it.
MATCHER = re.compile(r'(?P<name>\w+)\s*(?P<how>=~|!~|!=|=)\s*"(?P<value>[^"\\]*)"')


class Matcher(NamedTuple):
    name: str
    how: str
    value: str


def parsed(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Return each matcher taken apart; raises ValueError for one that is not written so."""
    return tuple(_parsed(text) for text in texts)


def _parsed(text: str) -> Matcher:
    found = MATCHER.fullmatch(text)
    if not found:
        raise ValueError(f'{text!r} in alertmanager.yml is no matcher as name="value"')
    return Matcher(found["name"], found["how"], found["value"])
