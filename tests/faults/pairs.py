"""Two causes at once: both are named, and each by its own fix is gone."""

from __future__ import annotations

from tests.faults import (
    Fault,
    Lab,
    Needs,
    database_indexes,
    logging_pattern,
    network_latency,
    server_resources,
)


def both(first: Fault, second: Fault, needs: Needs, within: float = 240.0) -> Fault:
    """Return the fault that makes one after the other, and fixes them in the same order."""

    def make(lab: Lab) -> None:
        first.make(lab)
        second.make(lab)

    def fix(lab: Lab) -> None:
        first.fix(lab)
        second.fix(lab)

    return Fault(
        f"{first.cause}+{second.cause}",
        f"{first.name}, {second.name}",
        first.delivers | second.delivers,
        make,
        fix,
        needs,
        first.shows | second.shows,
        first.stays | second.stays,
        within,
    )


def _named(faults: tuple[Fault, ...], name: str) -> Fault:
    (found,) = (fault for fault in faults if fault.name == name)
    return found


FAULTS = (
    both(
        _named(database_indexes.FAULTS, "no runs index"),
        _named(logging_pattern.FAULTS, "points one by one"),
        Needs(data="million"),
    ),
    both(
        _named(network_latency.FAULTS, "database 40 ms away"),
        _named(server_resources.FAULTS, "memory near its limit"),
        Needs(proxy="database", groups=frozenset({"mlflow"})),
    ),
)
