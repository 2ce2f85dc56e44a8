"""The fault lab: each cause made to happen on a real tracking server, delivered as itself, resolved by its fix.

`tests/faults/<slug with _>.py` has the FAULTS of one cause; `python -m tests.faults` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.lab.needs import Needs
from tests.lab.stack import Lab

__all__ = ["Fault", "Lab", "Needs"]


@dataclass(frozen=True)
class Fault:
    """One way for a cause to happen.

    `make` returns once it has begun; `fix` does what the runbook's own fix says. Both run while the stack does,
    with the background load on. `delivers` are the alerts that people must get, `shows` those that only have to
    fire (findings, and what another alert silences), and `stays` those of them that the fix leaves. Other alerts
    of this cause may come too. `within` is the most seconds, in time-lapse, until all of it is there, and again
    until all of it has gone after the fix. `ci` takes it into the subset of each commit.
    """

    cause: str
    name: str
    delivers: frozenset[str]
    make: Callable[[Lab], None]
    fix: Callable[[Lab], None]
    needs: Needs = field(default_factory=Needs)
    shows: frozenset[str] = frozenset()
    stays: frozenset[str] = frozenset()
    within: float = 240.0
    ci: bool = False

    @property
    def causes(self) -> frozenset[str]:
        """The cause, or both of a pair that is made at once."""
        return frozenset(self.cause.split("+"))

    def __str__(self) -> str:
        return f"{self.cause}/{self.name}"
