"""What else the text of a statement tells: which driver wrote it, and the part of it that may be shown."""

from __future__ import annotations

import re

from exporter.logs import harmless
from exporter.statements import Statement

# A text is taken apart no further than the first, and shown no further than the second.
LOOKED_AT = 400
SHOWN = 120

# Tables whose statements always have parameters of text: SQLAlchemy casts each of them for psycopg 3, and none
# for psycopg2. Elsewhere there are texts written by hand, or without a parameter in what is read of them.
RUN_TABLES = frozenset(("runs", "metrics", "latest_metrics", "params", "tags"))
CAST = re.compile(r"\$\d+::VARCHAR\b")
BARE = re.compile(r"(?: = |\()\$\d++(?!:)")

# Postgres replaces constants by parameters, but not in other commands than SELECT, INSERT and the like, and not in
# the text of a statement that was pushed out while it ran. What cannot be told apart for sure ends the text: a
# backslash in a literal (it escapes or not, by a setting), text between dollars, a comment in a comment.
# No possessive repetition of an alternative that looks ahead: Python 3.11.2's finds nothing.
TOKENS = re.compile(
    r"""(?P<end>(?:\b(?:[EBXN]|U&))?'(?:[^'\\]|'')*+\\|\$(?!\d)\w*\$|/\*(?:[^*/]|\*(?!/)|/(?!\*))*/\*)"""
    r"""|(?P<literal>(?:\b(?:[EBXN]|U&))?'(?:[^'\\]|'')*+(?:'|\Z)|(?<![\w$."])(?:\d|\.\d)[\w.]*+)"""
    r"""|(?P<comment>--[^\n]*+|/\*(?:[^*/]|\*(?!/)|/(?!\*))*(?:\*/|\Z))"""
    r"""|"(?:[^"]|"")*+"?""",
    re.IGNORECASE,
)

# What is set may be a word without quotes, or one in double quotes, and still a secret of the application.
SET = re.compile(r"^(\s*SET\s+(?:SESSION\s+|LOCAL\s+)?[\w.]+)\s*(?:=|\bTO\b).*", re.IGNORECASE | re.DOTALL)


def driver(text: str, statement: Statement) -> str:
    """Return `psycopg3` or `psycopg2` where a statement's text shows it, else the empty string."""
    if statement.table not in RUN_TABLES:
        return ""
    if CAST.search(text):
        return "psycopg3"
    return "psycopg2" if BARE.search(text) else ""


def shown(text: str) -> str:
    """Return the start of a statement's text in one line, without any literal or comment; `?` is for a literal."""
    text = SET.sub(r"\1 = ?", text[:LOOKED_AT])
    end = next((token.start() for token in TOKENS.finditer(text) if token["end"]), len(text))
    bare = TOKENS.sub(
        lambda token: "?" if token["literal"] else " " if token["comment"] else token[0], text[:end]
    )
    line = harmless(" ".join(bare.split()))
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
