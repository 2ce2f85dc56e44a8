"""Ends a connection whose server sends without end: libpq keeps whatever arrives in memory, asked for or not.

libpq has no limit of its own, neither for a message (one that claims a gigabyte is waited for, and all of it is read
in one call that holds the interpreter's lock: 1.6 s, measured) nor for rows, notices and notifications. So what is
limited is what a call may allocate, and what a reading adds to this process.
"""

from __future__ import annotations

import os
import resource
import threading
from contextlib import suppress
from functools import cache
from types import TracebackType

from exporter.collector import Reason, SourceError

# Of one call, and of the process during a reading, in which other sources may be read at the same time. A reading's own
# answers have half a MB, with new texts one more; of 100,000 statements 9.
CALL_BYTES = 24 << 20
READING_BYTES = 64 << 20

PAGE = os.sysconf("SC_PAGESIZE")

# The limit is the process's: whoever set it takes it back before another sets it. Nobody waits for a server meanwhile.
_setting = threading.Lock()
USUAL = resource.getrlimit(resource.RLIMIT_DATA)


class Flood:
    """Guard calls of libpq: `with flood:` around each that may take in what has arrived.

    Raises SourceError `bad_answer` before a call where the reading has grown too large, and after one that ran out
    of what it may allocate. Safe for several threads, each with its own.
    """

    def __init__(self) -> None:
        self._before = _sizes()[0]

    def ebb(self) -> None:
        """Begin a reading: what was allocated before it does not count."""
        self._before = _sizes()[0]

    def __enter__(self) -> None:
        _setting.acquire()
        try:
            resident, data = _sizes()
            if resident - self._before > READING_BYTES:
                raise too_much()
            _limit(None if data is None else data + CALL_BYTES)
        except BaseException:
            _setting.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            _limit(None)
        finally:
            _setting.release()
        if isinstance(error, MemoryError):
            raise too_much() from None
        explained(str(error))


def explained(message: str) -> str:
    """Return libpq's message; raises SourceError where it means that it may not allocate more."""
    if "cannot allocate memory" in message:
        raise too_much() from None
    return message


def too_much() -> SourceError:
    return SourceError(
        Reason.BAD_ANSWER, f"the server sends more than {CALL_BYTES >> 20} MB, which no answer to us has"
    )


def _limit(data: int | None) -> None:
    soft, hard = USUAL
    if data is not None and (soft == resource.RLIM_INFINITY or data < soft):
        soft = data
    # Where a sandbox forbids it, a reading's size is what is left to go by.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _sizes() -> tuple[int, int | None]:
    """Return the bytes that are resident, and those that RLIMIT_DATA counts; None where they are not told."""
    if (file := _statm()) < 0:
        return 0, None
    words = os.pread(file, 200, 0).split()
    return int(words[1]) * PAGE, int(words[5]) * PAGE


@cache
def _statm() -> int:
    """Keep the file open, as it is read some sixty times a scrape, also where no descriptor is left."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
