"""Log lines: logfmt-like, on standard error, and without a password whatever happens."""

from __future__ import annotations

import logging
import re

# A URI with a password, and key=value strings: the messages of libraries are not ours to trust.
SECRETS = (
    (re.compile(r"(\w://[^\s/:@]*):[^\s/]+@"), r"\1:***@"),
    (
        re.compile(
            r"(\b(?:password|passwd|pwd|token|sslpassword)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&']+)", re.IGNORECASE
        ),
        r"\1***",
    ),
)


def redacted(text: str) -> str:
    """Return the text with whatever looks like a password in a URI or a DSN replaced by `***`."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


class Formatter(logging.Formatter):
    """Redact the whole line, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def set_up(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    # These log every request, with its URL, at debug: noise for us, and somebody's secrets for all we know.
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    logging.getLogger().setLevel(level.upper())
