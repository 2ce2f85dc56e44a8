"""The pages for people: what this is, what it found, and how each collector fares."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from functools import partial

from exporter import __version__, runbooks
from exporter.lane import Lane, Reading
from exporter.page import HTML, page
from exporter.plan import ProbeSpec
from exporter.samplers.http_probe import HttpProbeSpec
from exporter.service import Service, describe
from exporter.web import PLAIN, Page

# A page that is reloaded must not read the database more often than Prometheus does.
RECENT_SECONDS = 15.0
PATIENCE_SECONDS = 3.0


def pages(service: Service) -> dict[str, Page]:
    return {
        "/": lambda: (HTML, page("MLflow exporter", index(service))),
        "/-/healthy": lambda: (PLAIN, b"mlflow-exporter is healthy\n"),
        # The first plan is in force before the port is open, so whoever gets an answer gets this one.
        "/-/ready": lambda: (PLAIN, b"mlflow-exporter is ready\n"),
        **runbooks.pages(),
    }


def index(service: Service) -> str:
    """Return the first page's body; every text that comes from outside is escaped."""
    readings = service.scraper.recent(RECENT_SECONDS, time.monotonic() + PATIENCE_SECONDS)
    rows = [row for lane, reading in readings for row in _of_lane(lane, reading)]
    if service.plan.load:
        failure = service.load_failure()
        told = (failure.reason, failure.detail, failure.remedy) if failure else ("ok", "", "")
        rows.append(_row("load", "postgres, once a second", *told))
    problems = [*service.problems]
    problems += [
        f"The {file} has faults; what was read before is in force. See the log."
        for file in service.reloads.faulty
    ]
    age = time.monotonic() - service.scraper.read_at
    return f"""<h1>MLflow exporter {html.escape(__version__)}</h1>
<p>Metrics of an MLflow tracking server and its database, for Prometheus: <a href="/metrics">/metrics</a>,
<a href="/-/healthy">/-/healthy</a>, <a href="/-/ready">/-/ready</a>. What each alert means and what mends it:
<a href="/runbooks/">runbooks</a>.</p>
<h2>Tracking server</h2><p>{html.escape(service.server_as(partial(describe, user=False)))}</p>
{"".join(f"<p class=bad>{html.escape(one)}</p>" for one in problems)}
<h2>Collectors</h2><p>As of {age:.0f} s ago.</p>
<table><tr><th>collector</th><th>source</th><th>state</th><th>why, and what mends it</th></tr>
{"".join(rows)}</table>
<h2>Probes</h2><table><tr><th>probe</th><th>asks</th><th>last attempt</th><th>why, and what mends it</th></tr>
{"".join(_probes(service))}</table>"""


def _of_lane(lane: Lane, reading: Reading) -> Iterator[str]:
    if not reading.up and reading.outcomes:
        # All its collectors fail of the same; said once.
        why = next(iter(reading.outcomes.values()))
        yield _row(
            ", ".join(reading.outcomes), lane.source.name, str(why.reason or "ok"), why.detail, why.remedy
        )
        return
    for name, outcome in reading.outcomes.items():
        yield _row(name, lane.source.name, str(outcome.reason or "ok"), outcome.detail, outcome.remedy)


def _probes(service: Service) -> Iterator[str]:
    samplers = {probe.name: probe for probe in service.probes}
    for spec in service.plan.probes:
        probe = samplers.get(spec.name)
        if probe is None or not probe.attempted:
            yield _row(spec.name, place(spec), "not yet", "", "")
        elif probe.error is None:
            yield _row(spec.name, place(spec), "ok", "", "")
        else:
            yield _row(spec.name, place(spec), probe.error.failure, probe.error.detail, probe.error.remedy)


def _row(name: str, source: str, state: str, detail: str, remedy: str) -> str:
    css = {"ok": "ok", "not yet": ""}.get(state, "bad")
    mends = f"<br>{html.escape(remedy)}" if remedy else ""
    return (
        f'<tr><td>{html.escape(name)}</td><td>{html.escape(source)}</td><td class="{css}">{html.escape(state)}</td>'
        f"<td>{html.escape(detail)}{mends}</td></tr>\n"
    )


def place(probe: ProbeSpec) -> str:
    """Return where a probe goes, without user or query."""
    return probe.place if isinstance(probe, HttpProbeSpec) else probe.target.address
