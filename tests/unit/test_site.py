"""Which faults the demo of docker-compose.yml can make."""

from __future__ import annotations

import pytest

from tests.lab.needs import Needs
from tests.lab.site import FAULTS, OUTSIDE, chosen

pytestmark = pytest.mark.unit


def test_each_that_a_site_can_have_from_outside_asks_nothing_of_its_servers() -> None:
    assert len(FAULTS) == len(OUTSIDE)
    assert all(fault.needs == Needs() for fault in FAULTS.values())


def test_a_cause_or_a_name_chooses_and_none_leaves_the_site_well() -> None:
    assert chosen("") is None
    assert str(chosen("connections")) == "connections/idle in transaction"
    assert str(chosen("connections/table locked")) == "connections/table locked"


def test_one_that_is_not_there_ends_with_those_that_are() -> None:
    with pytest.raises(SystemExit, match=r"FAULT=network-latency is none.*logging-pattern/points one by one"):
        chosen("network-latency")
