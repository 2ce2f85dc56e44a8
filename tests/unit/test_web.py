"""What the HTTP side answers, without a socket."""

from __future__ import annotations

import gzip
from email.message import Message
from pathlib import Path

import pytest

from exporter.access import Access
from exporter.scrape import Scraper
from exporter.web import PLAIN, Answer, App, Page, Request, deadline_of

pytestmark = pytest.mark.unit


def ask(
    path: str, method: str = "GET", pages: dict[str, Page] | None = None, web_config: str = "", **headers: str
) -> Answer:
    given = Message()
    for name, value in headers.items():
        given[name.replace("_", "-")] = value
    shown: dict[str, Page] = {"/-/healthy": lambda: (PLAIN, b"fine\n"), "/": lambda: (PLAIN, b"first\n")}
    app = App(Scraper(), shown | (pages or {}), Access(web_config))
    return app(Request(method, path, given, "127.0.0.1"))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("10", 9.5),
        ("1.2", 0.7),
        ("0.8", 0.5),  # no less, for others share the reading
        ("120", 25.0),
        (None, 9.5),
        ("", 9.5),
        ("soon", 9.5),
        ("-1", 9.5),
        ("0", 9.5),
        ("nan", 9.5),
        ("inf", 9.5),
    ],
)
def test_the_deadline_is_prometheus_timeout_less_what_the_answer_needs(
    header: str | None, seconds: float
) -> None:
    assert deadline_of(header, 100.0) == pytest.approx(100.0 + seconds)


def test_metrics_are_text_and_gzipped_only_where_asked_for() -> None:
    answer = ask("/metrics")
    assert answer.status == 200
    assert answer.kind.startswith("text/plain; version=0.0.4")
    assert b"mlflow_exporter_build_info{" in answer.body
    assert "Content-Encoding" not in answer.headers
    packed = ask("/metrics", accept_encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body).startswith(b"# HELP")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "\x00"])
def test_nothing_but_get_and_head_is_allowed(method: str) -> None:
    answer = ask("/metrics", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/runbooks/../etc/passwd", "//etc/passwd", "/metrics/", "http://h/metrics", "*", ""]
)
def test_an_unknown_page_is_not_found(path: str) -> None:
    assert ask(path).status == 404


@pytest.mark.parametrize("path", ["/metrics", "/", "/nowhere", "/-/healthy"])
def test_each_answer_forbids_a_browser_to_do_anything_with_it(path: str) -> None:
    headers = ask(path).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "deny"
    assert headers["Cache-Control"] == "no-store"


def test_headers_of_the_web_config_file_go_before_ours_and_a_blank_one_takes_one_away(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(
        "http_server_config:\n  headers: {X-Frame-Options: sameorigin, Content-Security-Policy: '',"
        " Strict-Transport-Security: max-age=60}\n"
    )
    headers = ask("/", web_config=str(file)).headers
    assert headers["X-Frame-Options"] == "sameorigin"
    assert headers["Strict-Transport-Security"] == "max-age=60"
    assert "Content-Security-Policy" not in headers


def test_more_requests_than_the_rate_limit_allows_are_refused_and_health_is_always_told(
    tmp_path: Path,
) -> None:
    file = tmp_path / "web.yml"
    file.write_text("rate_limit: {interval: 1h, burst: 2}\n")
    app = App(Scraper(), {"/-/healthy": lambda: (PLAIN, b"fine\n")}, Access(str(file)))

    def statuses(path: str) -> list[int]:
        return [app(Request("GET", path, Message(), "127.0.0.1")).status for _ in range(3)]

    assert statuses("/nowhere") == [404, 404, 429]
    assert statuses("/-/healthy") == [200, 200, 200]
