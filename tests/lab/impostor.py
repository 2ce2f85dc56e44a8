"""Servers that mean harm: what speaks Postgres' protocol, and what is sent by one who need not keep to it."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

Act = Callable[[socket.socket], None]

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
ASK_CLEARTEXT = struct.pack(">I", 3)
ASK_MD5 = struct.pack(">I4s", 5, b"salt")
ASK_GSS = struct.pack(">I", 7)


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def columns(*of: tuple[str | bytes, int]) -> bytes:
    """Return a description of columns in binary form, each a name and the number of its type."""
    parts = [
        (name if isinstance(name, bytes) else name.encode())
        + b"\0"
        + struct.pack(">IHIhih", 0, 0, kind, -1, -1, 1)
        for name, kind in of
    ]
    return message(b"T", struct.pack(">H", len(parts)) + b"".join(parts))


def row(*values: bytes | None) -> bytes:
    parts = [b"\xff\xff\xff\xff" if one is None else struct.pack(">I", len(one)) + one for one in values]
    return message(b"D", struct.pack(">H", len(values)) + b"".join(parts))


def error(text: bytes, state: bytes = b"XX000") -> bytes:
    return message(b"E", b"SERROR\0VERROR\0C" + state + b"\0M" + text + b"\0\0")


READY = message(b"Z", b"I")
BOUND = message(b"1") + message(b"2")
DONE = message(b"C", b"SELECT 1\0")
LIMITS = BOUND + columns(("set_config", 25)) + row(b"on") + DONE
WELCOME = message(b"R", struct.pack(">I", 0)) + message(b"S", b"server_version\x0015.4\0") + READY


def answer(*parts: bytes) -> bytes:
    """Return what answers one query of the exporter, of which the limits are the first statement."""
    return LIMITS + BOUND + b"".join(parts) + DONE + READY


def without_end(first: bytes, more: Iterable[bytes]) -> Act:
    def act(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(first)
        for part in more:
            connection.sendall(part)

    return act


def settings_without_end() -> Iterator[bytes]:
    for start in itertools.count(0, 5_000):
        yield b"".join(message(b"S", b"p%d\0v\0" % (start + one)) for one in range(5_000))


# A message that claims a gigabyte, and what fills it.
HUGE = struct.pack(">I", 1 << 30)
FILL = itertools.repeat(b"x" * (1 << 20))

FLOODS: dict[str, Act] = {
    "rows": without_end(BOUND + columns(("a", 25)), itertools.repeat(row(b"x" * 100) * 10_000)),
    "rows without columns": without_end(BOUND + columns(), itertools.repeat(row() * 50_000)),
    "rows of NULLs": without_end(
        BOUND + columns(*((f"c{one}", 25) for one in range(1_600))),
        itertools.repeat(row(*[None] * 1_600) * 200),
    ),
    "a row of a gigabyte": without_end(
        BOUND + columns(("a", 25)), itertools.chain([b"D" + HUGE + struct.pack(">HI", 1, 1 << 29)], FILL)
    ),
    "an error of a gigabyte": without_end(b"E" + HUGE + b"SERROR\0C00000\0M", FILL),
    "notices": without_end(
        b"", itertools.repeat(message(b"N", b"SNOTICE\0VNOTICE\0C00000\0M" + b"x" * 100 + b"\0\0") * 10_000)
    ),
    "notifications": without_end(b"", itertools.repeat(message(b"A", b"\0\0\0\1channel\0x\0") * 10_000)),
    "settings": without_end(b"", settings_without_end()),
}


class Impostor:
    """Listen as a Postgres would, do the next of `acts` with each connection that has logged in, and begin again.

    `asks` is what it wants for a login: the body of an authentication request. `heard` are the first messages of
    all clients, their answers to that included. `path` is the directory of a Unix socket instead of a port.
    """

    def __init__(self, *acts: Act, asks: bytes = b"", path: Path | None = None) -> None:
        self.heard: list[bytes] = []
        self._asks = asks
        self._acts = itertools.cycle(acts)
        self._open: list[socket.socket] = []
        if path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(path / ".s.PGSQL.5432"))
            (path / ".s.PGSQL.5432").chmod(0o777)
            self._socket.listen()
            self.port = 5432
        else:
            self._socket = socket.create_server(("127.0.0.1", 0))
            self.port = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._socket, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=[connection, next(self._acts)], daemon=True).start()

    def _serve(self, connection: socket.socket, act: Act) -> None:
        with connection, suppress(OSError, struct.error):
            code = SSL_REQUEST
            while code in (SSL_REQUEST, GSS_REQUEST):
                length, code = struct.unpack(">II", connection.recv(8, socket.MSG_WAITALL))
                if code in (SSL_REQUEST, GSS_REQUEST):
                    connection.sendall(b"N")
            self.heard.append(connection.recv(length - 8, socket.MSG_WAITALL))
            if self._asks:
                connection.sendall(message(b"R", self._asks))
                self.heard.append(connection.recv(1 << 16))
            connection.sendall(WELCOME)
            act(connection)
            connection.recv(1)  # until the client has had enough
