"""Asks the kernel who is connected to a Unix socket: /proc/net/unix has no line that says it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from exporter.exhausted import unless_ours

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR = 2
NLMSG_DONE = 3
ESTABLISHED = 1
SHOW_NAME_AND_PEER = 0x1 | 0x4
NAME = 0
PEER = 2

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
REQUEST = struct.Struct("=BBHIIIII")  # family, protocol, padding, states, inode, show, cookie twice
MESSAGE = struct.Struct("=BBBBIII")  # family, type, state, padding, inode, cookie twice
ATTRIBUTE = struct.Struct("=HH")  # length, type


def clients(name: str) -> frozenset[int] | None:
    """Return the inodes of the clients' ends of all connections to sockets of that file name.

    Sees our own network namespace; None where the kernel does not answer.
    """
    found: set[int] = set()
    request = REQUEST.pack(socket.AF_UNIX, 0, 0, 1 << ESTABLISHED, 0, SHOW_NAME_AND_PEER, 0, 0)
    header = HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(1.0)
            kernel.send(header + request)
            while True:
                for kind, body in _messages(kernel.recv(1 << 16)):
                    if kind == NLMSG_ERROR:
                        return None
                    if kind == NLMSG_DONE:
                        return frozenset(found)
                    # The server's end of a connection carries the name that the listener was bound to.
                    attributes = dict(_attributes(body[MESSAGE.size :]))
                    path = attributes.get(NAME, b"").rstrip(b"\0").decode(errors="replace")
                    if path.rpartition("/")[2] == name and len(attributes.get(PEER, b"")) == 4:
                        found.add(int(struct.unpack("=I", attributes[PEER])[0]))
    except OSError as error:
        unless_ours(error)
        return None
    except struct.error:
        return None


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        if length < HEADER.size:
            return
        yield kind, data[HEADER.size : length]
        data = data[_aligned(length) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        if length < ATTRIBUTE.size:
            return
        yield kind, data[ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3
