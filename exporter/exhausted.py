"""What the exporter itself has run out of: such an error says nothing of what is being watched."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from contextlib import suppress

from exporter.collector import Reason, SourceError

log = logging.getLogger(__name__)

# How long a thread that ran out of memory waits for some.
SHORT_SECONDS = 0.1

# What it is, and what mends it.
DESCRIPTORS = (
    "the exporter has no file descriptor left",
    "Raise the exporter's limit of open files: LimitNOFILE= of its unit, or ulimit -n.",
)
FILES = ("this machine has no open file left", "Find who holds them (lsof), or raise fs.file-max.")
MEMORY = (
    "the exporter has no memory left",
    "Raise the exporter's memory limit: MemoryMax= of its unit, or its container's.",
)
THREADS = (
    "the exporter can start no thread",
    "Raise the limit of tasks: TasksMax= of the exporter's unit, or ulimit -u of its user.",
)
ERRNOS = {errno.EMFILE: DESCRIPTORS, errno.ENFILE: FILES, errno.ENOMEM: MEMORY}


def exhausted(error: BaseException) -> SourceError | None:
    """Return what has run out, where that and not the watched is why the error came; else None."""
    match error:
        case SourceError(reason=Reason.EXHAUSTED):
            return error
        case MemoryError():
            return SourceError(Reason.EXHAUSTED, *MEMORY)
        case RuntimeError() if "start new thread" in str(error):
            return SourceError(Reason.EXHAUSTED, *THREADS)
        case socket.gaierror():
            return without_descriptor()  # the resolver says no more than that it failed
        case OSError() if error.errno in ERRNOS:
            return SourceError(Reason.EXHAUSTED, *ERRNOS[error.errno])
    return None


def without_descriptor() -> SourceError | None:
    """Ask the kernel whether a descriptor can be had, for libraries that do not say why they could open nothing."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return exhausted(error)
    return None


def unless_ours(error: OSError) -> None:
    """Raise the error again where it is about us, so that nobody takes it for the absence of what was read."""
    if error.errno in ERRNOS:
        raise error


class Shortage:
    """Log that requests are refused for want of something of our own: the first, and how many at the next scrape.

    What the log itself needs may be wanting too: then that goes unsaid, and costs no answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused = 0
        self._error: SourceError | None = None

    def refused(self, error: SourceError) -> None:
        with self._lock:
            self._refused += 1
            first, self._error = self._error is None, error
        if first:
            with suppress(MemoryError):
                log.warning("requests are refused: %s. Remedy: %s", error.detail, error.remedy)

    def over(self) -> None:
        with self._lock:
            refused, error = self._refused, self._error
            self._refused, self._error = 0, None
        if error is not None:
            with suppress(MemoryError):
                log.warning("requests refused: %d: %s. Remedy: %s", refused, error.detail, error.remedy)
