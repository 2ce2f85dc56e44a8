"""Why a tracking server gets slow: the causes of the scaling guide, each with one name everywhere.

A cause's slug is the name of its rules, their tests, its runbook, its faults, its dashboard row and its page
on the exporter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause, or what it shows as.

    `leads_to` names the causes whose alerts may rightly come with it, since they report what users feel of it.
    """

    slug: str
    title: str
    leads_to: tuple[str, ...] = ()


CAUSES = (
    Cause("availability", "Users cannot work"),
    Cause("sqlite-backend", "The backend store is SQLite", ("availability",)),
    Cause(
        "database-size",
        "The database is too small",
        # Our own queries wait as well, and what they cannot tell is said: the other causes are blind meanwhile.
        ("availability", "exporter"),
    ),
    Cause("read-load", "Reads crowd out writes", ("availability",)),
    Cause("database-configuration", "The database is configured badly"),
    Cause("logging-pattern", "Jobs log inefficiently"),
    Cause("server-resources", "The tracking server lacks resources", ("availability",)),
    Cause("network-latency", "The network is slow"),
    Cause("database-indexes", "An index is missing", ("availability",)),
    Cause("open-files", "Too many open files", ("availability",)),
    Cause("connections", "Connections run out", ("availability",)),
    Cause("exporter", "The monitoring is blind"),
)
