"""What of a statement's text may be shown, and whose text it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.statements import classify
from exporter.statements.texts import SHOWN, driver, shown

pytestmark = pytest.mark.unit

CORPUS = sorted((Path(__file__).parents[1] / "golden/statements").glob("*.tsv"))


def texts(file: Path) -> list[tuple[str, bool]]:
    lines = [line.split("\t") for line in file.read_text().splitlines() if not line.startswith("#")]
    return [(text, level == "top") for _, _, _, level, text in lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "SELECT runs.a  \n FROM runs\tWHERE x = $1 LIMIT $2",
            "SELECT runs.a FROM runs WHERE x = $1 LIMIT $2",
        ),
        ("SELECT 'Zq1', E'Zq2', U&'Zq3', x'Zq4', 'it''s Zq5', ''", "SELECT ?, ?, ?, ?, ?, ?"),
        ("COPY t FROM 'Zq'", "COPY t FROM ?"),
        ("CREATE USER u PASSWORD 'Zq", "CREATE USER u PASSWORD ?"),
        ("SELECT 17, 1.5e9, .5, 0x1F, 1_000 FROM t1 AS anon_1", "SELECT ?, ?, ?, ?, ? FROM t1 AS anon_1"),
        ("/* user='Zq' */ SELECT $1 -- Zq\n FROM t", "SELECT $1 FROM t"),
        ('SELECT "a 1" FROM "b""2 \'" WHERE c = \'Zq\'', 'SELECT "a 1" FROM "b""2 \'" WHERE c = ?'),
        # From here on it cannot be told what is a literal.
        ("SELECT E'a\\' Zq', 5", "SELECT"),
        ("SELECT 'C:\\', ' Zq '", "SELECT"),
        ("DO $$ Zq $$", "DO"),
        ("DO $body$ Zq $body$", "DO"),
        ("SELECT 1 /* a /* b */ Zq */", "SELECT ?"),
        ("", ""),
    ],
)
def test_literals_and_comments_are_not_shown(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize("length", range(1, 420, 7))
def test_a_text_that_is_cut_anywhere_shows_nothing_of_a_literal(length: int) -> None:
    for literal in ("'Zq" + "Zq" * 300 + "'", "/*Zq" + "Zq" * 300 + "*/", "$$Zq" + "Zq" * 300 + "$$"):
        assert "Z" not in shown(f"SELECT {'a' * length}, {literal}")


def test_a_long_text_is_cut_at_120_characters_and_says_so() -> None:
    text = shown(f"SELECT {'column, ' * 100} FROM t")
    assert (len(text), text[-1]) == (SHOWN, "…") == (120, "…")
    assert shown("x" * 120) == "x" * 120


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_texts_of_a_real_server_show_their_driver_and_none_another(file: Path) -> None:
    found = [driver(text, classify(text, toplevel)) for text, toplevel in texts(file)]
    assert set(found) == {"", file.stem.rpartition("_")[2]}
    assert sum(map(bool, found)) > 20


def test_what_people_type_shows_no_driver() -> None:
    for text in ("select * from runs where run_uuid = $1", "SELECT a FROM t WHERE a = $1::VARCHAR", "COMMIT"):
        assert driver(text, classify(text)) == ""
