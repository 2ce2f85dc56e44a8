"""exporter: the monitoring itself is gone, or cannot read what it needs.

Made: the exporter is stopped; a right of its role is revoked. Fixed as the runbook says: start it; the GRANT that
`check` names.
"""

from __future__ import annotations

from tests.faults import Fault, Lab, Needs


def stop(lab: Lab) -> None:
    lab.exporter.stop()


def start(lab: Lab) -> None:
    lab.exporter.start()


def revoke(lab: Lab) -> None:
    lab.sql("REVOKE SELECT ON alembic_version FROM exporter")


def grant(lab: Lab) -> None:
    lab.sql("GRANT SELECT ON alembic_version TO exporter")


FAULTS = (
    Fault("exporter", "stopped", frozenset({"MlflowExporterDown"}), stop, start),
    Fault(
        "exporter",
        "a right is missing",
        frozenset({"MlflowMonitoringBlind"}),
        revoke,
        grant,
        Needs(role="exporter"),
        within=300,
    ),
)
