"""One cause's row of the dashboard of causes."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.causes import CAUSES
from exporter.pack import RUNBOOKS
from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.limits import signals
from exporter.pack.dashboards.panel import Panel, above, graph, states, words

STATES = {
    1: ("finding", colours.INFO),
    2: ("pending", colours.NEAR),
    3: ("warning", colours.WARNING),
    4: ("critical", colours.CRITICAL),
    0: ("well", colours.OK),
}


def alerts(text: str, matchers: str = "", width: int = 0, height: int = 8) -> Panel:
    """Return the states over time of all alerts that match, by their names without the prefix that all share."""
    of = 'alertstate="{}", severity{}' + matchers
    worst = f"""
        max by (alertname) (
             4 * ALERTS{{{of.format("firing", '="critical"')}}}
          or 3 * ALERTS{{{of.format("firing", '="warning"')}}}
          or 2 * ALERTS{{{of.format("pending", '=~"critical|warning"')}}}
          or     ALERTS{{{of.format("firing", '="info"')}}}
        )"""
    return states(
        "Alerts over time",
        text,
        {"{{alert}}": f'label_replace({worst}, "alert", "$1", "alertname", "Mlflow(.+)")'},
        STATES,
        absent_="No alert in this time",
        width=width,
        height=height,
    )


def row(slug: str, text: str, *lines: Sequence[Panel]) -> Row:
    """Return a cause's row: what it is and what to do, how near its alerts are, their states, and the evidence.

    `text` is Markdown of three lines: what shows it, what to do now, what for good.
    """
    number = next(index for index, one in enumerate(CAUSES, 1) if one.slug == slug)
    title = CAUSES[number - 1].title
    own = [one for one in signals() if one.cause == slug]
    guide = words(
        title,
        f"{text}\n\n[Runbook: {slug}]({RUNBOOKS}/{slug}.md)",
        width=7,
    )
    near = graph(
        "Pressure",
        "How near each signal of this cause is to its alert: at 1 the condition holds and its waiting time begins. "
        f"Alerts: {', '.join(dict.fromkeys(one.alert for one in own))}.",
        {"{{signal}}": f'max by (signal) (mlflow:pressure:ratio{{cause="{slug}"}})'},
        unit_="none",
        at_least=1.2,
        named=list(dict.fromkeys(one.name for one in own)),
        line=above(colours.WARNING, 1),
        width=7,
    )
    over_time = alerts(
        "Each alert of this cause while it was pending or fired, findings too. No data means that none was in this "
        "time, which is what you want.",
        f', cause="{slug}"',
        width=10,
    )
    return Row(f"{number}. {title}  ({slug})", [[guide, near, over_time], *lines], closed=True)
