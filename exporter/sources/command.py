"""Runs a command for what it prints, a password: in bounded time, with bounded memory, and never with our limits."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import time
from contextlib import suppress

from exporter.sources import flood

# A vault that is out of reach must not hang the thread that reads the database.
SECONDS = 5.0
# Of a password; a command that prints without end would fill our memory.
LONGEST = 65_536


class TooLongError(subprocess.SubprocessError):
    """The command printed more than LONGEST bytes."""


def output(command: tuple[str, ...]) -> str:
    """Return what the command prints; it is killed where that takes too long or is too much.

    Raises OSError, UnicodeDecodeError and subprocess.SubprocessError.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        try:
            # What an answer under way may allocate at this moment is no limit for a child, which would keep it.
            with suppress(OSError):
                resource.prlimit(process.pid, resource.RLIMIT_DATA, flood.USUAL)
            text = _read(process, time.monotonic() + SECONDS)
            process.wait(SECONDS)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[0])
    return text.decode()


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    text = b""
    while len(text) <= LONGEST:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise subprocess.TimeoutExpired(process.args, SECONDS)
        if not (more := os.read(process.stdout.fileno(), LONGEST)):
            return text
        text += more
    raise TooLongError
