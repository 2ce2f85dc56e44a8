"""What was made against what was delivered, as a page to read."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence

from exporter import __version__
from exporter.causes import CAUSES
from tests.faults.trial import BRIEF, FULL, Result
from tests.lab import tools
from tests.lab.stack import FACTOR, MAJOR

# Alerts that no fault makes, and why.
NOT_MADE = {
    "MlflowDatabaseStorageFilling": "a file system that fills must be mounted first; promtool only",
    "MlflowApiLatencyBudgetBurn": "its windows are hours; promtool only",
    "MlflowPackVersionMismatch": "there is no other release yet; promtool only",
}

HEAD = """\
# What each cause delivers

Made by `make faults`; do not edit. Each cause was made to happen on a real tracking server with a real Postgres,
clients at work, the shipped rules in a real Prometheus, a real Alertmanager and a webhook that it delivers to; then
the runbook's own fix was applied. Every duration in rules and configuration was divided by {factor:g}, thresholds
were not. Seconds are those until the notification came, at real scale: what was measured times {factor:g}. What has a
clock of its own (a pool's timeout, a restart, a setting that is read once a minute) counts too much in them.
A pressure is how near a rule's condition came to its threshold, 1: the highest between fault and fix.

{date}, {versions}, {cores} cores. Pace: {paces}.
For what should not come, `full` waits {full.before:g} s of time-lapse before the fault and {full.beside:g} s beside it,
`brief` {brief.before:g} s and {brief.beside:g} s. Stacks side by side take each other's CPU, and all are slower for it.
"""


def line(result: Result) -> str:
    """Return one result as one line."""
    delivered = (
        ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.delivered.items()) or "nothing"
    )
    parts = [f"{'ok' if result.passed else 'not made' if not result.made else 'FAILED'} {_name(result)}"]
    parts += [result.failure.strip().splitlines()[0]] if result.failure else [delivered, _resolved(result)]
    parts += [f"missed: {', '.join(result.missed)}"] if result.missed else []
    parts += [f"still firing: {', '.join(result.left)}"] if result.left else []
    parts += [f"of another cause: {', '.join(result.extras)}"] if result.extras else []
    # How near it came: is the fault too small, or the rule blind?
    if not result.passed and not result.failure:
        parts += [f"pressures of what was made: {_pressures(result, own=True) or 'none'}"]
    return "; ".join(parts)


def matrix(results: Sequence[Result], versions: Iterable[str]) -> str:
    """Return the page: the matrix of causes, then each fault with its alerts, then what went wrong.

    `versions` are those of what took part.
    """
    dates = [one.date for one in results]
    head = HEAD.format(
        factor=FACTOR,
        date=" to ".join(sorted({min(dates), max(dates)})),
        paces=", ".join(f"{how} ({count})" for how, count in Counter(map(_pace, results)).items()),
        full=FULL,
        brief=BRIEF,
        versions=", ".join(versions),
        cores=os.cpu_count(),
    )
    return "\n".join([head, *_causes(results), "", *_faults(results), "", *_troubles(results), ""])


def versions() -> Iterable[str]:
    """Return what took part, with its version."""
    yield f"exporter {__version__}"
    yield f"MLflow {tools.mlflow_version()}"
    yield f"Postgres {MAJOR}"
    for title, *names in (
        ("Prometheus", "prometheus"),
        ("Alertmanager", "alertmanager", "prometheus-alertmanager"),
    ):
        said = subprocess.run(
            [tools.program(*names), "--version"], capture_output=True, text=True, check=False
        )
        yield f"{title} {(said.stdout + said.stderr).split('version ')[1].split()[0]}"


def _causes(results: Sequence[Result]) -> Iterable[str]:
    """Yield a row a fault and a column a cause: the seconds to the first alert of that cause."""
    slugs = [cause.slug for cause in CAUSES]
    yield "## Cause made, cause delivered"
    yield ""
    yield f"| made | {' | '.join(slugs)} | resolved |"
    yield f"| --- | {'--- | ' * len(slugs)}--- |"
    for one in results:
        cells = []
        for slug in slugs:
            times = [seconds for name, seconds in one.delivered.items() if one.causes[name] == slug]
            cell = f"{min(times):.0f} s" if times else ""
            cells.append(f"**{cell}**" if cell and slug in one.cause.split("+") else cell)
        yield f"| {_name(one)} | {' | '.join(cells)} | {_resolved(one)} |"


def _faults(results: Sequence[Result]) -> Iterable[str]:
    yield "## Alerts"
    yield ""
    yield "| made | delivered, after | fired and told nobody | highest pressures | resolved | pace |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in results:
        delivered = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in one.delivered.items())
        shown = ", ".join(one.shown)
        yield (
            f"| {_name(one)} | {delivered} | {shown} | {_pressures(one)} | {_resolved(one)} | {_pace(one)} |"
        )


def _troubles(results: Sequence[Result]) -> Iterable[str]:
    passed = sum(one.passed for one in results)
    yield "## Misses"
    yield ""
    yield f"{passed} of {len(results)} as declared."
    for one in results:
        if not one.passed:
            yield f"- {line(one)}"
            yield from (f"  - {name}: {one.texts[name]}" for name in one.extras)

    yield ""
    yield "No fault makes:"
    for name, why in NOT_MADE.items():
        yield f"- {name}: {why}"


def _name(result: Result) -> str:
    return f"{result.cause}: {result.name}"


def _pressures(result: Result, own: bool = False) -> str:
    """Return those of its own causes, or the three highest of all."""
    of = {
        signal: ratio
        for signal, ratio in result.pressures.items()
        if not own or signal.split("/")[0] in result.cause.split("+")
    }
    return ", ".join(f"{signal} {ratio:g}" for signal, ratio in list(of.items())[: None if own else 3])


def _pace(result: Result) -> str:
    return f"{result.pace}, {'alone' if result.jobs == 1 else f'{result.jobs} side by side'}"


def _resolved(result: Result) -> str:
    if result.failure:
        return "no result" if result.made else "not made here"
    return "no" if result.resolved is None else f"{result.resolved:.0f} s"
