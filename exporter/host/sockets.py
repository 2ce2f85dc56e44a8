"""Reads the TCP sockets of a process's network namespace, and what that namespace counts."""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from exporter.host import sock_diag
from exporter.host.processes import natural, read, shares

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Groups: local address and port, remote address and port, state, receive queue, user, inode.
ROW = re.compile(
    rb" *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2})"
    rb" [0-9A-F]+:([0-9A-F]{1,8}) \S+ \S+ +(\d{1,10}) +\d+ (\d{1,20}) "
)

# What sock_diag is asked: family, protocol, extensions, padding, states as bits, and nothing of a single socket's.
# Its answers: family, state, timer, retransmissions, ports, addresses, interface, cookie, expiry, queues, user, inode.
REQUEST = struct.Struct("=BBBBI48x")
MESSAGE = struct.Struct("=BBBB2s2s16s16sIIIIIIII")
ESTABLISHED = 1
LISTEN = 10

# Some 200,000 connections, which take 70 MB while they are read. A longer table is not read at all: half of it would
# count too few, and any user of the machine can make it longer.
LONGEST_TABLE = 1 << 25
LONGEST_ANSWER = 200_000 * MESSAGE.size


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket. `queue` is the number of connections that wait to be accepted."""

    address: Address
    port: int
    queue: int
    user: int
    inode: int


@dataclass(frozen=True, slots=True)
class Connection:
    """One end of an established connection."""

    local_port: int
    remote: Address
    remote_port: int
    inode: int


class Tables(Protocol):
    """The TCP sockets of one network namespace, IPv4 and IPv6."""

    def listeners(self) -> list[Listener]: ...

    def connections(
        self, local_ports: Collection[int], remote_ports: Collection[int]
    ) -> Iterator[Connection]:
        """Yield the established connections with one of these ports at their own or at the other end."""


def tables(proc: Path, pid: int) -> Tables | None:
    """Return the sockets of the namespace that the process is in; None where they cannot be read."""
    if proc == Path("/proc") and shares(proc, pid, "net"):
        try:
            found = _answered()
            return _Answers(found) if len(found) < LONGEST_ANSWER else None
        except OSError:
            pass  # not allowed in here, or no module for it
    return _text(proc, pid)


def _answered() -> bytes:
    """Return what sock_diag says of both families, a MESSAGE each; cut where it is too long."""
    found = bytearray()
    for family in (socket.AF_INET, socket.AF_INET6):
        request = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << ESTABLISHED | 1 << LISTEN)
        for message in sock_diag.dump(request):
            if len(message) >= MESSAGE.size:
                found += message[: MESSAGE.size]
            if len(found) >= LONGEST_ANSWER:
                break
    return bytes(found)


class _Answers:
    """What sock_diag says. The kernel leaves out connections that are over, thousands where clients come and go.

    With 1,100 such lines /proc/net/tcp takes 7 to 12 ms, this 1.4 ms, most of it for the empty places of its hash.
    """

    def __init__(self, messages: bytes) -> None:
        self._messages = messages

    def listeners(self) -> list[Listener]:
        return [
            Listener(_packed(family, address), int.from_bytes(port, "big"), queue, user, inode)
            for family, state, _, _, port, _, address, _, _, _, _, _, queue, _, user, inode in self._rows()
            if state == LISTEN
        ]

    def connections(
        self, local_ports: Collection[int], remote_ports: Collection[int]
    ) -> Iterator[Connection]:
        near, far = ({port.to_bytes(2, "big") for port in ports} for ports in (local_ports, remote_ports))
        for family, state, _, _, local, remote, _, address, *_, inode in self._rows():
            if state == ESTABLISHED and (local in near or remote in far):
                yield Connection(
                    int.from_bytes(local, "big"),
                    _packed(family, address),
                    int.from_bytes(remote, "big"),
                    inode,
                )

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        return MESSAGE.iter_unpack(self._messages)


def _text(proc: Path, pid: int) -> _Text | None:
    folder = proc / str(pid) / "net"
    names = ["tcp"]
    # Reading an empty table costs as much as a full one: 5 ms where the kernel's hash has 262,144 places.
    if not re.search(rb"^TCP6: inuse 0$", read(folder / "sockstat6") or b"TCP6: inuse 0", re.MULTILINE):
        names.append("tcp6")
    texts = [read(folder / name, LONGEST_TABLE) for name in names]
    if any(text is None or len(text) == LONGEST_TABLE for text in texts):
        return None
    return _Text(b"".join(text or b"" for text in texts))


class _Text:
    """What `net/tcp` and `net/tcp6` of a process in another namespace say."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def listeners(self) -> list[Listener]:
        return [
            Listener(_address(local), int(port, 16), int(queue, 16), int(user), int(inode))
            for local, port, _, _, state, queue, user, inode in _rows(self._text, (b" 0A ",))
            if state == b"0A"
        ]

    def connections(
        self, local_ports: Collection[int], remote_ports: Collection[int]
    ) -> Iterator[Connection]:
        wanted = [b":%04X " % port for port in {*local_ports, *remote_ports}]
        for _, local, remote, port, state, _, _, inode in _rows(self._text, wanted):
            one = Connection(int(local, 16), _address(remote), int(port, 16), int(inode))
            if state == b"01" and (one.local_port in local_ports or one.remote_port in remote_ports):
                yield one


def listen_failures(proc: Path, pid: int) -> dict[str, int]:
    """Return `ListenOverflows` and `ListenDrops` of the process's namespace, where they can be read."""
    lines = [line.split() for line in (read(proc / str(pid) / "net/netstat") or b"").splitlines()]
    for names, values in pairwise(lines):
        if names[:1] == values[:1] == [b"TcpExt:"]:
            counts = dict(zip(names, values, strict=False))
            return {
                name: value
                for name in ("ListenOverflows", "ListenDrops")
                if (value := natural(counts.get(name.encode(), b""))) is not None
            }
    return {}


def _rows(table: bytes, any_of: Collection[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Yield the rows that hold any of these parts, in the table's order."""
    # A table has a line for each connection on the host. To search it as one text costs a tenth of going over
    # its lines, and then only rows that are wanted are taken apart.
    starts: set[int] = set()
    for part in any_of:
        at = table.find(part)
        while at >= 0:
            starts.add(table.rfind(b"\n", 0, at) + 1)
            at = table.find(part, at + 1)
    for start in sorted(starts):
        if row := ROW.match(table, start):
            yield row.groups()


def _address(text: bytes) -> Address:
    """Read the kernel's form: hexadecimal words of 32 bits in the machine's own byte order."""
    words = [bytes.fromhex(text[at : at + 8].decode()) for at in range(0, len(text), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return _packed(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _packed(family: int, packed: bytes) -> Address:
    """Read an address in network byte order, of which an IPv4 one takes the first four bytes."""
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(packed[:4])
    address = ipaddress.IPv6Address(packed.ljust(16, b"\0")[:16])
    return address.ipv4_mapped or address
