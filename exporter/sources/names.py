"""Names of database hosts, resolved before libpq gets them.

psycopg holds the interpreter's lock while libpq resolves a name, so that a name service that hangs would hold up all
threads: the pages, and the sources that are well. Python's own look-up lets them run.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping

from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from exporter.exhausted import exhausted


def resolved(conninfo: bytes) -> bytes:
    """Return the same with each address of its hosts in `hostaddr`.

    Raises OperationalError where none is known, and SourceError where the exporter itself has no descriptor left.
    The names stay, since certificates and password files are about them. A host that is a directory of sockets, and
    what has its addresses already, stay as they are; so do hosts whose addresses or ports only libpq finds.
    """
    options = {name: str(value) for name, value in conninfo_to_dict(conninfo.decode()).items()}
    hosts = options.get("host", "").split(",")
    if not any(_is_name(host) for host in hosts) or _libpq_knows_more(options, len(hosts)):
        return conninfo
    ports = options.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    elif len(ports) != len(hosts):
        return conninfo  # libpq says what is wrong with it
    places: list[tuple[str, str, str]] = []
    failure = ""
    for host, port in zip(hosts, ports, strict=True):
        try:
            places += [(host, address, port) for address in _addresses(host)]
        except OSError as error:
            if ours := exhausted(error):
                raise ours from None
            failure = f'could not translate host name "{host}" to address: {error.strerror}'
    if not places:
        raise OperationalError(failure)
    names, addresses, used = (",".join(column) for column in zip(*places, strict=True))
    found = {"host": names, "hostaddr": addresses}
    if "port" in options:  # else PGPORT's, or libpq's own, for all of them
        found["port"] = used
    return make_conninfo("", **options | found).encode()


def _libpq_knows_more(options: Mapping[str, str], hosts: int) -> bool:
    """Say whether libpq has addresses from elsewhere, or ports of which each host may have its own."""
    if options.get("hostaddr") or "PGHOSTADDR" in os.environ:
        return True
    if "service" in options or "PGSERVICE" in os.environ:
        return True  # its file may hold either
    return hosts > 1 and "port" not in options and "," in os.environ.get("PGPORT", "")


def _is_name(host: str) -> bool:
    return bool(host) and not host.startswith(("/", "@")) and not _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _addresses(host: str) -> list[str]:
    if not _is_name(host):
        return [host if _is_address(host) else ""]
    found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(_scoped(*address) for *_, address in found))


def _scoped(address: str | int, _port: object, _flow: object = 0, scope: object = 0) -> str:
    """Return an address as libpq takes it; one of a link is nowhere without the link."""
    return f"{address}%{scope}" if scope else str(address)
