"""Log lines: logfmt-like, on standard error, without a password and without waiting, whatever happens."""

from __future__ import annotations

import logging
import os
import re
import select
from contextlib import suppress

STANDARD_ERROR = 2

# A value in quotes ends where the same quote, escaped as often, stands before what is no part of it; without an end it
# is all the rest. Without quotes it ends at a blank, as libpq reads it, but for one after a backslash.
VALUE = r"""(?:(?P<quote>\\*["'])(?:.*?(?<!\\)(?P=quote)(?=[\s,;:)\]}>"'\\]|\Z)|.*)|(?:[^\s\\]|\\+.)+)"""

# A URI with a password, and key=value strings: the messages of libraries are not ours to trust.
SECRETS = (
    (re.compile(r"(\w://[^\s/:@]*):\S+@"), r"\1:***@"),
    (re.compile(r"(\bBearer )\S+"), r"\1***"),
    (
        re.compile(
            rf"""((?:password|passwd|pwd|token|secret)\\*["']?\s*[=:]\s*){VALUE}""", re.IGNORECASE | re.DOTALL
        ),
        r"\1***",
    ),
)


def redacted(text: str) -> str:
    """Return the text with whatever looks like a password in a URI or a DSN replaced by `***`."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def harmless(text: str) -> str:
    """Return one line: what could steer a terminal (escapes, right-to-left marks, line ends) is spelt out.

    Texts may come from other users' processes.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


class Formatter(logging.Formatter):
    """Redact the whole record, its traceback included; only its first line begins at the margin, as a record does."""

    def format(self, record: logging.LogRecord) -> str:
        # Whoever puts a line break into a message gets no record of his own for it.
        return "\n  ".join(map(harmless, redacted(super().format(record)).split("\n")))


class StandardError(logging.Handler):
    """Write to standard error, and never wait for whoever reads it: what finds no room is lost, and counted.

    A terminal that was halted or a collector of logs that hangs would otherwise halt each thread that logs, and
    with them the scrapes. A disk that is full or a pipe without a reader costs the line as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        told = f"({self._lost} lines before this one are lost)\n" if self._lost else ""
        with suppress(Exception):  # there is nowhere left to tell it
            text = (told + self.format(record) + "\n").encode(errors="backslashreplace")
            self._lost = 0 if _written(text) else self._lost + 1


def _written(text: bytes) -> bool:
    """Write as long as there is room."""
    room = select.poll()
    room.register(STANDARD_ERROR, select.POLLOUT)
    try:
        while text and room.poll(0):
            text = text[os.write(STANDARD_ERROR, text[: select.PIPE_BUF]) :]  # so much a pipe with room takes
    except OSError:
        return False
    return not text


def set_up(level: str) -> None:
    handler = StandardError()
    handler.setFormatter(Formatter("%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    # These log every request, with its URL, at debug, and malformed headers as a warning: noise for us, and somebody's
    # secrets for all we know.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def set_level(level: str) -> None:
    logging.getLogger().setLevel(level.upper())
