"""Panels as Grafana's classic JSON: each kind is one call, and what follows from its queries is filled in.

Every call takes a title of the field's own words, a `text` that says what the panel shows, what is normal and what
to do when it is not, and one query or several as `{legend: PromQL}`. PromQL names metrics and nothing else of the
target: the dashboards' variables are put into each selector. The unit, and what to say where there is no data, come
from the metrics' declarations; a limit is an alert's name, whose rule has the number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from exporter.pack.dashboards import colours, limits
from exporter.pack.dashboards.promql import collectors, read, selected, unit

Json = dict[str, Any]
Queries = str | Mapping[str, str]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# How far an axis goes at least, by unit, or 0.1: all zeros would be drawn up to 100, and of a ratio to 10,000 %.
LEAST = {"percentunit": 0.02, "s": 0.001, "bytes": 1024, "Bps": 1024}


@dataclass(frozen=True)
class Panel:
    """One panel without its place: `width` of 24 columns (0 shares what is left of its line), `height` in rows."""

    json: Json
    width: int = 0
    height: int = 8
    queries: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Limit:
    """The threshold of an alert, times `scale`, as a dashed line in the colour of its severity.

    `of` is the signal, resource or measure that is meant where the alert has several thresholds.
    """

    alert: str
    of: str = ""
    scale: float = 1.0

    def step(self) -> Json:
        value = round(limits.threshold(self.alert, self.of) * self.scale, 6)
        severity = next(one.severity for one in limits.signals() if one.alert == self.alert)
        return {"color": colours.SEVERITY[severity], "value": value}


def thresholds(*steps: Json, base: str = colours.OK) -> Json:
    return {"mode": "absolute", "steps": [{"color": base, "value": None}, *steps]}


def above(colour: str, value: float) -> Json:
    """Return the step from which a value has that colour."""
    return {"color": colour, "value": value}


def mapped(texts: Mapping[int, tuple[str, str]]) -> list[Json]:
    """Return the value mapping of numbers to (text, colour)."""
    options = {
        str(value): {"text": text, "color": colour, "index": index}
        for index, (value, (text, colour)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def panel(
    kind: str,
    title: str,
    text: str,
    queries: Queries,
    *,
    unit_: str = "",
    instant: bool = False,
    defaults: Json | None = None,
    options: Json | None = None,
    overrides: Sequence[Json] = (),
    transformations: Sequence[Json] = (),
    links: Sequence[Json] = (),
    width: int = 0,
    height: int = 8,
) -> Panel:
    """Return a panel of Grafana's `kind`; raises QueryError for a metric that there is not, or a unit that is open."""
    asked = {"": queries} if isinstance(queries, str) else dict(queries)
    units = {unit_ or unit(query) for query in asked.values()}
    if len(units) != 1:
        raise ValueError(f"{title}: queries of several units {sorted(units)}; say unit_")
    json: Json = {
        "type": kind,
        "title": title,
        "description": described(text, asked.values()),
        "datasource": DATASOURCE,
        "fieldConfig": {
            "defaults": {"unit": units.pop(), "noValue": absent(asked.values())} | (defaults or {}),
            "overrides": list(overrides),
        },
        "options": options or {},
        "targets": [
            target(letter(number), legend, query, instant)
            for number, (legend, query) in enumerate(asked.items())
        ],
    }
    if transformations:
        json["transformations"] = list(transformations)
    if links:
        json["links"] = list(links)
    return Panel(json, width, height, tuple(asked.values()))


def letter(number: int) -> str:
    """Return A, B, ... Z, AA."""
    return chr(65 + number) if number < 26 else f"A{chr(65 + number - 26)}"


def target(ref: str, legend: str, query: str, instant: bool) -> Json:
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "expr": selected(query),
        "legendFormat": legend or "__auto",
        "instant": instant,
        "range": not instant,
    }


def described(text: str, queries: Any) -> str:
    """Return the text, and below it what each metric means by its own declaration."""
    found = {metric.name: metric.help for query in queries for metric in read(query)}
    lines = [f"- `{name}`: {help_}" for name, help_ in found.items()]
    return "\n".join([text, *(["", *lines] if lines else [])])


def absent(queries: Any) -> str:
    """Return what a panel without data says: whose data it would be."""
    names = [name for query in queries for metric in read(query) if (name := collectors()[metric.name])]
    parts = ", ".join(dict.fromkeys(names))
    return f"No data. Collector: {parts}; why: MLflow / Exporter" if parts else "No data"


