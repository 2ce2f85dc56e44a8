"""What the HTTP side answers, without a socket."""

from __future__ import annotations

import gzip
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from exporter.scrape import Scraper
from exporter.web import App, deadline_of

pytestmark = pytest.mark.unit


def ask(path: str, method: str = "GET", **headers: str) -> tuple[str, dict[str, str], bytes]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    said: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        said.extend((status, dict(headers)))

    app = App(Scraper(), {"/-/healthy": lambda: ("200 OK", "text/plain", b"fine\n")})
    body = b"".join(app(environ, start))
    return said[0], said[1], body


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
    status, headers, plain = ask("/metrics")
    assert status == "200 OK"
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"mlflow_exporter_build_info{" in plain
    assert "Content-Encoding" not in headers
    _, headers, packed = ask("/metrics", accept_encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed).startswith(b"# HELP")


def test_head_has_the_length_and_no_body() -> None:
    status, headers, body = ask("/-/healthy", "HEAD")
    assert (status, headers["Content-Length"], body) == ("200 OK", "5", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_get_and_head_is_allowed(method: str) -> None:
    status, headers, _ = ask("/metrics", method)
    assert status.startswith("405")
    assert headers["Allow"] == "GET, HEAD"


def test_an_unknown_page_is_not_found() -> None:
    assert ask("/runbooks/../etc/passwd")[0].startswith("404")
