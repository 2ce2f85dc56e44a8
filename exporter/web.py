"""What is answered over HTTP: metrics and a few pages, to whoever may come in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.message import Message
from http import HTTPStatus
from typing import NamedTuple

from exporter.access import Access
from exporter.access.passwords import Verdict
from exporter.exhausted import Shortage, exhausted
from exporter.scrape import Scraper

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
# Tell nothing but that the process lives, to whoever starts it again: Docker and Kubernetes have no password.
OPEN = ("/-/healthy", "/-/ready")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
}

DEFAULT_SCRAPE_SECONDS = 10.0
# What the answer itself needs, on a busy machine and a slow link.
ANSWER_SECONDS = 0.5
# A connection lives for 30 s; a scrape that wants longer gets its answer in this time.
LONGEST_SCRAPE_SECONDS = 25.0
SHORTEST_SCRAPE_SECONDS = 0.5

Page = Callable[[], tuple[str, bytes]]  # content type, body


class Request(NamedTuple):
    """What is looked at of a request; no other part of it has a meaning here."""

    method: str
    path: str
    headers: Message
    address: str


class Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    kind: str = PLAIN
    headers: Mapping[str, str] = {}


def deadline_of(header: str | None, now: float) -> float:
    """Return by when to answer: Prometheus' own timeout less what the answer needs.

    A header that is missing, not a number or not positive means the default timeout.
    """
    try:
        seconds = float(header) if header else DEFAULT_SCRAPE_SECONDS
    except ValueError:
        seconds = DEFAULT_SCRAPE_SECONDS
    if not 0 < seconds < float("inf"):
        seconds = DEFAULT_SCRAPE_SECONDS
    # A reading is shared with others who scrape at the same time, and theirs must not end with ours at once.
    return now + min(
        max(seconds - ANSWER_SECONDS, seconds / 2, SHORTEST_SCRAPE_SECONDS), LONGEST_SCRAPE_SECONDS
    )


class App:
    """Answer requests: `/metrics` from the scraper, the other pages from `pages` by path."""

    def __init__(self, scraper: Scraper, pages: Mapping[str, Page], access: Access) -> None:
        self._scraper = scraper
        self._pages = pages
        self.access = access
        self._shortage = Shortage()

    def __call__(self, request: Request) -> Answer:
        """Return the answer, with all its headers but those of the connection; raises nothing but bugs."""
        try:
            return self.dressed(self._refusal(request) or self._answer(request))
        except Exception as error:
            ours = exhausted(error)
            if ours is None:
                raise
            self._shortage.refused(ours)
            told = f"{ours.detail}. {ours.remedy}\n".encode()
            return self.dressed(Answer(HTTPStatus.SERVICE_UNAVAILABLE, told))

    def dressed(self, answer: Answer) -> Answer:
        """Return the answer with the headers that all have, those of the web config file among them."""
        headers = {**HEADERS, **self.access.gate.headers, **answer.headers}
        return answer._replace(headers={name: value for name, value in headers.items() if value})

    def _refusal(self, request: Request) -> Answer | None:
        if request.method not in ("GET", "HEAD"):
            return Answer(
                HTTPStatus.METHOD_NOT_ALLOWED, b"GET and HEAD only\n", headers={"Allow": "GET, HEAD"}
            )
        if request.path in OPEN:
            return None
        gate = self.access.gate
        if gate.limit and not gate.limit.take():
            return Answer(HTTPStatus.TOO_MANY_REQUESTS, b"More requests than rate_limit allows\n")
        match gate.verdict(
            self.access.passwords, request.headers.get("Authorization") or "", request.address
        ):
            case Verdict.RIGHT:
                return None
            case Verdict.LATER:
                told = b"Too many wrong passwords: none is checked for a while\n"
                return Answer(HTTPStatus.TOO_MANY_REQUESTS, told, headers={"Retry-After": "5"})
        asked = {"WWW-Authenticate": 'Basic realm="mlflow-exporter", charset="UTF-8"'}
        return Answer(HTTPStatus.UNAUTHORIZED, b"User and password, please\n", headers=asked)

    def _answer(self, request: Request) -> Answer:
        if request.path == "/metrics":
            return self._metrics(request)
        if page := self._pages.get(request.path):
            kind, body = page()
            return Answer(HTTPStatus.OK, body, kind)
        return Answer(HTTPStatus.NOT_FOUND, b"Not found. See / for what is here.\n")

    def _metrics(self, request: Request) -> Answer:
        timeout = request.headers.get("X-Prometheus-Scrape-Timeout-Seconds")
        exposition = self._scraper.exposition(deadline_of(timeout, time.monotonic()))
        self._shortage.over()
        headers = {"Vary": "Accept-Encoding"}
        if "gzip" not in (request.headers.get("Accept-Encoding") or ""):
            return Answer(HTTPStatus.OK, exposition.text, CONTENT_TYPE, headers)
        return Answer(
            HTTPStatus.OK, exposition.gzipped, CONTENT_TYPE, {**headers, "Content-Encoding": "gzip"}
        )
