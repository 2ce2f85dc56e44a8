"""Statements of MLflow and of anybody, whole, cut and changed: each has one of the declared classes, at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import strategies as st

from exporter.statements import OPERATIONS, TABLES, classify
from exporter.statements.texts import SHOWN, driver, shown
from tests.fuzz.cases import holds
from tests.fuzz.inputs import anything, joined, mutated

pytestmark = pytest.mark.fuzz

GOLDEN = Path(__file__).parents[1] / "golden/statements"
# Those of MLflow 2 and 3 under both drivers, as real servers issued them.
TEXTS = tuple(
    line.split("\t")[4]
    for file in sorted(GOLDEN.glob("*.tsv"))
    for line in file.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)
PARTS = (
    *(
        "SELECT",
        "DISTINCT",
        "FROM",
        "WHERE",
        "INSERT INTO",
        "UPDATE",
        "DELETE FROM",
        "JOIN",
        "ONLY",
        "FOR UPDATE",
    ),
    *(
        "runs",
        "metrics.",
        "latest_metrics.key",
        "params",
        "tags.run_uuid",
        "experiments",
        "IN (",
        "= ",
        "OFFSET ",
    ),
    *(
        "'",
        "''",
        "E'",
        "\\",
        '"',
        "$1",
        "$$",
        "$a$",
        "--",
        "/*",
        "*/",
        "/",
        "*",
        ";",
        "\n",
        " ",
        "\t",
        "U&'",
        "1.5e3",
    ),
    *(
        "mlflow-exporter",
        "mlflow_db_x",
        "set_config(",
        "OPERATOR(pg_catalog.",
        "AS anon_1 FROM",
        "COMMIT",
        "::VARCHAR",
    ),
)
sql = st.one_of(mutated(TEXTS, PARTS), joined(PARTS, 60), anything)


@holds(share=4, text=sql, toplevel=st.booleans())
def test_any_text_has_one_of_the_declared_classes(text: str, toplevel: bool) -> None:
    found = classify(text, toplevel)
    assert found.operation in OPERATIONS
    assert found.table in TABLES | {"other", ""}
    assert isinstance(found.writes, bool)
    assert driver(text, found) in ("", "psycopg2", "psycopg3")


@holds(share=2, text=sql)
def test_what_is_shown_of_any_text_is_one_short_line(text: str) -> None:
    line = shown(text)
    assert len(line) <= SHOWN
    assert len(line.splitlines()) <= 1


SECRET = "Zq7"
LITERALS = (
    *("'{}'", "E'{}'", "'a''{}'", "'{}", "$q${}$q$", "$${}$$", "/*{}*/", "--{}\n", "N'\\'{}'", "U&'{}'"),
    *("/*/**/{}*/", "'\\''{}'", "$é${}$é$", "b'{}'"),
)


@holds(
    share=2,
    text=st.sampled_from(TEXTS),
    at=st.integers(0, 300),
    literal=st.sampled_from(LITERALS),
)
def test_no_literal_or_comment_of_a_statement_is_shown(text: str, at: int, literal: str) -> None:
    at = text.rfind(" ", 0, at) + 1  # between words, as a literal is
    if text[:at].count("'") % 2 or text[:at].count('"') % 2:
        return
    assert SECRET not in shown(f"{text[:at]} {literal.format(SECRET)} {text[at:]}")


@holds(
    share=0.1, unit=joined(PARTS, 4), before=st.sampled_from(("", "SELECT ", "SELECT * FROM ", *TEXTS[:5]))
)
def test_a_text_sixteen_times_as_long_takes_no_more_than_that_much_longer(unit: str, before: str) -> None:
    repeated = before + unit * (1_000_000 // max(len(unit), 1) if unit else 0)
    short, long = (_seconds(repeated[:size]) for size in (1 << 16, 1 << 20))
    assert long < 64 * max(short, 0.002)  # quadratic would be 256 times


def _seconds(text: str) -> float:
    started = time.thread_time()
    found = classify(text)
    driver(text, found)
    shown(text)
    return time.thread_time() - started
