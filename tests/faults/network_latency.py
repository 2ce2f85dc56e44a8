"""network-latency: the way to the database, or from the clients to the server, is long.

Made: a proxy holds back each byte, 20 ms and 50 ms each way (it cannot hold back a SYN, so `connect` stays quick).
Fixed as the runbook says: bring them together, which is no delay.
"""

from __future__ import annotations

from tests.faults import Fault, Lab, Needs


def far(lab: Lab, seconds: float) -> None:
    assert lab.proxy
    lab.proxy.delay = seconds


def near(lab: Lab) -> None:
    far(lab, 0.0)


FAULTS = (
    Fault(
        "network-latency",
        "database 40 ms away",
        frozenset({"MlflowDatabaseRoundTripSlow"}),
        lambda lab: far(lab, 0.02),
        near,
        Needs(proxy="database"),
        ci=True,
    ),
    Fault(
        "network-latency",
        "clients 100 ms away",
        frozenset({"MlflowClientNetworkSlow"}),
        lambda lab: far(lab, 0.05),
        near,
        Needs(proxy="clients"),
    ),
)
