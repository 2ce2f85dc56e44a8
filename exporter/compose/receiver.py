"""A webhook receiver for Alertmanager that shows what people would be notified of: a page, and a line in its log each.

Run by docker-compose.yml, for as long as alerts/alertmanager.yml names no pager and no chat. It keeps the last ones in
memory alone.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
KEPT = 200
LARGEST = 1 << 20  # bytes; Alertmanager's message of fifty alerts has a tenth of it
TEXTS = ("description", "diagnosis", "fix")
LINKS = ("runbook_url", "dashboard_url")

PAGE = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="10"><title>Notifications</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
article{{border-left:.4rem solid #888;padding:0 1rem;margin:1.5rem 0}}
.critical{{border-color:#c4162a}}.warning{{border-color:#e0a500}}.resolved{{border-color:#37872d}}
dt{{font-weight:bold}}dd{{margin:0 0 .5rem;white-space:pre-line}}</style>
<h1>Notifications</h1>{}"""


@dataclass(frozen=True)
class Alert:
    """One alert of one notification."""

    at: datetime
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def line(self) -> str:
        state = self.labels.get("severity", "").upper() if self.firing else "RESOLVED"
        server, summary = self.labels.get("tracking_server", ""), self.annotations.get("summary", "")
        return f"{self.at:%F %T}Z {state} {self.labels.get('alertname', '')} {server}: {summary}"

    def html(self) -> str:
        look = self.labels.get("severity", "") if self.firing else "resolved"
        shown = TEXTS if self.firing else ()
        texts = "".join(
            f"<dt>{name}</dt><dd>{escape(self.annotations[name])}</dd>"
            for name in shown
            if name in self.annotations
        )
        links = " · ".join(
            f'<a href="{escape(link)}">{name.removesuffix("_url")}</a>'
            for name in LINKS
            if (link := self.annotations.get(name, "")).startswith(("http://", "https://"))
        )
        return (
            f'<article class="{escape(look)}"><h2>{escape(self.line())}</h2><dl>{texts}</dl>{links}</article>'
        )


class Notifications:
    """The last alerts that were delivered, newest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alerts: deque[Alert] = deque(maxlen=KEPT)

    def take(self, message: Mapping[str, list[Mapping[str, object]]]) -> list[Alert]:
        """Keep the alerts of one notification, as Alertmanager's webhook sends it, and return them."""
        now = datetime.now(UTC)
        taken = [
            Alert(now, one["status"] == "firing", _texts(one["labels"]), _texts(one["annotations"]))
            for one in message["alerts"]
        ]
        with self._lock:
            self._alerts.extendleft(taken)
        return taken

    def page(self) -> bytes:
        with self._lock:
            shown = list(self._alerts)
        body = "".join(one.html() for one in shown) or "<p>Nobody has been notified of anything yet.</p>"
        return PAGE.format(body).encode()


def _texts(found: object) -> Mapping[str, str]:
    if not isinstance(found, dict):
        raise TypeError("not a mapping")
    return {str(name): str(text) for name, text in found.items()}


def server(port: int = PORT, host: str = "") -> ThreadingHTTPServer:
    """Return a server that listens already; `GET /` is the page, `POST` takes a notification."""
    notifications = Notifications()

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            self._answer(200, notifications.page())

        def do_POST(self) -> None:
            try:
                length = int(self.headers["Content-Length"] or 0)
                taken = notifications.take(json.loads(self.rfile.read(min(length, LARGEST))))
            except (ValueError, KeyError, TypeError):
                self._answer(400, b"not a notification of Alertmanager's webhook\n")
                return
            for one in taken:
                sys.stdout.write(one.line() + "\n")
            sys.stdout.flush()
            self._answer(200, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Leave the log to the notifications."""

    return ThreadingHTTPServer((host, port), Handler)


if __name__ == "__main__":
    with server() as running:
        running.serve_forever()
