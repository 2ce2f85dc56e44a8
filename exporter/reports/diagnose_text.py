"""The report of `diagnose` for people: what fires and what to do on the first screen, plain text of 80 columns."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator

from exporter.reports import explain_text, writers
from exporter.reports.diagnosed import Alert, Cause, Diagnosis, Fleet
from exporter.reports.evidence import Figure, Seen
from exporter.reports.explained import Problem, Report
from exporter.reports.terminal import COLUMNS, Paint, paragraph, printable, statement

FIX = re.compile("Now: (?P<now>.*) For good[:,] (?P<later>.*)")
LABELLED = 12  # columns of "  For good  "
# Rows of the board that are shown though nothing of them is near, so that one sees what is nearest.
FEWEST = 3
# Labels that say how something was measured, not what it is about.
DETAILS = ("measure", "windows", "state")
NOT_JUDGED = (
    "NO RULE WAS EVALUATED: nothing here says that a cause is at work. Alerts look at 2 to 15 minutes, and at more "
    "than the one figure; --prometheus URL asks what they say."
)
NAMED = 8  # alerts without series in a line; of more the number says enough
STATES = {"critical": "FIRING", "warning": "FIRING"}


def named(job: str, server: str) -> str:
    """Return a tracking server for people."""
    return f"{printable(server, 40) or 'MLflow'}" + (f" (job {printable(job, 30)})" if job else "")


def clock(at: float) -> str:
    return time.strftime("%H:%M UTC", time.gmtime(at))


def lasting(seconds: float) -> str:
    """Return a while in its largest unit, as a person says it."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def failed(why: Problem) -> Iterator[str]:
    """Say why Prometheus has not told anything."""
    yield "NO DIAGNOSIS"
    yield from paragraph(f"{why.reason}: {why.detail}")
    yield from paragraph(why.remedy) if why.remedy else ()
    yield from paragraph("Without --prometheus two scrapes are compared, on the exporter's machine.")


def of_prometheus(
    found: Diagnosis, server: str, at: float, remarks: Iterable[str], paint: Paint
) -> Iterator[str]:
    firing = [cause for cause in found.causes if cause.fires]
    count = "nothing fires" if not firing else f"{len(firing)} cause{'s' * (len(firing) > 1)} firing"
    date = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    blind = ", partly blind" if found.blind else ""
    for line in paragraph(f"{server}, {date}: {count}{blind}", 0):
        yield paint(line, "heading")
    for remark in remarks:
        yield from paragraph(remark)
    yield ""
    yield from _board(found.causes, paint)
    acute = [cause for cause in found.causes if cause.alerts]
    # What another one explains comes after it, though it may be farther beyond its limit.
    for number, cause in enumerate(sorted(acute, key=lambda one: bool(one.alerts[0].explained)), 1):
        yield ""
        yield from _cause(number, cause, at, paint)
    yield from _findings([one for cause in found.causes for one in cause.findings], paint)
    yield from _blind(found, paint)


def _board(causes: tuple[Cause, ...], paint: Paint) -> Iterator[str]:
    shown = [one for place, one in enumerate(causes) if one.state != "well" or place < FEWEST]
    width = max((len(one.cause) for one in shown), default=0)
    room = COLUMNS - 7 - width - 6 - 5 - 4
    yield f"{'state':7} {'cause':{width}} {'evidence':{room}} {'1h ago':>6} {'limit':>5}"
    for cause in shown:
        state = f"{STATES.get(cause.state, cause.state):7}"
        says, ago, limit = _cells(cause)
        yield (
            f"{paint(state, cause.state)} {cause.cause:{width}} {printable(says, room):{room}} {ago:>6} {limit:>5}"
        ).rstrip()
    if others := [one for one in causes if one not in shown]:
        nearest = max(others, key=lambda one: one.pressure)
        yield f"{'well':7} {len(others)} more, the nearest {nearest.cause} at {nearest.pressure:.0%} of its limit"


def _cells(cause: Cause) -> tuple[str, str, str]:
    if cause.state == "finding":
        return cause.findings[0].name, "", ""
    one = next(iter(cause.evidence), None)
    if one is None or not one.says:
        return "nothing of it", "", ""
    return one.says, {"no data": "?"}.get(one.hour_ago_says, one.hour_ago_says), one.threshold_says


def _cause(number: int, cause: Cause, at: float, paint: Paint) -> Iterator[str]:
    pressure = cause.evidence[0].pressure if cause.evidence else 0.0
    times = f", {pressure:.3g} times its limit" if pressure > 1 else ", below its limit again"
    yield paint(f"{number} {cause.cause}: {cause.title}{times}", cause.state)
    by_name: dict[str, list[Alert]] = {}
    for alert in cause.alerts:
        by_name.setdefault(alert.name, []).append(alert)
    for alerts in by_name.values():
        yield from _alert(alerts, at)


def _alert(alerts: list[Alert], at: float) -> Iterator[str]:
    """Give what to do about an alert; of several with its name the first is the worst."""
    first = alerts[0]
    since = f" since {clock(first.since)}, {lasting(at - first.since)}" if first.since else ""
    if first.explained:
        yield from paragraph(f"{first.name} {first.state}{since}: explained by {first.explained}, see there")
        return
    yield from paragraph(f"{first.name} ({first.severity}) {first.state}{since}")
    concerned = "; ".join(dict.fromkeys(filter(None, map(_about, alerts))))
    yield from paragraph(f"{first.summary} ({concerned})" if concerned else first.summary)
    yield from paragraph(first.confirm, LABELLED, "Confirm")
    if fix := FIX.fullmatch(first.fix):
        yield from paragraph(fix["now"], LABELLED, "Now")
        yield from paragraph(fix["later"], LABELLED, "For good")
    else:
        yield from paragraph(first.fix, LABELLED, "Fix")
    if first.runbook:
        yield f"  {printable(first.runbook, 300)}"


