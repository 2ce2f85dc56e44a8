"""Asks the kernel about the sockets of our own network namespace: it tells more than /proc, at less cost."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR = 2
NLMSG_DONE = 3

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port


def dump(request: bytes) -> Iterator[bytes]:
    """Yield the kernel's messages about the sockets that the request names, without their headers.

    Raises OSError where the kernel does not answer, refuses, or leaves off before its end.
    """
    header = HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.send(header + request)
        while True:
            for kind, body in messages(kernel.recv(1 << 16)):
                if kind == NLMSG_DONE:
                    # Of what fails inside a dump, a module that cannot be loaded for one, it tells here.
                    code = -int.from_bytes(body[:4], sys.byteorder, signed=True)
                    if code > 0:
                        raise OSError(code, os.strerror(code))
                    return
                yield body


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take apart what was received at once: types and bodies; raises OSError for an error and what is cut short."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        if kind == NLMSG_ERROR or not HEADER.size <= length <= len(data) - at:
            raise OSError("the kernel's answer about sockets is an error or cut short")
        yield kind, data[at + HEADER.size : at + length]
        at += aligned(length)
    if not data:
        raise OSError("the kernel's answer about sockets is empty")


def aligned(length: int) -> int:
    return (length + 3) & ~3
