"""Log lines: logfmt-like, on standard error, and without a password whatever happens."""

from __future__ import annotations

import logging
import re

# A URI with a password, and key=value strings: the messages of libraries are not ours to trust.
# What a terminal would act on, and what would make one line two: texts may come from other users' processes.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

SECRETS = (
    (re.compile(r"(\w://[^\s/:@]*):\S+@"), r"\1:***@"),
    (re.compile(r"(\bBearer )\S+"), r"\1***"),
    (
        re.compile(
            r"((?:password|passwd|pwd|token)[\"']?\s*[=:]\s*)('(?:[^'\\]|\\.)*'|[^\s&']+)", re.IGNORECASE
        ),
        r"\1***",
    ),
)


def redacted(text: str) -> str:
    """Return the text with whatever looks like a password in a URI or a DSN replaced by `***`."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def printable(text: str) -> str:
    """Return the text as one line without control characters, each of which shows as its escape."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text.replace("\n", "\\n").replace("\t", " "))


class Formatter(logging.Formatter):
    """Redact the whole line, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        # Line breaks are ours, between a message and its traceback.
        return CONTROL.sub(lambda found: repr(found[0])[1:-1], redacted(super().format(record)))


def set_up(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    # These log every request, with its URL, at debug: noise for us, and somebody's secrets for all we know.
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    logging.getLogger().setLevel(level.upper())
