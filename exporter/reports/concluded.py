"""What follows from Prometheus' answers; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from exporter.causes import CAUSES
from exporter.pack.dashboards.headlines import FELT, WORDS, Words, figure, headline, limit
from exporter.pack.dashboards.limits import Signal
from exporter.reports.diagnosed import NEAR, Alert, Asked, Blind, Cause, Diagnosis, Evidence, Unjudged
from exporter.reports.explaining import explained
from exporter.reports.prometheus import Series
from exporter.reports.ruled import Rule, resolved, silenced
from exporter.reports.terminal import printable

# What all series of a tracking server have, or what says nothing of what an alert is about.
COMMON = {
    "__name__",
    "alertname",
    "alertstate",
    "cause",
    "class",
    "job",
    "severity",
    "signal",
    "tracking_server",
}
TITLES = {cause.slug: cause.title for cause in CAUSES}

# Why a signal may rightly have no series, by its matchers but for the cause.
REPLICA = "a read replica, and an exporter that reads it"
OWN_METRICS = "MLflow's own metrics: --expose-prometheus, scraped as a job named JOB-server"
CORES = "cores of the database (database.cores), or mlflow:db_host_cpu:ratio"
NEEDS = {
    'signal="error-budget"': OWN_METRICS,
    'signal="latency-budget"': OWN_METRICS,
    'signal="client-round-trip"': "an exporter beside the jobs that only probes (server.url, probes.vantage)",
    'signal="replica-lag"': REPLICA,
    'signal="replica-conflicts"': REPLICA,
    'signal="memory"': "a memory limit of the server",
    'signal="oom-kills"': "a control group of the server that can be read",
    'signal="storage", measure="level"': "Postgres beside the exporter, or mlflow:db_host_storage_free:ratio",
    'signal="cpu", measure="load"': CORES,
    'signal="reads", measure="load"': CORES,
}
OTHERWISE = "something of the kind; where there is, `mlflow-exporter check` says what cannot be read"
# What only SQLite has, or Postgres, is no lack of the other.
ONLY_SQLITE = frozenset({"sqlite-backend"})
ONLY_POSTGRES = frozenset(
    {
        "connections",
        "database-configuration",
        "database-indexes",
        "database-size",
        "logging-pattern",
        "read-load",
    }
)


def diagnosis_of(asked: Asked) -> Diagnosis:
    """Draw the conclusions."""
    evidence = sorted(_evidence(asked), key=lambda one: (_felt(one[1]), -one[1].pressure))
    alerts = sorted(_alerts(asked, [one for _, one in evidence]), key=lambda one: _urgency(*one[1:]))
    ranks = {one.labels.get("cause", ""): one.value for one in asked.ranks}
    causes = [
        cause_of(
            slug, [one for of, one in evidence if of == slug], [one for of, one, _ in alerts if of == slug]
        )
        for slug in dict.fromkeys((*ranks, *(of for of, _ in evidence), *(of for of, _, _ in alerts)))
    ]
    # Without a rank are causes that have no pressure, and those beyond the board's last row.
    causes.sort(key=lambda one: (-ranks.get(one.cause, -1), -one.pressure))
    return Diagnosis(tuple(causes), tuple(_blind(evidence, asked.rules)), tuple(_unjudged(asked)))


def cause_of(slug: str, evidence: Iterable[Evidence], alerts: Sequence[Alert]) -> Cause:
    """Return a cause in the state that follows from its alerts; both are given the worst first."""
    worth = tuple(one for one in alerts if one.severity != "info")
    findings = tuple(one for one in alerts if one.severity == "info" and one.state == "firing")
    firing = {one.severity for one in worth if one.state == "firing"}
    most = max((one.pressure for one in evidence), default=0.0)
    if firing:
        state = "critical" if "critical" in firing else "warning"
    elif worth:
        state = "pending"
    elif findings:
        state = "finding"
    else:
        state = "near" if most >= NEAR else "well"
    name = printable(slug, 40)
    return Cause(name, TITLES.get(slug, name), state, most, tuple(evidence), worth, findings)


def evidence_of(series: Series, rules: Iterable[Rule], before: float | None = None) -> Evidence | None:
    """Return what a pressure says; None for one that no alert of the rules compares."""
    signal = signal_of(series.labels, rules)
    if signal is None:
        return None
    # Rules of another version may have a signal that this one has no words for.
    said = WORDS.get(signal.place, Words(f"{signal.name} {{}}", 1, 0.01))
    factor, now = signal.threshold, series.value
    then = "no data" if before is None else figure(said, before * factor) or "yes" if before else "none"
    return Evidence(
        signal.name,
        signal.alert,
        about(series.labels),
        now,
        now * factor if now else None,
        before * factor if before else None,
        factor,
        headline(said, now * factor) if now else "",
        then,
        limit(said, factor),
    )


def alert_of(
    labels: Mapping[str, str],
    rule: Rule | None,
    since: float | None = None,
    pressure: float = 0.0,
    explained_by: str = "",
) -> Alert:
    """Return an alert from its labels in ALERTS; without a rule, which another version has, it has no texts."""
    texts = rule.annotations if rule else {}
    return Alert(
        printable(labels.get("alertname"), 60),
        printable(labels.get("severity"), 20),
        printable(labels.get("alertstate"), 20),
        since,
        about(labels, rule),
        pressure,
        explained_by,
        resolved(texts.get("summary", ""), labels),
        resolved(texts.get("diagnosis", ""), labels),
        resolved(texts.get("fix", ""), labels),
        texts.get("runbook_url", ""),
    )


def signal_of(labels: Mapping[str, str], rules: Iterable[Rule]) -> Signal | None:
    """Return the signal whose pressure has these labels."""
    for rule in rules:
        for signal in rule.signals:
            if signal.measures(labels):
                return signal
    return None


def about(labels: Mapping[str, str], rule: Rule | None = None) -> dict[str, str]:
    """Return the labels that tell series of one signal or alert apart, printable; not those that the rule gives."""
    left_out = COMMON | rule.labels if rule else COMMON
    return {name: printable(value, 60) for name, value in labels.items() if name not in left_out}


def _evidence(asked: Asked) -> Iterator[tuple[str, Evidence]]:
    before = {_identity(one): one.value for one in asked.before}
    for one in asked.pressures:
        if found := evidence_of(one, asked.rules, before.get(_identity(one))):
            yield one.labels.get("cause", ""), found


def _alerts(asked: Asked, evidence: Sequence[Evidence]) -> Iterator[tuple[str, Alert, bool]]:
    """Give cause, alert, and whether it only says that users feel something."""
    rules = {rule.name: rule for rule in asked.rules}
    since = {_identity(one): one.value for one in asked.since}
    firing = [one.labels for one in asked.alerts if one.labels.get("alertstate") == "firing"]
    felt = {one.alert for one in evidence if one.signal in FELT}
    for one in asked.alerts:
        name = one.labels.get("alertname", "")
        rule, why = rules.get(name), explained(one.labels, firing)
        pressure = _pressure(one.labels, rule, (of for of in evidence if of.alert == name))
        found = alert_of(one.labels, rule, since.get(_identity(one)), pressure, why)
        yield one.labels.get("cause", ""), found, name in felt


def _pressure(labels: Mapping[str, str], rule: Rule | None, evidence: Iterable[Evidence]) -> float:
    """Return the pressure that an alert compares, the most alike of those whose labels it has; 0 where none is.

    The alert may have more labels: those that a site gives all its alerts.
    """
    its = about(labels, rule).items()
    alike = [(len(one.about), one.pressure) for one in evidence if about(one.about, rule).items() <= its]
    return max(alike, default=(0, 0.0))[1]


def _identity(series: Series) -> frozenset[tuple[str, str]]:
    return frozenset((key, of) for key, of in series.labels.items() if key not in ("__name__", "alertstate"))


def _felt(evidence: Evidence) -> bool:
    return evidence.signal in FELT or evidence.pressure <= 1


def _urgency(alert: Alert, felt: bool) -> tuple[bool, bool, bool, float, str]:
    return alert.state != "firing", bool(alert.explained), felt, -alert.pressure, alert.name


def _blind(evidence: Iterable[tuple[str, Evidence]], rules: Iterable[Rule]) -> Iterator[Blind]:
    for _, one in evidence:
        if one.signal == "exporter-down" and one.pressure > 1:
            yield Blind(
                " ".join(("exporter", one.about.get("instance", ""))).strip(),
                one.now or 0.0,
                "all that it reads: nothing of it can fire now",
            )
    reading = (rule for rule in rules if any(signal.name == "blind" for signal in rule.signals))
    text = next((rule.annotations.get("description", "") for rule in reading), "")
    for _, one in evidence:
        if one.signal == "blind" and one.pressure > 1:
            part = one.about.get("collector", "")
            yield Blind(part, one.now or 0.0, silenced(text, part))


def _unjudged(asked: Asked) -> Iterator[Unjudged]:
    """Give the alerts of which no signal has a series, with what they need; not those of the other kind of store."""
    there = {signal_of(one.labels, asked.rules) for one in asked.pressures}
    found: dict[str, list[str]] = {}
    for rule in asked.rules:
        if not rule.signals or there & set(rule.signals):
            continue
        if rule.cause in (ONLY_POSTGRES if asked.backends == {"sqlite"} else ONLY_SQLITE):
            continue
        needs = next((NEEDS[one.place] for one in rule.signals if one.place in NEEDS), OTHERWISE)
        found.setdefault(needs, []).append(rule.name)
    for needs, names in found.items():
        yield Unjudged(tuple(names), needs)
