"""Reads the TCP tables of a process's network namespace, and what that namespace counts."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from exporter.host.processes import natural, read

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Groups: local address and port, remote address and port, state, receive queue, user, inode.
ROW = re.compile(
    rb" *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2})"
    rb" [0-9A-F]+:([0-9A-F]{1,8}) \S+ \S+ +(\d{1,10}) +\d+ (\d{1,20}) "
)

# Some 200,000 connections, which take 70 MB while they are read. A longer table is not read at all: half of it would
# count too few, and any user of the machine can make it longer.
LONGEST_TABLE = 1 << 25


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
    return [
        Listener(_address(local), int(port, 16), int(queue, 16), int(user), int(inode))
        for local, port, _, _, state, queue, user, inode in _rows(table, (b" 0A ",))
        if state == b"0A"
    ]


def connections(
    table: bytes, local_ports: Collection[int], remote_ports: Collection[int]
) -> Iterator[Connection]:
    """Yield the established connections with one of these ports at their own or at the other end."""
    wanted = [b":%04X " % port for port in {*local_ports, *remote_ports}]
    for _, local, remote, port, state, _, _, inode in _rows(table, wanted):
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
    if len(packed) == 4:
        return ipaddress.IPv4Address(packed)
    address = ipaddress.IPv6Address(packed.ljust(16, b"\0")[:16])
    return address.ipv4_mapped or address
