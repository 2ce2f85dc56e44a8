"""`mlflow-exporter serve`: the process from its start to SIGTERM."""

from __future__ import annotations

import ctypes
import logging
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType

from exporter import __version__
from exporter.access import Access
from exporter.connections import Server
from exporter.logs import set_level
from exporter.service import Service, describe
from exporter.settings import Settings
from exporter.status import pages
from exporter.web import App

log = logging.getLogger(__name__)

# How soon a server that restarts, or moves to another database, is followed; a look costs about a millisecond.
LOOK_SECONDS = 2.0
M_ARENA_MAX = -8  # of glibc's malloc.h
# Of each thread; usual are 8 MiB, which count against every limit of memory although they are never used.
STACK_BYTES = 1 << 20


def _share_memory() -> None:
    """Have all threads allocate from one arena, where the C library is glibc.

    It would give them up to eight a core, each of which keeps the most it ever needed: 62 MiB resident after 1,000
    scrapes instead of 56. Threads rarely allocate at the same time here, as they share the interpreter's lock.
    """
    with suppress(OSError, AttributeError):  # another C library has no mallopt
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def serve(load: Callable[[], Settings]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    events: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, frame: FrameType | None) -> None:
        events.put(number)  # SimpleQueue is safe to use in a signal handler, a lock is not

    _share_memory()
    threading.stack_size(STACK_BYTES)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    service = Service(load)
    web = service.settings.web
    access = Access(web.config.file, partial(service.reloads.note, "web config file"))
    host, port = web.address
    try:
        server = Server((host, port), App(service.scraper, pages(service), access))
    except OSError as error:
        log.error("cannot listen on %s:%d: %s; choose another with --web.listen", host, port, error.strerror)
        return 1
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="web", daemon=True
    ).start()
    where = f"{access.gate.scheme}://{host}:{server.port}/metrics"
    log.info("mlflow-exporter %s serves %s, %s", __version__, where, access.gate)
    if service.found:
        log.info("tracking server found: %s", describe(service.found))
    ends = (int(signal.SIGTERM), int(signal.SIGINT))
    while (event := _next_event(events)) not in ends:
        if event == signal.SIGHUP:
            service.reload()
            access.reload(service.settings.web.config.file)
            set_level(service.settings.log.level)
            if service.settings.web.address != (host, port):
                log.warning("web.listen changes with a restart only; still serving %s:%d", host, port)
        else:
            service.look()
            access.look()
    log.info("stopping")
    server.stop(grace=1.0)
    service.close()
    return 0


def _next_event(events: queue.SimpleQueue[int]) -> int | None:
    try:
        return events.get(timeout=LOOK_SECONDS)
    except queue.Empty:
        return None
