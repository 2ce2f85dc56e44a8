"""Counts the cases of each property, and writes the table of them where all were tried by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.fuzz import cases

TABLE = Path(__file__).parents[1] / "FUZZ.md"
HEAD = """# What was tried

By `make fuzz`: random inputs for what must hold for any. Each case had to end within {limit:g} s. A sample of each
property's cases was then tried again and again, until a round left no memory, descriptor or thread behind. `mended`
counts the inputs for which it once did not hold: they are tried each time. A check of a commit tries fewer cases,
always the same ones.

| property | cases | mended |
| --- | ---: | ---: |
"""


@pytest.fixture(autouse=True)
def counted(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Hand on how many cases a test tried, from whichever process ran it."""
    tried, mended = cases.tried, cases.mended
    yield
    record_property("cases", cases.tried - tried)
    record_property("mended", cases.mended - mended)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = {one.nodeid for one in terminalreporter.getreports("failed")}
    rows = {}
    for one in itertools.chain(*terminalreporter.stats.values()):
        counts = dict(getattr(one, "user_properties", ()))
        if counts.get("cases"):  # of the teardown
            rows[one.nodeid] = (counts["cases"], counts["mended"])
    if not rows:
        return
    for name, (tried, _) in sorted(rows.items()):
        result = "FAILED " if name in failed else ""
        terminalreporter.write_line(f"{tried:8,} {result}{name.partition('fuzz/')[2]}")
    terminalreporter.write_line(f"{sum(row[0] for row in rows.values()):8,} cases of {len(rows)} properties")
    if cases.FULL and not failed:
        TABLE.write_text(table(rows), encoding="utf-8")


def table(rows: Mapping[str, tuple[int, int]]) -> str:
    """Return the Markdown of the table."""
    lines = []
    for name, (tried, mended) in sorted(rows.items()):
        file, _, test = name.partition("::")
        area = Path(file).stem.removeprefix("test_")
        lines.append(
            f"| {area}: {test.removeprefix('test_').replace('_', ' ')} | {tried:,} | {mended or ''} |\n"
        )
    total = f"| **all** | **{sum(row[0] for row in rows.values()):,}** | **{sum(row[1] for row in rows.values())}** |\n"
    return HEAD.format(limit=cases.CASE_SECONDS) + "".join(lines) + total
