"""`mlflow-exporter serve`: the process from its start to SIGTERM."""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from types import FrameType

from exporter import __version__
from exporter.access import Access
from exporter.connections import Server
from exporter.exhausted import exhausted
from exporter.logs import set_level
from exporter.service import Service, describe
from exporter.settings import Settings
from exporter.status import pages
from exporter.web import App

log = logging.getLogger(__name__)

# How soon a server that restarts, or moves to another database, is followed; a look costs about a millisecond.
LOOK_SECONDS = 2.0
# How long a scrape under way may go on after SIGTERM, before it answers with what it has.
GRACE_SECONDS = 1.0
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of glibc's malloc.h
LARGE_BYTES = 64 << 10
SPARE_BYTES = 1 << 20
# Of each thread; usual are 8 MiB, which count against every limit of memory although they are never used. With 1 MiB a
# text of nested brackets ended the process: Python 3.13 parses JSON 10,000 levels deep.
STACK_BYTES = 4 << 20
ENDS = (int(signal.SIGTERM), int(signal.SIGINT))


def _share_memory() -> None:
    """Have all threads allocate from one arena, and what is large from the system, where the C library is glibc.

    It would give them up to eight arenas a core, each of which keeps the most it ever needed: 62 MiB resident after
    1,000 scrapes instead of 56. Threads rarely allocate at the same time here, as they share the interpreter's lock.
    An answer of Postgres or to Prometheus leaves no hole then: 0.3 MiB, for no CPU that could be measured.
    """
    with suppress(OSError, AttributeError):  # another C library has no mallopt
        _libc().mallopt(M_ARENA_MAX, 1)
        _libc().mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back_memory() -> None:
    """Return to the system what is free between what is in use, where the C library is glibc, in 0.3 ms.

    It would keep that: 3 MiB of 58 with 5,000 statements. The end of its heap, which it cuts itself, is what the next
    scrape takes: it stays, so that nobody has to ask for it where memory is short.
    """
    with suppress(OSError, AttributeError):
        _libc().malloc_trim(SPARE_BYTES)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def serve(load: Callable[[], Settings]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    try:
        return _serve(load)
    except (OSError, RuntimeError, MemoryError) as error:
        if ours := exhausted(error):
            log.error("cannot start: %s. Remedy: %s", ours.detail, ours.remedy)
            return 1
        raise


def _serve(load: Callable[[], Settings]) -> int:
    events: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, frame: FrameType | None) -> None:
        events.put(number)  # SimpleQueue is safe to use in a signal handler, a lock is not

    _share_memory()
    threading.stack_size(STACK_BYTES)
    _take_standard_streams()
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
    threading.Thread(target=server.run, name="web", daemon=True).start()
    where = f"{access.gate.scheme}://{host}:{server.port}/metrics"
    log.info("mlflow-exporter %s serves %s, %s", __version__, where, access.gate)
    if service.found:
        log.info("tracking server found: %s", describe(service.found))
    _tell_ready()
    _follow(service, access, events)
    log.info("stopping")
    if not server.stop(grace=GRACE_SECONDS):
        service.scraper.hurry()
        server.drain(GRACE_SECONDS / 2)
    service.close()
    return 0


def _tell_ready() -> None:
    """Tell systemd that requests are answered and signals are taken, where it waits for that."""
    # Taken out, as a command that is run for a password has nothing to tell.
    if not (address := os.environ.pop("NOTIFY_SOCKET", "")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", address)
    except OSError as error:
        log.warning("cannot tell systemd that we are up, so it may end us: %s", error.strerror or error)


def _follow(service: Service, access: Access, events: queue.SimpleQueue[int]) -> None:
    """Keep up with the tracking server, and with the files at SIGHUP, until SIGTERM or SIGINT."""
    said, serving, due = "", service.settings.web.address, False
    while (event := _next_event(events)) not in ENDS:
        give_back_memory()
        due = due or event == signal.SIGHUP
        try:
            if due:
                service.reload()
                access.reload(service.settings.web.config.file)
                set_level(service.settings.log.level)
                if service.settings.web.address != serving:
                    log.warning("web.listen changes with a restart only; still serving %s:%d", *serving)
                due = False
            else:
                service.look()
                access.look()
            said = ""
        except Exception as error:  # the old plan stays in force, and the next look tries again
            ours = exhausted(error)
            what = f"{ours.detail}. Remedy: {ours.remedy}" if ours else type(error).__name__
            if what != said:
                act = "read the settings again" if due else "look for the tracking server"
                log.error("cannot %s: %s", act, what, exc_info=None if ours else error)
            said = what


def _next_event(events: queue.SimpleQueue[int]) -> int | None:
    """Return the next signal, None where there is none for a while; of several that wait, the one that ends."""
    try:
        waiting = [events.get(timeout=LOOK_SECONDS)]
    except queue.Empty:
        return None
    while not events.empty():  # a storm of SIGHUP is one reload
        waiting.append(events.get())
    return next((number for number in waiting if number in ENDS), waiting[0])


def _take_standard_streams() -> None:
    """Take the descriptors 0 to 2 where we were started without.

    Whatever is opened next would get them, a connection to the database for one, and libraries write their
    complaints to 2.
    """
    while (taken := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(taken, True)
    os.close(taken)
