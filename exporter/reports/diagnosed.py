"""What a diagnosis consists of: causes in the board's order, with evidence and alerts, and what is not judged."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.reports.prometheus import Series
from exporter.reports.ruled import Rule

# From here on a cause is worth a look before it fires; the board's bars change their colour there too.
NEAR = 0.7


@dataclass(frozen=True, slots=True)
class Asked:
    """Prometheus' answers about one tracking server, as of `at` (Unix time)."""

    at: float
    pressures: tuple[Series, ...]
    before: tuple[Series, ...]
    alerts: tuple[Series, ...]
    since: tuple[Series, ...]
    ranks: tuple[Series, ...]
    rules: tuple[Rule, ...]
    backends: frozenset[str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One pressure. `now`, `hour_ago` and `threshold` are in the evidence's own unit, the texts as it is shown.

    `now` and `hour_ago` are None where the conditions that belong to it do not hold (the pressure is 0), and
    `hour_ago` also where nothing is known of then; `hour_ago_says` tells the two apart.
    """

    signal: str
    alert: str
    about: dict[str, str]
    pressure: float
    now: float | None
    hour_ago: float | None
    threshold: float
    says: str
    hour_ago_says: str
    threshold_says: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires or is pending.

    `since` is the Unix time from which its condition has held; `explained` names a firing alert, if there is one,
    that says why, so that this one needs no cure of its own.
    """

    name: str
    severity: str
    state: str
    since: float | None
    about: dict[str, str]
    pressure: float
    explained: str
    summary: str
    confirm: str
    fix: str
    runbook: str


@dataclass(frozen=True, slots=True)
class Cause:
    """`state` is critical, warning (both fire), pending, finding, near or well, as the board has it.

    Evidence and alerts are the worst first; `findings` are alerts of severity info that fire.
    """

    cause: str
    title: str
    state: str
    pressure: float
    evidence: tuple[Evidence, ...]
    alerts: tuple[Alert, ...]
    findings: tuple[Alert, ...]

    @property
    def fires(self) -> bool:
        return self.state in ("critical", "warning")


@dataclass(frozen=True, slots=True)
class Placed:
    """A tracking server with the cause that is its worst."""

    job: str
    tracking_server: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Fleet:
    """Tracking servers, the worst first; `size` and `firing` count those too that there is no room for."""

    size: int
    firing: int
    worst: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Blind:
    """A part of the exporter that fails now, and what cannot be relied on meanwhile."""

    part: str
    share: float
    silent: str


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Alerts for which there is no series at all, and what they need."""

    alerts: tuple[str, ...]
    needs: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    causes: tuple[Cause, ...]
    blind: tuple[Blind, ...]
    unjudged: tuple[Unjudged, ...]

    @property
    def fires(self) -> bool:
        return any(cause.fires for cause in self.causes)
