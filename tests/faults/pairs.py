"""Two causes at once: both are named."""

from __future__ import annotations

from tests.faults import Fault

FAULTS: tuple[Fault, ...] = ()
