"""The repository's address and the version are the same wherever they are written."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from exporter import __version__
from exporter.pack import REPOSITORY, RUNBOOKS
from exporter.pack.formats import prometheus
from exporter.pack.site import Site

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]


def test_the_project_names_the_repository_that_the_rules_name() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"] == REPOSITORY


def test_each_link_into_the_repository_is_of_this_version() -> None:
    assert f"/v{__version__}/" in RUNBOOKS
    files = [
        *(ROOT / "alerts").rglob("*.*"),
        *(ROOT / "exporter/runbooks").glob("*.html"),
        ROOT / "README.md",
    ]
    links = {
        (file.relative_to(ROOT).as_posix(), link)
        for file in files
        if file.is_file()
        for link in re.findall(re.escape(REPOSITORY) + r"[^\s\"')>]*", file.read_text(encoding="utf-8"))
    }
    assert links
    assert not {link for link in links if "/blob/" in link[1] and f"/blob/v{__version__}/" not in link[1]}


def test_with_a_site_s_addresses_no_link_of_the_pack_leads_elsewhere() -> None:
    packed = prometheus(
        Site(runbook_url="http://exporter:10500/runbooks", grafana_url="https://grafana.example.org")
    )
    text = "\n".join(packed.values())
    assert REPOSITORY not in text
    links = re.findall(r"(?:runbook|dashboard)_url:\s*(\S+)", text)
    assert len(links) > 80
    assert not [
        one for one in links if not one.startswith(("http://exporter:10500/runbooks/", "https://grafana."))
    ]
