"""The settings taken together: which level wins, which keys exclude or need each other, which files exist."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from exporter.settings.leaf import OF_FILES, Given, did_you_mean, fault, near

PASSWORDS = ("database.password", "database.password_file", "database.password_command")
# By basic auth, or by a bearer token, at each server that is asked over HTTP.
LOGINS = tuple(
    (
        (f"{section}.username", f"{section}.password", f"{section}.password_file"),
        (f"{section}.token", f"{section}.token_file"),
    )
    for section in ("server", "prometheus")
)
EXCLUSIVE = (
    *(pair for basic, bearer in LOGINS for pair in (basic[1:], bearer, *itertools.product(basic, bearer))),
    ("database.dsn", "database.dsn_file"),
    *itertools.combinations(PASSWORDS, 2),
)


def merge(*levels: Mapping[str, Given]) -> dict[str, Given]:
    """Return what holds when each level goes before those to its left: a key ousts its alternatives too."""
    kept: dict[str, Given] = {}
    for level in levels:
        ousted = {other for pair in EXCLUSIVE for key, other in itertools.permutations(pair) if key in level}
        kept = {path: given for path, given in kept.items() if path not in ousted} | dict(level)
    return kept


def faults_together(
    given: Mapping[str, Given], defaults: Mapping[str, object], collectors: Collection[str] | None
) -> Iterator[str]:
    """Yield the faults that no key has alone; a key that was refused already makes none here."""
    yield from _exclusive(given)
    yield from _incomplete(given)
    yield from _slow_probes(given, defaults)
    yield from _unknown_collectors(given, collectors)
    for path, (where, value) in given.items():
        if path.endswith(OF_FILES) and isinstance(value, str) and value:
            yield from unreadable(where, Path(value))


def _exclusive(given: Mapping[str, Given]) -> Iterator[str]:
    for first, second in EXCLUSIVE:
        if first in given and second in given:
            yield fault(given[second].where, f"beside {first}", "one of the two")


def _incomplete(given: Mapping[str, Given]) -> Iterator[str]:
    for (username, *passwords), bearer in LOGINS:
        if any(path in given for path in bearer):
            continue  # told already
        if username in given and not any(path in given for path in passwords):
            yield fault(given[username].where, "alone", f"with {' or '.join(passwords)}")
        for path in passwords:
            if path in given and username not in given:
                yield fault(given[path].where, "alone", f"with {username}")


def _slow_probes(given: Mapping[str, Given], defaults: Mapping[str, object]) -> Iterator[str]:
    # An attempt that outlasts the interval delays the next one, and no figure would show it.
    timeout, interval = (
        given[path].value if path in given else defaults[path]
        for path in ("probes.timeout", "probes.interval")
    )
    if isinstance(timeout, float) and isinstance(interval, float) and timeout > interval:
        told = "probes.timeout" if "probes.timeout" in given else "probes.interval"
        found = f"a timeout of {timeout:g} and an interval of {interval:g} seconds"
        yield fault(given[told].where, found, "a timeout of at most the interval")


def _unknown_collectors(given: Mapping[str, Given], known: Collection[str] | None) -> Iterator[str]:
    where, names = given.get("collectors", Given("", ()))
    assert isinstance(names, tuple | None)
    for index, name in enumerate(names or ()):
        if known is not None and name not in known:
            yield fault(where, repr(name), ", ".join(sorted(known)), did_you_mean(near(name, known)))
        elif name in (names or ())[:index]:
            yield fault(where, f"{name!r} twice", "each collector once")


def unreadable(where: str, path: Path) -> Iterator[str]:
    """Yield the fault of a file that cannot be read."""
    # Not opened: a pipe would block, and what can be read only once must be left to who needs it.
    try:
        there = path.exists()
    except OSError as error:  # a directory before it is closed to us
        yield fault(where, f"'{path}': {error.strerror}", "a file that our user can read")
        return
    if not there:
        yield fault(where, f"'{path}', which does not exist", "a file")
    elif path.is_dir():
        yield fault(where, f"'{path}', which is a directory", "a file")
    elif not os.access(path, os.R_OK):
        yield fault(where, f"'{path}', which we may not read", "a file that our user can read")