def _about(alert: Alert) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(alert.about.items()) if name not in DETAILS)


def _findings(findings: list[Alert], paint: Paint) -> Iterator[str]:
    if not findings:
        return
    yield ""
    yield paint("FINDINGS: facts that hurt nobody now", "heading")
    by_name: dict[str, list[Alert]] = {}
    for one in findings:
        by_name.setdefault(one.name, []).append(one)
    for name, ones in by_name.items():
        concerned = "; ".join(filter(None, map(_about, ones)))
        yield from paragraph(f"{name}: {ones[0].summary}" + (f" ({concerned})" if concerned else ""))


def _blind(found: Diagnosis, paint: Paint) -> Iterator[str]:
    if found.blind:
        yield ""
        yield paint("BLIND: what the exporter cannot read now", "heading")
        for one in found.blind:
            yield from paragraph(
                f"{one.part}, {one.share:.0%} of the last minutes; so doubtful: {one.silent}"
            )
    if found.unjudged:
        yield ""
        yield paint("NOT JUDGED: alerts without any series, and what they need", "heading")
        for lack in found.unjudged:
            names = ", ".join(lack.alerts) if len(lack.alerts) <= NAMED else f"{len(lack.alerts)} alerts"
            yield from paragraph(f"{names}: {lack.needs}")


def of_fleet(fleet: Fleet, at: float, paint: Paint) -> Iterator[str]:
    """Give a row for each tracking server, the worst first."""
    date = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    yield paint(f"{fleet.size} tracking servers, {date}: {fleet.firing or 'none'} firing", "heading")
    yield ""
    width = min(24, max([len(one.tracking_server) for one in fleet.worst] + [6]))
    room = COLUMNS - width - 7 - 22 - 3
    yield f"{'server':{width}} {'state':7} {'cause':22} evidence"
    for one in fleet.worst:
        says = one.cause.evidence[0].says if one.cause.evidence else ""
        state = f"{STATES.get(one.cause.state, one.cause.state):7}"
        yield (
            f"{printable(one.tracking_server, width):{width}} {paint(state, one.cause.state)}"
            f" {one.cause.cause:22} {printable(says, room)}"
        ).rstrip()
    if fleet.size > len(fleet.worst):
        hidden = fleet.firing - sum(one.cause.fires for one in fleet.worst)
        fires = f", {hidden} of them firing" if hidden else ""
        yield f"{fleet.size - len(fleet.worst)} more are not shown{fires}"
    yield ""
    yield from paragraph(
        "For the whole report name one: --tracking-server NAME, with --job where jobs share it."
    )


def of_scrapes(seen: Seen, paint: Paint) -> Iterator[str]:
    """Give what two scrapes show, without a judgement."""
    for line in paragraph(f"{seen.server}; two scrapes {seen.seconds:.0f} s apart", 0):
        yield paint(line, "heading")
    if seen.figures:
        yield from paragraph(NOT_JUDGED)
        yield ""
        yield from _figures(seen.figures)
    else:
        yield from paragraph("NOTHING COULD BE READ")
    if seen.blind:
        yield ""
        yield paint("BLIND: what cannot be read now", "heading")
    for part, why, remedy in seen.blind:
        yield from paragraph(f"{part}: {why}")
        # A statement is to be copied, whatever else is a sentence.
        yield from statement(remedy) if remedy.endswith(";") else paragraph(remedy, 4)


def _figures(figures: tuple[Figure, ...]) -> Iterator[str]:
    width = max((len(one.cause) for one in figures), default=0)
    yield f"{'cause':{width}} {'evidence':{COLUMNS - width - 19}} {'alert above':>11}"
    last = ""
    for one in figures:
        cause, last = ("" if one.cause == last else one.cause), one.cause
        yield f"{cause:{width}} {one.says:{COLUMNS - width - 19}} {one.threshold_says:>11}".rstrip()


def of_database(place: str, report: Report, paint: Paint, remark: str = "") -> Iterator[str]:
    """Give whether an index would help, and who writes."""
    yield paint(f"DATABASE, watched for {report.seconds:.0f} s: {place}", "heading")
    yield from paragraph(remark)
    yield from paragraph(report.where.says)
    advised = [read.statement for one in report.statements for read in one.reads or () if read.statement]
    for made in dict.fromkeys((*report.missing, *(advised if report.where.helps else ()))):
        yield from statement(made)
    if advised and report.where.helps:
        yield from paragraph(
            "The index would spare it; `mlflow-exporter explain` shows for which statements."
        )
    elif not advised and not report.missing and not report.problems:
        yield from paragraph("No index is missing for what it has been asked.")
    yield ""
    if report.writers:
        running = f"{report.writers.running} runs are RUNNING"
        yield paint(f"TOP WRITERS in {report.seconds:.0f} s ({running})", "heading")
        if report.writers.groups:
            yield from writers.groups(report.writers)
            if report.writers.running >= writers.LISTED:
                yield from paragraph(writers.MANY)
        else:
            yield "  No run has logged a metric or was started."
    for problem in report.problems:
        yield from explain_text.problem(problem)


def without_database(why: Problem, paint: Paint) -> Iterator[str]:
    yield paint("DATABASE: not read, so no top writers and no word on indexes", "heading")
    yield from paragraph(f"{why.reason}: {why.detail}")
    yield from paragraph(why.remedy) if why.remedy else ()
