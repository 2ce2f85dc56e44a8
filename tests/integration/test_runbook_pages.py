"""The runbooks as an exporter serves them."""

from __future__ import annotations

import re

import pytest

from tests.lab.servers import Exporter

pytestmark = pytest.mark.integration


def test_whoever_opens_the_exporter_finds_each_alert_s_runbook() -> None:
    with Exporter() as exporter:
        assert 'href="/runbooks/"' in exporter.get("/").text
        index = exporter.get("/runbooks/").text
        links = set(re.findall(r'href="(/runbooks/[\w-]+)#(\w+)"', index))
        assert len(links) > 40
        for path, anchor in links:
            page = exporter.get(path)
            assert page.headers["Content-Type"] == "text/html; charset=utf-8"
            assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert f'id="{anchor}"' in page.text
