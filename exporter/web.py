"""The HTTP side: a few pages, a bounded number of threads, and no client that can hold one for long."""

from __future__ import annotations

import errno
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

from exporter.exhausted import exhausted
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
POLL_SECONDS = 0.2

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
        self._said = ""

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        headers: list[tuple[str, str]] = []
        try:
            status, kind, body = self._answer(environ, headers)
            self._said = ""
        except Exception as error:  # noqa: BLE001 - the answer says why there is none
            headers.clear()
            status, kind, body = self._failed(error)
        headers += [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ]
        start(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: WSGIEnvironment, headers: list[tuple[str, str]]) -> tuple[str, str, bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/"
        if method not in ("GET", "HEAD"):
            headers.append(("Allow", "GET, HEAD"))
            return "405 Method Not Allowed", "text/plain; charset=utf-8", b"GET and HEAD only\n"
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE, self._metrics(environ, headers)
        if page := self._pages.get(path):
            return page()
        return "404 Not Found", "text/plain; charset=utf-8", b"Not found. See / for what is here.\n"

    def _failed(self, error: Exception) -> tuple[str, str, bytes]:
        """Return the answer for what could not be made, and log what that is when it is something new."""
        ours = exhausted(error)
        what = f"{ours.detail}. {ours.remedy}" if ours else f"a bug of the exporter: {type(error).__name__}"
        if what != self._said:
            log.error("cannot answer: %s", what, exc_info=None if ours else error)
        self._said = what
        status = "503 Service Unavailable" if ours else "500 Internal Server Error"
        return status, "text/plain; charset=utf-8", f"{what}\n".encode()

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
        self._spare: int | None = None
        self._stopping = False
        # Where no thread can be started, one that was started in better times answers.
        self._standby: queue.Queue[tuple[Any, Any]] = queue.Queue(maxsize=1)
        threading.Thread(target=self._stand_by, name="web-standby", daemon=True).start()
        super().__init__(address, Handler)
        self.set_app(app)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks up the machine's name, which takes seconds where no name server answers.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def run(self) -> None:
        """Serve until `stop`, whatever happens meanwhile: memory that is short, say."""
        while not self._stopping:
            try:
                self.serve_forever(POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - without this thread nobody would be served any more
                log.error("cannot take connections for a moment: %s", type(error).__name__)
                time.sleep(POLL_SECONDS)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; without a descriptor left, on the one that is kept for that."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            if self._spare is None:
                time.sleep(POLL_SECONDS)  # it waits in the queue, and would have us try without end
                raise
        os.close(self._spare)
        self._spare = None
        return super().get_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self._refuse(request)
            return
        with self._lock:
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except (RuntimeError, MemoryError):  # no thread can be started
            try:
                self._standby.put_nowait((request, client_address))
            except queue.Full:
                self._gone(request)
                self._refuse(request)

    def _stand_by(self) -> None:
        while True:
            with suppress(Exception):  # memory that is short: that connection goes without an answer
                self.process_request_thread(*self._standby.get())

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._gone(request)

    def _refuse(self, request: Any) -> None:
        request.settimeout(0.1)
        try:
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            log.debug("a client left before its refusal")
        self.shutdown_request(request)

    def _gone(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        self._free.release()

    def service_actions(self) -> None:
        """End connections that are too old: a client that drips a byte a second never meets the socket's timeout.

        And keep a descriptor for `get_request`.
        """
        if self._spare is None:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        oldest = time.monotonic() - CONNECTION_SECONDS
        with self._lock:
            late = [request for request, since in self._open.items() if since < oldest]
        for request in late:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("a late connection had ended by itself")

    def stop(self, grace: float) -> bool:
        """Take no more connections; returns whether those under way have ended within `grace` seconds."""
        until = time.monotonic() + grace
        self._stopping = True
        self.shutdown()
        self.server_close()
        return self.drain(until - time.monotonic())

    def drain(self, seconds: float) -> bool:
        """Wait for the connections under way; returns whether they have ended in that time."""
        until = time.monotonic() + seconds
        while self._open and time.monotonic() < until:
            time.sleep(0.02)
        return not self._open

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection of %s ended early", client_address[0], exc_info=True)
