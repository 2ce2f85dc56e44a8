"""What MLflow's schema should have: the indexes that its own migrations make, from MLflow 2.10 on.

`indexes.json` holds them for each Alembic revision; `tests/lab/catalogue.py` makes it from MLflow's migrations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("indexes.json")


class Index(NamedTuple):
    """What an index is, whatever its name; an expression stands among the columns as Postgres writes it."""

    table: str
    columns: tuple[str, ...]
    unique: bool
    partial: bool


class Entry(NamedTuple):
    """An index from the revision that makes it to the one that drops it; `until` is empty while none does."""

    definition: Index
    since: str
    until: str


class Catalogue(NamedTuple):
    """Revisions in their order, each with the first release that ends there (empty between two), and indexes."""

    revisions: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]

    def release(self, revision: str) -> str | None:
        """Return the first MLflow release with that schema, "" for one between two; None where it is unknown."""
        return dict(self.revisions).get(revision)

    def expected(self, revision: str) -> tuple[Index, ...]:
        """Return the indexes that a database of that revision should have; none where it is unknown."""
        position = {one: number for number, (one, _) in enumerate(self.revisions)}
        if revision not in position:
            return ()
        return tuple(
            index
            for index, since, until in self.entries
            if position[since] <= position[revision] and (not until or position[revision] < position[until])
        )

    def tables(self) -> list[str]:
        """Return all tables with an entry."""
        return sorted({index.table for index, _, _ in self.entries})


class Found(NamedTuple):
    """An index that a database has. `building`: not valid because CREATE INDEX CONCURRENTLY is at work."""

    definition: Index
    name: str
    covering: bool
    valid: bool
    building: bool
    bytes: int


class Audit(NamedTuple):
    """What is wrong with a database's indexes; `redundant` holds none that MLflow's migrations make."""

    missing: list[Index]
    invalid: list[Found]
    redundant: list[Found]


@cache
def catalogue() -> Catalogue:
    """Return what is known of all revisions."""
    data: Any = json.loads(FILE.read_text(encoding="utf-8"))
    return Catalogue(
        tuple((revision, release) for revision, release in data["revisions"]),
        tuple(Entry(_index(one), one["since"], one["until"]) for one in data["indexes"]),
    )


def found(row: Mapping[str, Any]) -> Found:
    """Take a row of the query `schema`."""
    return Found(_index(row), row["name"], row["covering"], row["valid"], row["building"], int(row["bytes"]))


def audit(present: Iterable[Found], expected: Iterable[Index]) -> Audit:
    """Compare what a database has with what it should have.

    An expected index of which only an invalid one is there is invalid, not missing.
    """
    there, wanted = list(present), list(expected)
    valid = [one for one in there if one.valid]
    return Audit(
        [index for index in wanted if not any(serves(one.definition, index) for one in there)],
        [one for one in there if not one.valid and not one.building],
        [one for one in valid if _redundant(one, valid, wanted)],
    )


def searches_runs(one: Found) -> bool:
    """Say whether a search in one experiment can use it: any valid index of runs that begins with the experiment."""
    return (
        one.valid
        and one.definition.table == "runs"
        and one.definition.columns[0] == "experiment_id"
        and not one.definition.partial
    )


def serves(one: Index, wanted: Index) -> bool:
    """Say whether an index does what another one is there for: a longer one can stand for one that is not unique."""
    return (
        one.table == wanted.table
        and (one.columns == wanted.columns if wanted.unique else _begins(one, wanted))
        and (one.unique or not wanted.unique)
        and one.partial == wanted.partial
    )


def _redundant(one: Found, valid: list[Found], expected: list[Index]) -> bool:
    """Say whether another index does all that this one does, which is not MLflow's own."""
    index = one.definition
    if index.unique or index.partial or one.covering:
        return False
    twins = [
        other
        for other in valid
        if other.definition.columns == index.columns and serves(other.definition, index)
    ]
    if one is not min(twins, key=lambda twin: (not twin.definition.unique, twin.name)):
        return True
    return index not in expected and any(
        serves(other.definition, index) and other.definition.columns != index.columns for other in valid
    )


def _begins(one: Index, wanted: Index) -> bool:
    return one.columns[: len(wanted.columns)] == wanted.columns


def _index(row: Mapping[str, Any]) -> Index:
    return Index(row["table"], tuple(row["columns"]), row["unique"], row["partial"])
