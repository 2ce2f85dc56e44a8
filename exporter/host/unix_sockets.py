"""Asks the kernel who is connected to a Unix socket: /proc/net/unix has no line that says it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from exporter.exhausted import unless_ours
from exporter.host import sock_diag

ESTABLISHED = 1
SHOW_NAME_AND_PEER = 0x1 | 0x4
NAME = 0
PEER = 2

REQUEST = struct.Struct("=BBHIIIII")  # family, protocol, padding, states, inode, show, cookie twice
MESSAGE = struct.Struct("=BBBBIII")  # family, type, state, padding, inode, cookie twice
ATTRIBUTE = struct.Struct("=HH")  # length, type


def clients(name: str) -> frozenset[int] | None:
    """Return the inodes of the clients' ends of all connections to sockets of that file name.

    Sees our own network namespace; None where the kernel does not answer.
    """
    found: set[int] = set()
    request = REQUEST.pack(socket.AF_UNIX, 0, 0, 1 << ESTABLISHED, 0, SHOW_NAME_AND_PEER, 0, 0)
    try:
        for message in sock_diag.dump(request):
            # The server's end of a connection carries the name that the listener was bound to.
            attributes = dict(_attributes(message[MESSAGE.size :]))
            path = attributes.get(NAME, b"").rstrip(b"\0").decode(errors="replace")
            if path.rpartition("/")[2] == name and len(attributes.get(PEER, b"")) == 4:
                found.add(int(struct.unpack("=I", attributes[PEER])[0]))
    except OSError as error:
        unless_ours(error)
        return None
    return frozenset(found)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        if length < ATTRIBUTE.size:
            return
        yield kind, data[ATTRIBUTE.size : length]
        data = data[sock_diag.aligned(length) :]
