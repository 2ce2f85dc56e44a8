"""open-files: a server that may open few files, and more clients than that.

Made: `ulimit -n 80` and 160 clients that keep their connection. Fixed as the runbook says: `prlimit` on each worker for
now, which needs no restart.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import psutil

from tests.faults import Fault, Lab, Needs

REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.contextmanager
def kept_alive(port: int, clients: int) -> Iterator[None]:
    """Keep that many connections open, each used every two seconds, as uvicorn closes one that is idle for five."""
    ended = threading.Event()

    def use() -> None:
        with contextlib.ExitStack() as stack:
            connections: list[socket.socket] = []
            while not ended.wait(2):
                with contextlib.suppress(OSError):  # nobody accepts for the moment
                    while len(connections) < clients and not ended.is_set():
                        new = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
                        new.setblocking(False)
                        connections.append(new)
                for one in list(connections):
                    try:
                        with contextlib.suppress(BlockingIOError):
                            if not one.recv(65536):
                                raise ConnectionError
                        one.send(REQUEST)
                    except BlockingIOError:
                        pass
                    except OSError:
                        one.close()
                        connections.remove(one)

    thread = threading.Thread(target=use, name="kept-alive")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def crowd(lab: Lab) -> None:
    lab.begin(kept_alive(lab.mlflow.port, 160))


def raise_limit(lab: Lab) -> None:
    """Raise the soft limit to the hard one, which not even root may exceed in a container."""
    for pid in lab.mlflow.worker_pids():
        worker = psutil.Process(pid)
        _, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
        worker.rlimit(psutil.RLIMIT_NOFILE, (hard, hard))


FAULTS = (
    Fault(
        "open-files",
        "80 files, 160 clients",
        frozenset({"MlflowOpenFilesNearLimit"}),
        crowd,
        raise_limit,
        Needs(nofile=80),
        shows=frozenset({"MlflowOpenFilesLimitLow"}),
    ),
)
