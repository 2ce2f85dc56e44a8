"""A name server on the loopback that knows, denies or ignores names, and processes that ask it and no other."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path
from typing import Literal, Self

ADDRESS = socket.inet_aton("127.0.0.1")
A = 1
NO_SUCH_NAME = 3


class NameServer:
    """Say that every name is 127.0.0.1; `answer` can be changed while it runs. Only root may be one.

    Put `wrapper` before a command: it sees a `resolv.conf` of its own, which it reads again at each look-up.
    """

    def __init__(self, folder: Path, host: str = "127.53.53.53") -> None:
        self.answer: Literal["address", "no such name", "nothing"] = "address"
        self.host = host
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._serve, name="name-server", daemon=True)
        configuration, order = folder / "resolv.conf", folder / "nsswitch.conf"
        configuration.write_text(f"nameserver {host}\noptions timeout:1 attempts:1\n")
        order.write_text("hosts: dns\n")
        mounts = f"mount --bind {configuration} /etc/resolv.conf && mount --bind {order} /etc/nsswitch.conf"
        self.wrapper = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]

    def __enter__(self) -> Self:
        self._socket.bind((self.host, 53))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(512)
                if not query:  # the end
                    return
                if self.answer != "nothing":
                    self._socket.sendto(self._reply(query), client)
            except OSError:
                return

    def _reply(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        kind = struct.unpack("!H", query[end - 4 : end - 2])[0]
        known = self.answer == "address"
        record = known and kind == A
        flags = 0x8180 | (0 if known else NO_SUCH_NAME)
        header = struct.pack("!2s5H", query[:2], flags, 1, int(record), 0, 0)
        # Name: a pointer to the question's; class IN, no second of keeping.
        answer = struct.pack("!HHHIH", 0xC00C, A, 1, 0, 4) + ADDRESS
        return header + query[12:end] + (answer if record else b"")
