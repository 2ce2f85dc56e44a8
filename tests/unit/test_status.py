"""The page for people, with names that others chose: they stay text."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.backend import backend_of
from exporter.collector import Reason, SourceError
from exporter.discovery import Found
from exporter.lane import Reading
from exporter.outcome import Outcome
from exporter.page import page
from exporter.plan import plan
from exporter.service import describe
from exporter.settings import load
from exporter.status import index

pytestmark = pytest.mark.unit

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</td></table><form action=//evil.example>",
    "&lt;b&gt;<!--",
    "{{7*7}}${7*7}<?php ?>",
    "]]><svg/onload=alert(1)>",
    "\x00\x1b]0;title\x07\u202e\u2028",
    "\udcff\udc80",
    "javascript:alert(1)",
)


class Seen(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""
        self.feed(html.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("!--", ()))

    def handle_decl(self, decl: str) -> None:
        self.tags.append((decl, ()))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("?", ()))

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(word: str) -> Seen:
    """Return the first page of a service all of whose names and messages hold that word."""
    error = SourceError(Reason.PERMISSION, f"detail {word}", f"remedy {word}")
    lanes = [
        (
            SimpleNamespace(source=SimpleNamespace(name=f"source {word}")),
            Reading(up, {f"{up} {word}": Outcome.failed(error)}),
        )
        for up in (True, False)
    ]
    backend = backend_of("postgresql://mlflow:secret@db:5432/tracking")
    assert backend is not None
    backend = replace(backend, user=f"user-Zq {word}", host=word, dbname=word)
    found = Found("127.0.0.1", 5000, static_prefix=f"/{word}", backend=backend, trusted=True)
    settings = load(None, {}, {"probes.database": "true"})
    service: Any = SimpleNamespace(
        scraper=SimpleNamespace(recent=lambda age, deadline: lanes, read_at=0.0),
        plan=plan(settings, found),
        load_failure=lambda: error,
        problems=(f"problem {word}",),
        reloads=SimpleNamespace(faulty=("settings file",)),
        server_as=lambda said: said(found),
        probes=[
            SimpleNamespace(
                name="database", attempted=True, error=SimpleNamespace(failure=word, detail=word, remedy=word)
            )
        ],
    )
    return Seen(page(f"title {word}", index(service)))


@pytest.mark.parametrize("word", HOSTILE, ids=ascii)
def test_a_hostile_name_is_text_on_the_page_and_nothing_else(word: str) -> None:
    assert shown(word).tags == shown("harmless").tags


def test_what_is_said_is_there_as_it_was_said() -> None:
    assert shown(HOSTILE[0]).text.count(HOSTILE[0]) > 10


def test_the_database_s_user_is_not_on_the_page() -> None:
    said = shown("harmless")
    assert "user-Zq" not in said.text
    assert "postgresql harmless:5432/harmless" in said.text


def test_the_database_s_user_is_in_the_log() -> None:
    found = Found("127.0.0.1", 5000, backend=backend_of("postgresql://mlflow:secret@db:5432/tracking"))
    assert describe(found).endswith("postgresql mlflow@db:5432/tracking")
