"""Postgres' binary values, of the types that our queries give.

Taken apart here and not by psycopg, which trusts the lengths that a server sends: an integer without bytes was read
from the memory behind it, and an array that claims 2**31 members ended the process (measured, 3.3.9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from struct import error, unpack, unpack_from

from psycopg.pq.abc import PGresult

from exporter.collector import Reason, SourceError

Row = Mapping[str, object]

# No query of ours has a tenth of either: a value, and a character, can take more memory here than on the wire.
MOST_VALUES = 200_000
MOST_BYTES = 16 << 20
LONG = 1_000


def _text(value: bytes) -> str:
    # A name is as its database wrote it, a text as its session did: ours may have another encoding. Names stay
    # distinct; a long text must not take four times its length.
    return value.decode("utf-8", "backslashreplace" if len(value) < LONG else "replace")


def _texts(value: bytes) -> list[str]:
    """Read an array of texts of one dimension, without NULLs."""
    if unpack_from(">I", value) == (0,):
        return []
    dimensions, nulls, kind, count, _ = unpack_from(">5I", value)
    if (dimensions, nulls, kind) != (1, 0, 25) or count > len(value):
        raise error
    found, at = [], 20
    for _ in range(count):
        (length,) = unpack_from(">I", value, at)
        found.append(_text(value[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


# By the number of the type in pg_type: numbers as `struct` has them, and what is of any length.
NUMBERS = {16: "?", 20: "q", 21: "h", 23: "i", 701: "d"}  # bool, int8, int2, int4, float8
TEXTS: dict[int, Callable[[bytes], object]] = {17: bytes, 25: _text, 1009: _texts}  # bytea, text, text[]


def rows(result: PGresult, query: str) -> list[Row]:
    """Return the rows by column; raises SourceError `bad_answer` for what Postgres would not have sent."""
    count, width = result.ntuples, result.nfields
    if count * width > MOST_VALUES:
        raise SourceError(Reason.BAD_ANSWER, f"{query}: {count} rows of {width} columns are no answer to it")
    names = [_text(result.fname(column) or b"") for column in range(width)]
    left, columns = MOST_BYTES, []
    try:
        for column in range(width):
            values = [result.get_value(row, column) for row in range(count)]
            there = [value for value in values if value is not None]
            left -= sum(map(len, there))
            if left < 0:
                raise SourceError(Reason.BAD_ANSWER, f"{query}: an answer to it is never so large")
            read = _read(result.ftype(column), there)
            columns.append([None if value is None else next(read) for value in values])
    except (KeyError, error):
        raise SourceError(Reason.BAD_ANSWER, f"{query}: values of a type that was not asked for") from None
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _read(kind: int, values: list[bytes]) -> Iterator[object]:
    if form := NUMBERS.get(kind):
        return iter(unpack(f">{len(values)}{form}", b"".join(values)))
    return map(TEXTS[kind], values)
