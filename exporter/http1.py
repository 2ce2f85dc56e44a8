"""HTTP as far as it is spoken here: one request a connection, of bounded size, without a body."""

from __future__ import annotations

import logging
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, BinaryIO

from exporter.web import Answer, App, Request

if TYPE_CHECKING:
    from exporter.connections import Visit

log = logging.getLogger(__name__)

# Request line and headers; a browser sends the cookies of all that is served on this machine.
HEAD_BYTES = 32768


class Head:
    """Give a request's line and headers, and no more than HEAD_BYTES of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = HEAD_BYTES

    def readline(self, limit: int = -1) -> bytes:
        """Return the next line; the limit is our own.

        Raises LineTooLong, for which the handler has an answer, and ConnectionError where the client left before the
        end: to the parser that would be the end of the headers, and a request like any other.
        """
        line = self._file.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("request")
        if not line.endswith(b"\n"):
            raise ConnectionAbortedError("the client left before its request was whole")
        return line

    def close(self) -> None:
        self._file.close()


class Handler(BaseHTTPRequestHandler):
    """Answer one request; HTTP/1.0, so that clients neither keep the connection nor send a second request."""

    default_request_version = "HTTP/1.0"
    # The answer goes out in one piece, and its end does not wait for the client to acknowledge the beginning.
    wbufsize = -1
    disable_nagle_algorithm = True
    server_version = "mlflow-exporter"
    sys_version = ""
    requestline = ""
    request_version = "HTTP/1.0"
    command = ""

    def __init__(self, visit: Visit, address: str, app: App) -> None:
        self._visit, self._app = visit, app
        super().__init__(visit.socket, (address, 0), None)  # type: ignore[arg-type]

    def handle(self) -> None:
        self.rfile: Any = Head(self.rfile)
        try:
            self.raw_requestline = self.rfile.readline()
        except LineTooLong:
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return
        if not self.parse_request():
            return
        request = Request(self.command, self.path.partition("?")[0], self.headers, self.client_address[0])
        try:
            with self._visit.at_work():
                answer = self._app(request)
        except Exception:
            log.exception("%s could not be answered; please report it", request.path)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self._send(answer)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what could not be read as a request; nothing of it is repeated."""
        status = HTTPStatus(code)
        self._send(self._app.dressed(Answer(status, f"{status.phrase}\n".encode())))

    def version_string(self) -> str:
        return self.server_version

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s %s", self.client_address[0], format % args)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
