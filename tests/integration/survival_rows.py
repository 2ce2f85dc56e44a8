"""The rows of tests/FAULTS.md: which there must be, one for each, and the page that they make."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.lab.tools import ROOT

# Allocators keep what a burst needed once, and the first failure imports what says it.
MEMORY_NOISE = 6 * 2**20

PAGE = ROOT / "tests/FAULTS.md"

# The one list: by area, in the order of the page.
FAULTS: Mapping[str, tuple[str, ...]] = {
    "Postgres": (
        "killed (SIGKILL)",
        "stopped (SIGSTOP)",
        "restarted between two scrapes",
        "starting up",
        "out of slots, our sessions lost",
        "queries cancelled on a standby for recovery",
        "failed over to the second host of the DSN",
        "sessions ended by pg_terminate_backend",
        "password changed",
        "connection limit of the role reached",
        "TLS required of a DSN without it",
        "certificate of another CA",
        "certificate for another host",
        "MLflow's tables locked (ACCESS EXCLUSIVE)",
        "pg_stat_statements dropped, created again",
        "pg_stat_statements reset",
        "schema migrated from MLflow 2.10's to the newest",
    ),
    "Network": (
        "cut in mid-answer (reset)",
        "answers truncated",
        "silent: nothing passes, nothing is refused",
        "connections forgotten by a firewall",
        "slow link: 4 kB/s, 100 ms away",
        "address moved to another server",
        "DNS name gone, our sessions lost",
        "DNS server silent, our sessions lost",
        "PgBouncer restarted",
        "Postgres restarted behind PgBouncer",
    ),
    "Tracking server": (
        "killed (SIGKILL)",
        "one of two workers stopped (SIGSTOP)",
        "all its processes stopped (SIGSTOP)",
        "replaced by one on another port",
        "replaced by one with another database",
        "looked for while processes come and go by the thousand",
        "pids of its dead processes given to others",
        "2 workers, 64, 64 others, none, 64 again",
    ),
    "Host and process": (
        "no file descriptor left",
        "no memory left (RLIMIT_AS)",
        "no thread can be started (RLIMIT_NPROC)",
        "stopped for 5 s (SIGSTOP)",
        "time of day set a day ahead, then two days back",
        "SIGHUP as fast as it can be sent",
        "settings file emptied, cut and gone at a reload",
        "password file gone, and the sessions",
        "disk full where its log goes (ENOSPC)",
        "its log read by nobody: pipe full, then closed",
        "started without standard streams",
        "SIGTERM while a scrape hangs",
    ),
    "Clients": (
        "50 scrape at once",
        "silent ones on every place",
        "requests that drip in, byte by byte (slowloris)",
        "answers read a byte at a time",
        "requests too large: line, header, many headers, body",
        "malformed requests",
        "HEAD, OPTIONS and other methods",
        "keep-alive and pipelined requests",
        "TLS handshakes that stop half-way, on every place",
        "plain HTTP on the port of TLS",
        "wrong passwords without end, from 100 addresses",
    ),
}

HEAD = """\
# What the exporter does when something breaks

Made by the tests that have the marker `survives`; do not edit. Each fault was made while a real exporter was scraped,
with the timeout that stands behind the slowest scrape. *Whole again* counts from the end of the fault to a scrape that
has all that each scrape reads. What has a clock of its own (the load's sampler, probes, what is read once in some
minutes) may follow at its next try: when it has is said in brackets. Leaks: threads, descriptors, sessions in Postgres
above what was held before, and resident memory above it by more than {noise} MiB.

{date}, {cores} cores.
"""
COLUMNS = (
    "fault",
    "answered while it lasted",
    "slowest scrape",
    "reasons",
    "whole again after",
    "leaks",
    "test",
)


@dataclass
class Row:
    """What one fault did; nothing was measured where a figure is 0."""

    area: str
    fault: str
    test: str
    answer: str = ""
    reasons: str = ""
    timeout: float = 0.0
    slowest: float = 0.0
    scrapes: int = 0
    recovery: float = 0.0
    rest: float = 0.0
    leaks: dict[str, int] = field(default_factory=dict)
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    def tell(
        self, down: Iterable[str], failing: int, working: int, reasons: Mapping[str, Iterable[str]]
    ) -> None:
        """Put into words what the scrapes said; called again, what they said since."""
        parts = [f"{name} 0" for name in sorted(down)]
        parts += [f"without {failing} of {working} collectors and probes" if failing else "all as before"]
        self.answer = ", ".join(parts)
        by: dict[str, list[str]] = {}
        for name, whys in sorted(reasons.items()):
            by.setdefault(", ".join(sorted(whys)), []).append(name)
        told = (f"{why} ({names[0] if len(names) == 1 else len(names)})" for why, names in sorted(by.items()))
        self.reasons = "; ".join(told)

    @property
    def verdict(self) -> str:
        if not (self.answer and self.scrapes):
            return "lost"
        if self.slowest > self.timeout or self.scrapes > 1:
            return "late"
        return "leaks" if self.leaks else "ok"

    def cells(self) -> tuple[str, ...]:
        verdict = "" if self.verdict == "ok" else f"**{self.verdict}** "
        again = f"{self.recovery:.1f} s, {self.scrapes} scrape{'s' * (self.scrapes != 1)}"
        if self.rest - self.recovery >= 1:
            again += f" ({self.rest:.0f} s)"
        return (
            self.fault,
            verdict + self.answer,
            f"{self.slowest:.2f} s of {self.timeout:g} s",
            self.reasons or "none",
            again,
            ", ".join(f"{name} +{count}" for name, count in self.leaks.items()) or "0",
            f"`{self.test}`",
        )


def directory() -> Path:
    return Path(os.environ.get("SURVIVAL_ROWS") or ROOT / "build/survival")


def keep(row: Row) -> None:
    """Leave the row for the page; a second run of the test replaces it."""
    name = re.sub(r"\W+", "-", f"{row.area} {row.fault}".lower()).strip("-")
    directory().mkdir(parents=True, exist_ok=True)
    (directory() / f"{name}.json").write_text(json.dumps(asdict(row), indent=1), encoding="utf-8")


def kept() -> dict[tuple[str, str], Row]:
    rows = (Row(**json.loads(file.read_text("utf-8"))) for file in directory().glob("*.json"))
    return {(row.area, row.fault): row for row in rows}


def page(rows: Mapping[tuple[str, str], Row]) -> str:
    """Return the page of these rows; a fault without one is `lost`."""
    dates = sorted({row.date for row in rows.values()})
    head = HEAD.format(
        date=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
        cores=os.cpu_count(),
        noise=MEMORY_NOISE >> 20,
    )
    return "\n".join([head, *_tables(rows)]) + "\n"


def _tables(rows: Mapping[tuple[str, str], Row]) -> Iterator[str]:
    for area, faults in FAULTS.items():
        if not faults:
            continue
        yield from (f"## {area}", "", f"| {' | '.join(COLUMNS)} |", f"| {'--- | ' * len(COLUMNS)}".rstrip())
        for fault in faults:
            row = rows.get((area, fault)) or Row(area, fault, "no test")
            yield f"| {' | '.join(row.cells())} |"
        yield ""


def read(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the rows of a page, each with its area."""
    found = []
    area = ""
    for line in text.splitlines():
        if line.startswith("## "):
            area = line[3:]
        elif line.startswith("| ") and not line.startswith(("| fault |", "| --- |")):
            found.append((area, tuple(line.strip("| ").split(" | "))))
    return found
