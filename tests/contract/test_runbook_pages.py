"""The exporter's pages are those of the runbooks, and all their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.causes import CAUSES
from exporter.page import HTML
from exporter.runbooks import build, pages

pytestmark = pytest.mark.contract


def committed() -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in build.TARGET.glob("*.html")}


def test_pages_are_what_the_runbooks_make() -> None:
    assert committed() == build.rendered(), "run `python -m exporter.runbooks.build`"


def test_every_cause_has_a_page() -> None:
    assert committed().keys() == {f"{cause.slug}.html" for cause in CAUSES} | {"index.html"}
    for path, answer in pages().items():
        assert answer()[0] == HTML, path


def test_links_between_pages_lead_to_a_heading_that_is_there() -> None:
    served = {Path(name).stem: text for name, text in committed().items()}
    dead = []
    for slug, text in served.items():
        for href in re.findall(r'href="([^"]+)"', text):
            path, _, anchor = href.removeprefix("/runbooks/").partition("#")
            if "://" in path:
                continue
            there = served.get(path or slug)
            if there is None or (anchor and f'id="{anchor}"' not in there):
                dead.append(f"{slug}: {href}")
    assert not dead
