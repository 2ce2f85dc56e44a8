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


def row(slug: str, text: str, *lines: Sequence[Panel]) -> Row:
    """Return a cause's row: what it is and what to do, how near its alerts are, their states, and the evidence.

    `text` is Markdown of three lines: what shows it, what to do now, what for good.
    """
    number = next(index for index, one in enumerate(CAUSES, 1) if one.slug == slug)
    title = CAUSES[number - 1].title
    own = [one for one in signals() if one.cause == slug]
    alerts = dict.fromkeys(one.alert for one in own)
    guide = words(
        title,
        f"{text}\n\n[Runbook: {slug}]({RUNBOOKS}/{slug}.md)",
        width=8,
    )
    near = graph(
        "Pressure",
        "How near each signal of this cause is to its alert: at 1 the condition holds and its waiting time begins. "
        f"Alerts: {', '.join(alerts)}.",
        {"{{signal}}": f'max by (signal) (mlflow:pressure:ratio{{cause="{slug}"}})'},
        unit_="none",
        at_least=1.2,
        named=list(dict.fromkeys(one.name for one in own)),
        line=above(colours.WARNING, 1),
        width=8,
    )
    alert = 'ALERTS{{alertstate="{state}", cause="{slug}", severity{severity}}}'
    found = " or ".join(
        f"{number} * {alert.format(state=state, slug=slug, severity=severity)}"
        for number, state, severity in (
            (4, "firing", '="critical"'),
            (3, "firing", '="warning"'),
            (2, "pending", '=~"critical|warning"'),
            (1, "firing", '="info"'),
        )
    )
    over_time = states(
        "Alerts over time",
        "Each alert of this cause while it was pending or fired, findings too. No data means that none was in this "
        "time, which is what you want.",
        {
            "{{alert}}": f'label_replace(max by (alertname) ({found}), "alert", "$1", "alertname", "Mlflow(.+)")'
        },
        STATES,
        absent_="No alert of this cause in this time",
        width=8,
    )
    return Row(f"{number}. {title}  ({slug})", [[guide, near, over_time], *lines], closed=True)