def fixed(name: str, colour: str, **custom: Any) -> Json:
    """Return the override of one series: its colour, and custom properties such as lineStyle."""
    properties = [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]
    properties += [{"id": f"custom.{key}", "value": value} for key, value in custom.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def right(name: str, unit_: str, colour: str) -> Json:
    """Return the override of a series that has another unit, and its axis on the right."""
    made = fixed(name, colour, axisPlacement="right")
    made["properties"].append({"id": "unit", "value": unit_})
    return made


def limit_line(name: str = "limit") -> Json:
    """Return the override of a series that is a bound: dashed, without an area."""
    return fixed(
        name,
        colours.SERIES["limit"],
        lineStyle={"fill": "dash", "dash": [8, 6]},
        fillOpacity=0,
        lineWidth=1,
        stacking={"mode": "none", "group": "limit"},
    )


def graph(
    title: str,
    text: str,
    queries: Queries,
    *,
    limit: Limit | None = None,
    line: Json | None = None,
    stacked: bool = False,
    most: float | None = None,
    legend: str = "list",
    named: Sequence[str] = (),
    overrides: Sequence[Json] = (),
    unit_: str = "",
    bars: bool = False,
    log: bool = False,
    at_least: float | None = None,
    absent_: str = "",
    width: int = 0,
    height: int = 8,
    links: Sequence[Json] = (),
) -> Panel:
    """Return lines over time.

    `limit` draws an alert's threshold and `line` a step that no alert has; `most` fixes the scale's upper end and
    `at_least` says how far it goes when values are low. `named` are series with a colour of their own meaning;
    those whose legend is no label have one without being named. `legend` is "list" below, for up to six series with
    short names, "table" below with last, mean and max, or "side", a table on the right of a wide panel, for more.
    `absent_` is said where a lack of data is no fault.
    """
    if limit:
        text = f"{text} Dashed: where {limit.alert} begins."
    custom: Json = {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 1 if stacked or bars else 2,
        "fillOpacity": 60 if bars else 35 if stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "axisSoftMin": 0,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if limit or line else "off"},
    }
    if log:
        custom["scaleDistribution"] = {"type": "log", "log": 10}
    defaults: Json = {"color": {"mode": "palette-classic-by-name"}, "custom": custom, "min": 0}
    defaults |= {"noValue": absent_} if absent_ else {}
    if log:
        del defaults["min"], custom["axisSoftMin"]
    if most is not None:
        defaults["max"] = most
    if at_least is not None:
        custom["axisSoftMax"] = at_least
    defaults["thresholds"] = thresholds(*([limit.step()] if limit else [line] if line else []))
    shown: Json = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
    if legend == "table":
        shown |= {"displayMode": "table", "calcs": ["lastNotNull", "mean", "max"]}
    if legend == "side":
        shown |= {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}
        shown |= {"sortBy": "Last *", "sortDesc": True}
    options = {"legend": shown, "tooltip": {"mode": "multi", "sort": "desc"}}
    made = panel(
        "timeseries",
        title,
        text,
        queries,
        unit_=unit_,
        defaults=defaults,
        options=options,
        overrides=[*_coloured(queries, named), *overrides],
        links=links,
        width=width,
        height=height,
    )
    if not log and most is None:
        custom.setdefault("axisSoftMax", LEAST.get(made.json["fieldConfig"]["defaults"]["unit"], 0.1))
    return made


def _coloured(queries: Queries, named: Sequence[str]) -> list[Json]:
    """Return the overrides of all series whose names are known: those written out, and those that a label has."""
    legends = () if isinstance(queries, str) else queries
    labels = [colours.LABELS.get(legend.strip("{}"), {}) for legend in legends if legend.startswith("{{")]
    known = [fixed(name, colour) for label in labels for name, colour in label.items()]
    written = [*named, *(legend for legend in legends if "{{" not in legend)]
    spare = cycle(colours.PALETTE)
    return known + [fixed(name, colours.SERIES.get(name) or next(spare)) for name in written]


def stat(
    title: str,
    text: str,
    query: Queries,
    *,
    steps: Sequence[Json] = (),
    base: str = colours.NONE,
    maps: Mapping[int, tuple[str, str]] | None = None,
    unit_: str = "",
    decimals: int | None = None,
    filled: bool = False,
    absent_: str = "",
    width: int = 0,
    height: int = 4,
    links: Sequence[Json] = (),
) -> Panel:
    """Return one number, or several side by side, as of the end of the time; `filled` colours the whole tile.

    There is no line of its past: with one the number would be the last that there was, however old. What says that
    all is well by its colour says so from 0 on: without data there is no colour that means anything.
    """
    if base == colours.OK:
        steps, base = [above(colours.OK, 0), *steps], colours.UNKNOWN if filled else colours.NONE
    defaults: Json = {"thresholds": thresholds(*steps, base=base), "color": {"mode": "thresholds"}}
    if maps:
        defaults["mappings"] = mapped(maps)
    if decimals is not None:
        defaults["decimals"] = decimals
    # Longer texts are drawn too small to read in a tile, so that whose data it would be stands in the description.
    defaults["noValue"] = absent_ or "no data"
    text = f"{text}\n\n{absent([query] if isinstance(query, str) else query.values())}."
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background_solid" if filled else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "orientation": "auto",
    }
    return panel(
        "stat",
        title,
        text,
        query,
        unit_=unit_,
        instant=True,
        defaults=defaults,
        options=options,
        links=links,
        width=width,
        height=height,
    )


