"""A webhook receiver that keeps what Alertmanager delivers, in the order in which it came."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Delivery:
    """One alert of one notification; `time` is that of its arrival, on time.monotonic()."""

    time: float
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def alert(self) -> str:
        return self.labels["alertname"]

    @property
    def cause(self) -> str:
        return self.labels.get("cause", "")

    @property
    def key(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.labels.items())


class Receiver:
    def __init__(self) -> None:
        self._deliveries: list[Delivery] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the screen for what matters."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, message: Mapping[str, list[dict[str, object]]]) -> None:
        """Keep the alerts of one notification, as Alertmanager's webhook sends it."""
        now = time.monotonic()
        with self._lock:
            for alert in message["alerts"]:
                labels, annotations = alert["labels"], alert["annotations"]
                assert isinstance(labels, dict) and isinstance(annotations, dict)
                self._deliveries.append(Delivery(now, alert["status"] == "firing", labels, annotations))

    def deliveries(self, since: float = 0.0) -> list[Delivery]:
        """Return what came from then on, oldest first; an alert that goes on is delivered again and again."""
        with self._lock:
            return [one for one in self._deliveries if one.time >= since]

    def firing(self) -> dict[frozenset[tuple[str, str]], Delivery]:
        """Return the alerts whose last notification says that they fire."""
        last: dict[frozenset[tuple[str, str]], Delivery] = {}
        for one in self.deliveries():
            last[one.key] = one
        return {key: one for key, one in last.items() if one.firing}
