"""The SQL, one query a file: `locks.sql`, and `locks.from_14.sql` where major 14 needs another text.

The variant with the greatest version not above the server's is used; a query whose least variant is above it
does not exist on that server and has no rows there.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

# By this our own statements are known in pg_stat_statements, and by a DBA. Behind the first word, since Postgres 18
# stores none of the comments before it.
MARK = b" /* mlflow-exporter */"
FIRST_WORD = re.compile(rb"\A(?:--[^\n]*\n|\s)*\w+")


@cache
def variants() -> dict[str, tuple[tuple[int, str], ...]]:
    """Return for each query its (least major, file name) pairs in rising order."""
    found: dict[str, list[tuple[int, str]]] = {}
    for file in files(__name__).iterdir():
        if file.name.endswith(".sql"):
            stem, _, version = file.name.removesuffix(".sql").partition(".from_")
            found.setdefault(stem, []).append((int(version or 0), file.name))
    return {name: tuple(sorted(pairs)) for name, pairs in found.items()}


@cache
def sql(name: str, major: int) -> bytes | None:
    """Return the text for a server of that major version, None where it has no such query.

    Raises KeyError for a name without a file.
    """
    fitting = [file for least, file in variants()[name] if least <= major]
    if not fitting:
        return None
    text = files(__name__).joinpath(fitting[-1]).read_bytes()
    return FIRST_WORD.sub(lambda found: found[0] + MARK, text)
