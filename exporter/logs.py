"""Log lines: logfmt-like, on standard error, and without a password whatever happens."""

from __future__ import annotations

import logging
import re

# A URI with a password, and key=value strings: the messages of libraries are not ours to trust.
# What a terminal would act on, and what would make one line two: texts may come from other users' processes.
# The marks turn the direction of writing, so that a text looks like another; a lone surrogate can be written nowhere.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

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


def printable(text: str, longest: int | None = None) -> str:
    """Return the text as one line without control characters, each of which shows as its escape; cut at `longest`."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return _escaped(text.replace("\n", "\\n").replace("\t", " "))


def _escaped(text: str) -> str:
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class Formatter(logging.Formatter):
    """Redact the whole record, its traceback included; only its first line begins at the margin, as a record does."""

    def format(self, record: logging.LogRecord) -> str:
        return _escaped(redacted(super().format(record))).replace("\n", "\n  ")


def set_up(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    # These log every request, with its URL, at debug: noise for us, and somebody's secrets for all we know.
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    logging.getLogger().setLevel(level.upper())