def states(
    title: str,
    text: str,
    queries: Queries,
    maps: Mapping[int, tuple[str, str]],
    *,
    absent_: str = "",
    width: int = 0,
    height: int = 8,
    links: Sequence[Json] = (),
) -> Panel:
    """Return a line of coloured states for each series; its numbers are what `maps` has a text and colour for."""
    defaults = {
        "mappings": mapped(maps),
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(base=colours.NONE),
        "custom": {"fillOpacity": 80, "lineWidth": 0},
    } | ({"noValue": absent_} if absent_ else {})
    options = {
        "showValue": "never",
        "mergeValues": True,
        "rowHeight": 0.85,
        "alignValue": "left",
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    return panel(
        "state-timeline",
        title,
        text,
        queries,
        unit_="short",
        defaults=defaults,
        options=options,
        links=links,
        width=width,
        height=height,
    )


@dataclass(frozen=True)
class Column:
    """A column of a table: its field as the query gives it, its title, and how it is shown.

    `bar` draws the value as a bar up to that number, `steps` colour it, `link` is where a click leads.
    """

    name: str
    title: str
    unit: str = ""
    width: int = 0
    decimals: int | None = None
    bar: float | None = None
    steps: tuple[Json, ...] = ()
    maps: Mapping[int, tuple[str, str]] | None = None
    filled: bool = False
    link: str = ""

    def override(self) -> Json:
        properties: list[Json] = []

        def say(name: str, value: Any) -> None:
            properties.append({"id": name, "value": value})

        if self.unit:
            say("unit", self.unit)
        if self.width:
            say("custom.width", self.width)
        if self.decimals is not None:
            say("decimals", self.decimals)
        if self.steps:
            say("thresholds", thresholds(*self.steps))
            say("color", {"mode": "thresholds"})
        if self.maps:
            say("mappings", mapped(self.maps))
        if self.bar is not None:
            say("min", 0)
            say("max", self.bar)
            say("custom.cellOptions", {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})
        elif self.filled:
            say("custom.cellOptions", {"type": "color-background", "mode": "basic"})
        elif self.steps or self.maps:
            say("custom.cellOptions", {"type": "color-text"})
        if self.link:
            say("links", [{"title": f"Open {self.title}", "url": self.link, "targetBlank": False}])
        return {"matcher": {"id": "byName", "options": self.title}, "properties": properties}


def table(
    title: str,
    text: str,
    queries: Queries,
    columns: Sequence[Column],
    *,
    sort: str = "",
    order: str = "",
    unit_: str = "short",
    absent_: str = "",
    width: int = 0,
    height: int = 8,
    links: Sequence[Json] = (),
) -> Panel:
    """Return a table of instant queries, one row for each set of labels, merged; only `columns` are shown, in order.

    The value of the first query is `Value` where it is the only one, else `Value #A`, `Value #B`, and so on. `sort`
    is a column's title, `order` a field that need not be shown; both put the greatest first.
    """
    many = not isinstance(queries, str) and len(queries) > 1
    organized = {
        "indexByName": {column.name: number for number, column in enumerate(columns)},
        "renameByName": {column.name: column.title for column in columns if column.name != column.title},
        "excludeByName": {},
    }
    names = [column.name for column in columns]
    transformations: list[Json] = [{"id": "merge", "options": {}}] if many else []
    if order:
        by = {"fields": {}, "sort": [{"field": order, "desc": True}]}
        transformations.append({"id": "sortBy", "options": by})
    # A step of its own: that of `organize` came with Grafana 10.3.
    transformations.append({"id": "filterFieldsByName", "options": {"include": {"names": names}}})
    transformations.append({"id": "organize", "options": organized})
    defaults = {
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
        "thresholds": thresholds(base=colours.NONE),
        "noValue": absent_,  # of a cell too: a label that a row does not have
    }
    options: Json = {"showHeader": True, "cellHeight": "sm"}
    if sort:
        options["sortBy"] = [{"displayName": sort, "desc": True}]
    made = panel(
        "table",
        title,
        text,
        queries,
        unit_=unit_,
        instant=True,
        defaults=defaults,
        options=options,
        overrides=[one for column in columns if (one := column.override())["properties"]],
        transformations=transformations,
        links=links,
        width=width,
        height=height,
    )
    for one in made.json["targets"]:
        one["format"] = "table"
    return made


def words(title: str, markdown: str, *, width: int = 0, height: int = 8) -> Panel:
    """Return a panel of text."""
    json = {
        "type": "text",
        "title": title,
        "options": {"mode": "markdown", "content": markdown},
        "transparent": True,
    }
    return Panel(json, width, height)
