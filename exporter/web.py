"""The HTTP side: a few pages, a bounded number of threads, and no client that can hold one for long."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

from exporter.scrape import Scraper

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DEFAULT_SCRAPE_SECONDS = 10.0
# What the answer itself needs, on a busy machine and a slow link.
ANSWER_SECONDS = 0.5
# A connection lives for 30 s; a scrape that wants longer gets its answer in this time.
LONGEST_SCRAPE_SECONDS = 25.0
SHORTEST_SCRAPE_SECONDS = 0.5
SOCKET_SECONDS = 5.0
CONNECTION_SECONDS = 30.0
THREADS = 32

Page = Callable[[], tuple[str, str, bytes]]  # status, content type, body


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
    """The WSGI application: `/metrics` from the scraper, the other pages from `pages` by path."""

    def __init__(self, scraper: Scraper, pages: dict[str, Page]) -> None:
        self._scraper = scraper
        self._pages = pages

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/"
        headers: list[tuple[str, str]] = []
        if method not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", "text/plain; charset=utf-8", b"GET and HEAD only\n"
            headers.append(("Allow", "GET, HEAD"))
        elif path == "/metrics":
            status, kind, body = "200 OK", CONTENT_TYPE, self._metrics(environ, headers)
        elif page := self._pages.get(path):
            status, kind, body = page()
        else:
            status, kind, body = (
                "404 Not Found",
                "text/plain; charset=utf-8",
                b"Not found. See / for what is here.\n",
            )
        headers += [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ]
        start(status, headers)
        return [] if method == "HEAD" else [body]

    def _metrics(self, environ: WSGIEnvironment, headers: list[tuple[str, str]]) -> bytes:
        timeout = environ.get("HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS")
        exposition = self._scraper.exposition(deadline_of(timeout, time.monotonic()))
        headers.append(("Vary", "Accept-Encoding"))
        if "gzip" not in environ.get("HTTP_ACCEPT_ENCODING", ""):
            return exposition.text
        headers.append(("Content-Encoding", "gzip"))
        return exposition.gzipped


class Handler(WSGIRequestHandler):
    timeout = SOCKET_SECONDS

    def address_string(self) -> str:
        return str(self.client_address[0])  # the inherited one may ask a name server

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s %s", self.address_string(), format % args)


class Server(ThreadingMixIn, WSGIServer):
    """Serve with at most THREADS requests at once; one more is refused with 503 rather than queued unseen."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], app: App) -> None:
        # An empty host is every IPv4 address, as with Prometheus' own `:9090`.
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = threading.BoundedSemaphore(THREADS)
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(address, Handler)
        self.set_app(app)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks up the machine's name, which takes seconds where no name server answers.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            request.settimeout(0.1)
            try:
                request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                log.debug("a client left before its refusal")
            self.shutdown_request(request)
            return
        with self._lock:
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._gone(request)
            self.shutdown_request(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._gone(request)

    def _gone(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        self._free.release()

    def service_actions(self) -> None:
        """End connections that are too old: a client that drips a byte a second never meets the socket's timeout."""
        oldest = time.monotonic() - CONNECTION_SECONDS
        with self._lock:
            late = [request for request, since in self._open.items() if since < oldest]
        for request in late:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("a late connection had ended by itself")

    def stop(self, grace: float) -> None:
        """Take no more connections, and let those under way finish for `grace` seconds."""
        self.shutdown()
        self.server_close()
        until = time.monotonic() + grace
        while self._open and time.monotonic() < until:
            time.sleep(0.02)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection of %s ended early", client_address[0], exc_info=True)
