"""What `diagnose` asks of a Prometheus: which tracking servers it knows, and all about one, or the worst of many."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from exporter.collector import Reason, SourceError
from exporter.pack.dashboards.pages.overview import ROWS, nearest, order, rank
from exporter.pack.dashboards.promql import SERVER, selected
from exporter.reports.concluded import alert_of, cause_of, evidence_of
from exporter.reports.diagnosed import Asked, Fleet, Placed
from exporter.reports.prometheus import Prometheus, Series, either, matching
from exporter.reports.ruled import Rule, loaded, shipped

HOUR = 3600.0
PRESSURE = "mlflow:pressure:ratio"
FIRING = 'alertstate="firing", severity=~"critical|warning"'
NAMED = 5
RULES_MISSING = (
    "Load rule_files: [DIR/rules/*.yml], which `mlflow-exporter pack DIR` writes, and reload Prometheus."
)
TARGET_MISSING = "`mlflow-exporter pack DIR` writes a prometheus.yml that has the scrape job."
NOT_LISTED = "It lists no alert of ours, so thresholds and texts are those of this version."


class Place(NamedTuple):
    """A tracking server, as rules tell it from others."""

    job: str
    tracking_server: str


def places(prometheus: Prometheus, at: float, job: str, server: str) -> list[Place]:
    """Return the tracking servers that have pressures and are meant; raises SourceError where there are none."""
    found = prometheus.vector(f"count by (job, tracking_server) ({PRESSURE})", at)
    if not found:
        raise _nothing(prometheus, at)
    there = sorted(_place(one) for one in found)
    # Where no exporter is left, the pressure that says so has no server.
    named = [one for one in there if any(one)]
    meant = [one for one in named if job in ("", one.job) and server in ("", one.tracking_server)]
    if named and not meant:
        names = [f"{one.tracking_server or '(none)'} of job {one.job}" for one in named]
        near = ", ".join(get_close_matches(f"{server} of job {job}", names, NAMED, 0.0))
        raise SourceError(
            Reason.UNSUPPORTED, f"no such tracking server among {len(names)}; the likest are: {near}"
        )
    return meant or there


def ask(prometheus: Prometheus, at: float, place: Place) -> tuple[Asked, list[str]]:
    """Return all that is said of a tracking server, and remarks."""
    both = f'job=~"{either([place.job, ""])}", tracking_server=~"{either([place.tracking_server, ""])}"'
    rules, remarks = _rules(prometheus)
    pressures = f"{PRESSURE}{{{both}}}"
    own = matching("mlflow_server_info", place._asdict())
    asked = Asked(
        at,
        pressures=tuple(prometheus.vector(pressures, at)),
        before=tuple(prometheus.vector(pressures, at - HOUR)),
        alerts=tuple(prometheus.vector(f'ALERTS{{cause!="", {both}}}', at)),
        since=tuple(prometheus.vector(f'ALERTS_FOR_STATE{{cause!="", {both}}}', at)),
        ranks=tuple(prometheus.vector(_within(rank(), both), at)),
        rules=rules,
        backends=frozenset(one.labels.get("backend", "") for one in prometheus.vector(own, at)),
    )
    return asked, remarks


def fleet(prometheus: Prometheus, at: float, meant: list[Place], job: str = "", server: str = "") -> Fleet:
    """Return the first cause of each tracking server that there is room for, the worst first, and how many fire.

    `meant` are those of `job` and of the name `server`; empty is any.
    """
    rules, _ = _rules(prometheus)
    both = f'job=~"{_one(job)}", tracking_server=~"{_one(server)}"'
    worst = _within(f"topk({ROWS}, topk by (job, tracking_server) (1, {order()}))", both)
    shown = f"and on (job, tracking_server) {worst}"
    pressures = {_cause_key(one): one for one in prometheus.vector(f"{_within(nearest(), both)} {shown}", at)}
    alerts = prometheus.vector(f'ALERTS{{cause!="", {both}}} {shown}', at)
    # Not from what is shown, which may be few of those that fire.
    firing = f'count by (job, tracking_server) (ALERTS{{cause!="", {FIRING}, {both}}})'
    found = []
    for one in sorted(prometheus.vector(worst, at), key=lambda one: -one.value):
        place, key = _place(one), _cause_key(one)
        if place not in meant:
            continue
        pressure = pressures.get(key)
        evidence = evidence_of(pressure, rules) if pressure else None
        of_it = [alert_of(alert.labels, None) for alert in alerts if _cause_key(alert) == key]
        cause = cause_of(key[2], [evidence] if evidence else [], of_it)
        found.append(Placed(place.job, place.tracking_server, cause))
    fires = sum(_place(one) in meant for one in prometheus.vector(firing, at))
    return Fleet(len(meant), fires, tuple(found))


def _within(expr: str, matchers: str) -> str:
    """Return the board's query for the tracking servers that the matchers select."""
    return selected(expr).replace(SERVER, matchers)


def _one(name: str) -> str:
    return either([name]) if name else ".*"


def _rules(prometheus: Prometheus) -> tuple[tuple[Rule, ...], list[str]]:
    try:
        rules = loaded(prometheus.alerting_rules())
    except SourceError as error:
        if error.reason is not Reason.BAD_ANSWER:
            raise
        rules = ()  # what only answers queries
    return (rules, []) if rules else (shipped(), [NOT_LISTED])


def _nothing(prometheus: Prometheus, at: float) -> SourceError:
    exporters = prometheus.vector("count(mlflow_exporter_build_info)", at)
    if exporters:
        count = f"{exporters[0].value:.0f}"
        detail = f"{prometheus.url} reads {count} MLflow exporters, and has no rule of ours: no mlflow:pressure:ratio"
        return SourceError(Reason.UNSUPPORTED, detail, RULES_MISSING)
    detail = f"{prometheus.url} reads no MLflow exporter at that time, and has no rule of ours"
    return SourceError(Reason.UNSUPPORTED, detail, TARGET_MISSING)


def _place(series: Series) -> Place:
    return Place(series.labels.get("job", ""), series.labels.get("tracking_server", ""))


def _cause_key(series: Series) -> tuple[str, str, str]:
    return (*_place(series), series.labels.get("cause", ""))
