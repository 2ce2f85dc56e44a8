"""Reads the TCP tables of a process's network namespace, and what that namespace counts."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from exporter.host.processes import read

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# A table has a line for each connection on the host, hence bytes and one compiled pattern, not a split a line.
# Groups: local address and port, remote address and port, receive queue, user, inode.
ROW = (
    rb"^ *\d+: ([0-9A-F]{8,32}):(%s) ([0-9A-F]{8,32}):(%s) %s"
    rb" [0-9A-F]+:([0-9A-F]+) \S+ \S+ +(\d+) +\d+ (\d+) "
)
ANY = rb"[0-9A-F]{4}"
ESTABLISHED = rb"01"
LISTEN = rb"0A"

# Some 400,000 connections. A longer table is not read at all: half of it would count too few.
LONGEST_TABLE = 1 << 26


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


def tables(proc: Path, pid: int) -> bytes | None:
    """Return the text of the tables of the namespace that the process is in, IPv4 and IPv6."""
    folder = proc / str(pid) / "net"
    names = ["tcp"]
    # Reading an empty table costs as much as a full one: 5 ms where the kernel's hash has 262,144 places.
    if not re.search(rb"^TCP6: inuse 0$", read(folder / "sockstat6") or b"TCP6: inuse 0", re.MULTILINE):
        names.append("tcp6")
    texts = [read(folder / name, LONGEST_TABLE) for name in names]
    if any(text is None or len(text) == LONGEST_TABLE for text in texts):
        return None
    return b"".join(text or b"" for text in texts)


def listeners(table: bytes) -> list[Listener]:
    pattern = re.compile(ROW % (ANY, ANY, LISTEN), re.MULTILINE)
    return [
        Listener(_address(local), int(port, 16), int(queue, 16), int(user), int(inode))
        for local, port, _, _, queue, user, inode in pattern.findall(table)
    ]


def connections(
    table: bytes, local_ports: Collection[int], remote_ports: Collection[int]
) -> Iterator[Connection]:
    """Yield the established connections with one of these ports at their own or at the other end."""
    patterns = []
    if local_ports:
        patterns.append(ROW % (_either(local_ports), ANY, ESTABLISHED))
    if remote_ports:
        patterns.append(ROW % (ANY, _either(remote_ports), ESTABLISHED))
    rows = {row for pattern in patterns for row in re.findall(pattern, table, re.MULTILINE)}
    for _, port, remote, remote_port, _, _, inode in rows:
        yield Connection(int(port, 16), _address(remote), int(remote_port, 16), int(inode))


def listen_failures(proc: Path, pid: int) -> dict[str, int]:
    """Return `ListenOverflows` and `ListenDrops` of the process's namespace, where they can be read."""
    lines = [line.split() for line in (read(proc / str(pid) / "net/netstat") or b"").splitlines()]
    for names, values in pairwise(lines):
        if names[:1] == values[:1] == [b"TcpExt:"]:
            counts = dict(zip(names, values, strict=False))
            return {
                name: int(counts[name.encode()])
                for name in ("ListenOverflows", "ListenDrops")
                if counts.get(name.encode(), b"").isdigit()
            }
    return {}


def _either(ports: Collection[int]) -> bytes:
    return b"(?:%s)" % b"|".join(b"%04X" % port for port in sorted(ports))


def _address(text: bytes) -> Address:
    """Read the kernel's form: hexadecimal words of 32 bits in the machine's own byte order."""
    words = [bytes.fromhex(text[at : at + 8].decode()) for at in range(0, len(text), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    if len(packed) == 4:
        return ipaddress.IPv4Address(packed)
    address = ipaddress.IPv6Address(packed.ljust(16, b"\0")[:16])
    return address.ipv4_mapped or address
