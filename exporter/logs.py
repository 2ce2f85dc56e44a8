"""Log lines: logfmt-like, on standard error, and without a password whatever happens."""

from __future__ import annotations

import logging
import re

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
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


class Formatter(logging.Formatter):
    """Redact the whole line, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        # Line breaks are ours, between a message and its traceback.
        return "\n".join(map(harmless, redacted(super().format(record)).split("\n")))


def set_up(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    # These log every request, with its URL, at debug, and malformed headers as a warning: noise for us, and somebody's
    # secrets for all we know.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def set_level(level: str) -> None:
    logging.getLogger().setLevel(level.upper())
