"""Names of database hosts, resolved before libpq gets them.

psycopg holds the interpreter's lock while libpq resolves a name, so that a name service that hangs would hold up all
threads: the pages, and the sources that are well. Python's own look-up lets them run.
"""

from __future__ import annotations

import socket

from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo


def resolved(conninfo: bytes) -> bytes:
    """Return the same with each address of its hosts in `hostaddr`; raises OperationalError where none is known.

    The names stay, since certificates and password files are about them. A host that is a directory of sockets, and
    what has its addresses already, stay as they are.
    """
    options = {name: str(value) for name, value in conninfo_to_dict(conninfo.decode()).items()}
    hosts = options.get("host", "")
    if options.get("hostaddr") or not any(_is_name(host) for host in hosts.split(",")):
        return conninfo
    ports = options.get("port", "5432").split(",")
    if len(ports) == 1:
        ports *= hosts.count(",") + 1
    elif len(ports) != hosts.count(",") + 1:
        return conninfo  # libpq says what is wrong with it
    places: list[tuple[str, str, str]] = []
    failure = ""
    for host, port in zip(hosts.split(","), ports, strict=True):
        try:
            places += [(host, address, port) for address in _addresses(host, port)]
        except OSError as error:
            failure = f'could not translate host name "{host}" to address: {error.strerror}'
    if not places:
        raise OperationalError(failure)
    names, addresses, used = (",".join(column) for column in zip(*places, strict=True))
    return make_conninfo("", **options | {"host": names, "hostaddr": addresses, "port": used}).encode()


def _is_name(host: str) -> bool:
    return bool(host) and not host.startswith(("/", "@"))


def _addresses(host: str, port: str) -> list[str]:
    if not _is_name(host):
        return [""]
    found = socket.getaddrinfo(host.encode(), port or "5432", type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
