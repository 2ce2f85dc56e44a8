"""The connections of clients: a bounded number, each with a thread, and none that can hold its place for long."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

from exporter.access.tls import speaks_tls
from exporter.exhausted import SHORT_SECONDS
from exporter.http1 import Handler
from exporter.web import App

log = logging.getLogger(__name__)

SOCKET_SECONDS = 5.0
CONNECTION_SECONDS = 30.0
THREADS = 32
# How long a client may keep us waiting while another one wants its place, and how long that one waits for a place.
PATIENCE_SECONDS = 0.25
POLL_SECONDS = 0.2
ROOM_SECONDS, TURN_SECONDS = 0.5, 0.02
# What is read of a client that has its answer, so that it gets it.
LINGER_SECONDS = 0.5
LINGER_CHUNKS, CHUNK = 16, 65536
REFUSED = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(slots=True, eq=False)
class Visit:
    """A client's connection; `waiting` is since when we wait for the client, None while it waits for us."""

    socket: socket.socket
    since: float = field(default_factory=time.monotonic)
    waiting: float | None = field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Nobody else gets its place meanwhile."""
        self.waiting = None
        try:
            yield
        finally:
            self.waiting = time.monotonic()

    def end(self) -> None:
        """Have its thread find the connection at its end."""
        # TLS's own would take the session from under the thread that uses it.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


Inbox = queue.SimpleQueue[tuple[Visit, str]]


class Server(TCPServer):
    """Serve at most THREADS connections at once.

    One more takes the place of the one that has kept us waiting longest. Where we are at work for all of them, and are
    still half a second later, it is refused with 503 rather than queued unseen.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], app: App) -> None:
        # An empty host is every IPv4 address, as with Prometheus' own `:9090`.
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._app = app
        self._visits: set[Visit] = set()
        self._lock = threading.Lock()
        self._spare: int | None = _spare()
        self._stopping = False
        self._refused_at = 0.0
        super().__init__(address, BaseRequestHandler)  # which is not used: see _attend
        # All at the start, for 16 KiB each: where memory is short, to start one may fail, or never return.
        # The one that became free last is the next to work: were it each one's turn, all would fill what the C library
        # keeps for each thread of what it has freed (glibc's tcache, up to 230 KiB), 7 MiB more by and by.
        # A place is a thread that is here: only one thread takes them, and to give one back is one step.
        self._idle: list[Inbox] = []
        for number in range(THREADS):
            inbox: Inbox = queue.SimpleQueue()
            self._idle.append(inbox)
            threading.Thread(
                target=self._attend_all, args=(inbox,), name=f"client-{number}", daemon=True
            ).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def run(self) -> None:
        """Serve until `stop`, whatever happens meanwhile."""
        while True:
            try:
                self.serve_forever(POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - without this thread nobody would be served any more
                log.warning("no connection can be taken for a moment: %s", type(error).__name__)
                time.sleep(POLL_SECONDS)
            # Not before the serving: `stop` waits until that has ended, which has to have begun for it.
            if self._stopping:
                return

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
        inbox = self._place()
        if inbox is None:
            self._refuse(request)
            return
        visit = None
        try:
            visit = Visit(request)
            with self._lock:
                self._visits.add(visit)
            inbox.put((visit, str(client_address[0])))
        except BaseException:  # memory that is short; the place must not be lost with it
            self._vacate(inbox, visit)
            raise

    def service_actions(self) -> None:
        """End connections that are too old: a client that drips a byte a second never meets the socket's timeout.

        And keep a descriptor for `get_request`.
        """
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = _spare()
        oldest = time.monotonic() - CONNECTION_SECONDS
        with self._lock:
            late = [visit for visit in self._visits if visit.since < oldest]
        for visit in late:
            visit.end()

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
        while self._visits and time.monotonic() < until:
            time.sleep(0.02)
        return not self._visits

    def shutdown_request(self, request: Any) -> None:
        """Close what has no thread, without waiting for it."""
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a connection of %s could not be served", client_address[0], exc_info=True)

    def _attend_all(self, inbox: Inbox) -> None:
        while True:
            visit, address = inbox.get()
            try:  # noqa: SIM105 - `suppress` itself takes memory, and without any would end this thread
                self._attend(visit, address)
            except Exception:  # noqa: BLE001, S110 - memory that is short costs that connection its answer
                pass
            self._vacate(inbox, visit)
            del visit  # TLS keeps tens of KiB for each

    def _attend(self, visit: Visit, address: str) -> None:
        try:
            visit.socket.settimeout(SOCKET_SECONDS)
            if self._secured(visit):
                Handler(visit, address, self._app)
        except OSError as error:  # TLS's errors are among them
            log.debug("connection of %s ended early: %s", address, error)
        finally:
            _part(visit.socket)

    def _secured(self, visit: Visit) -> bool:
        """Shake hands where TLS is spoken; False where the client does not speak it."""
        tls = self._app.access.gate.tls
        if tls is None:
            return True
        if not speaks_tls(visit.socket):
            return False
        visit.socket = connection = tls.wrap(visit.socket)
        tls.shake_hands(connection)
        return True

    def _place(self) -> Inbox | None:
        """Take a place, if need be from the client that has kept us waiting longest; None where there is none."""
        now = time.monotonic()
        # Whoever comes behind one that has waited in vain would wait behind all the others.
        deadline = now + ROOM_SECONDS if now - self._refused_at > ROOM_SECONDS else now
        while not self._idle:
            with self._lock:
                waiting = [(since, visit) for visit in self._visits if (since := visit.waiting) is not None]
            now = time.monotonic()
            since, visit = min(waiting, key=lambda one: one[0], default=(now, None))
            if visit and now - since > PATIENCE_SECONDS:
                visit.end()
            time.sleep(TURN_SECONDS)
            if not self._idle and now > deadline:
                self._refused_at = now
                return None
        return self._idle.pop()

    def _refuse(self, request: socket.socket) -> None:
        if self._app.access.gate.tls is None:
            with contextlib.suppress(OSError):
                request.settimeout(0.1)
                request.sendall(REFUSED)
        request.close()

    def _vacate(self, inbox: Inbox, visit: Visit | None) -> None:
        """Give a place back, however short memory is: one that is lost is so until a restart."""
        while True:
            try:
                if visit is not None:
                    with self._lock:
                        self._visits.discard(visit)
                self._idle.append(inbox)
            except MemoryError:
                time.sleep(SHORT_SECONDS)
            else:
                return


def _spare() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _part(connection: socket.socket) -> None:
    """Close a connection so that the answer arrives: with input unread, a close is a reset that may overtake it."""
    with contextlib.suppress(OSError, ValueError):
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(0)
            connection.unwrap()  # says that this is all, and does not wait for the same from the client
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)
        connection.settimeout(LINGER_SECONDS)
        for _ in range(LINGER_CHUNKS):
            if not socket.socket.recv(connection, CHUNK):
                break
    connection.close()
