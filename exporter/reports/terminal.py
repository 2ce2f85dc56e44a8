"""Text for a terminal of 80 columns; what others have written is made harmless."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO

from exporter.logs import harmless

COLUMNS = 80

# A text and what it says: one of COLOURS, or anything else for none.
Paint = Callable[[str, str], str]
COLOURS = {"critical": "1;31", "warning": "1;33", "pending": "33", "heading": "1"}


def painter(out: TextIO) -> Paint:
    """Return what colours a text where `out` is a terminal that shall have colours (no-color.org)."""
    if not out.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return plain
    return lambda text, kind: f"\x1b[{COLOURS[kind]}m{text}\x1b[0m" if kind in COLOURS else text


def plain(text: str, kind: str) -> str:
    return text


def printable(text: object, longest: int = 200) -> str:
    """Return it with what could steer a terminal (escapes, right-to-left marks, line ends) spelt out, cut."""
    spelt = harmless(("" if text is None else str(text))[: longest + 1])
    return spelt if len(spelt) <= longest else spelt[: longest - 1] + "…"


def paragraph(text: str, indent: int = 2, label: str = "") -> Iterator[str]:
    """Give lines that are indented; a label stands before the first, in the indent."""
    space = " " * indent
    yield from textwrap.wrap(
        harmless(" ".join(text.split())),
        COLUMNS,
        initial_indent=f"  {label}".ljust(indent) if label else space,
        subsequent_indent=space,
        break_on_hyphens=False,
        break_long_words=False,
    )


def statement(text: str, indent: int = 4) -> Iterator[str]:
    """Give SQL to be copied; a line with a comment or a setting stays whole."""
    for line in map(harmless, text.splitlines()):
        if "--" in line or not line.endswith(";"):
            yield " " * indent + line
        else:
            space = " " * indent
            yield from textwrap.wrap(
                line, COLUMNS, initial_indent=space, subsequent_indent=f"{space}  ", break_long_words=False
            )


def table(
    heads: Sequence[str], widths: Sequence[int], rows: Iterable[Sequence[object]], indent: int = 2
) -> Iterator[str]:
    """Give a line a row; a negative width is for numbers, which stand to the right."""
    for row in (heads, *rows):
        cells = (
            f"{printable(cell, abs(width)):{'>' if width < 0 else '<'}{abs(width)}}"
            for cell, width in zip(row, widths, strict=True)
        )
        yield (" " * indent + " ".join(cells)).rstrip()


def size(count: float) -> str:
    """Return bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1024 or unit == "GB":
            break
        count /= 1024
    return f"{count:.0f} {unit}"


def duration(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds >= 10
        else f"{seconds * 1000:.3g} ms"
        if seconds < 1
        else f"{seconds:.2f} s"
    )
