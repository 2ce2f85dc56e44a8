"""The dashboards' queries, run against a Prometheus as Grafana runs them: what each panel, variable and mark gets.

Grafana puts numbers into a query before it sends it: the step, from the range and the panel's width, and the
interval of rates, from the step and the interval of scrapes. Both are computed here as it does.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import requests

from exporter.pack.dashboards.dashboard import COLUMNS, Dashboard

Json = dict[str, Any]

SLOWEST = 10  # seconds: what Prometheus is given for one query
MOST = 40  # series of a query: more lines than anybody tells apart
MOST_ROWS = 200  # of a table, which scrolls
SCREEN = 1600  # pixels
POINTS = 11_000  # of a series, which Prometheus gives at most

# Grafana's steps in seconds; it takes the nearest.
STEPS = (
    *(0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30),
    *(60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400),
)

_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::\w+)?\}|\$([A-Za-z_]\w*)")
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True)
class View:
    """What is looked at: the time between `start` and `end`, on a screen of that many pixels.

    `scrape` is the data source's interval of scrapes, `selected` the values of a variable where it is not at All.
    """

    start: float
    end: float
    scrape: float = 15.0
    selected: Mapping[str, Sequence[str]] = field(default_factory=dict)
    screen: int = SCREEN

    def step(self, columns: int = COLUMNS, least: float = 0.0) -> float:
        """Return the seconds between two points in a panel of that width."""
        even = (self.end - self.start) / (self.screen * columns // COLUMNS)
        least = least or self.scrape
        nearest = min(STEPS, key=lambda one: abs(one - even))
        return max(nearest if even >= least else least, (self.end - self.start) / POINTS)

    def values(self, variables: Iterable[Json], step: float) -> dict[str, str]:
        """Return what stands for each variable in a query, the built-in ones too."""
        seconds = math.ceil(self.end - self.start)
        built_in = {
            "__interval": duration(step),
            "__interval_ms": f"{step * 1000:.0f}",
            "__rate_interval": duration(max(step + self.scrape, 4 * self.scrape)),
            "__range": duration(seconds),
            "__range_s": f"{seconds}",
            "__range_ms": f"{seconds * 1000}",
            "__from": f"{self.start * 1000:.0f}",
            "__to": f"{self.end * 1000:.0f}",
        }
        own = {one["name"]: one["allValue"] for one in variables if one["type"] == "query"}
        return built_in | own | {name: either(values) for name, values in self.selected.items()}


def duration(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"


def either(values: Sequence[str]) -> str:
    """Return the selected values as Grafana writes them into a matcher."""
    escaped = [re.sub(r"([\\$^*{}\[\]'+?.()|])", r"\\\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def replaced(text: str, values: Mapping[str, str]) -> str:
    """Return the text with its variables' values; raises KeyError for one that there is not."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


class Place(NamedTuple):
    """Where answers are shown; `kind` is the panel's type, `variable` or `annotation`.

    `columns` are the fields of its queries that a table shows, `row` the heading above it.
    """

    dashboard: str
    number: int
    title: str
    kind: str
    row: str = ""
    columns: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return " / ".join(filter(None, (self.dashboard, self.row, self.title)))

    @property
    def panel(self) -> bool:
        return self.kind not in ("variable", "annotation")

    @property
    def most(self) -> int:
        return MOST_ROWS if self.kind == "table" else MOST


class Query(NamedTuple):
    """A query of a place: over the view at these steps, for its end only, or for a label's values.

    `value` is the field that its values are in, where they are a table.
    """

    place: Place
    text: str
    how: Literal["points", "end", "values"]
    step: float
    ref: str = ""
    legend: str = ""
    value: str = "Value"

    def __str__(self) -> str:
        return f"{self.place} {self.ref}".rstrip()


@dataclass(frozen=True)
class Answer:
    """What a query got: elements as Prometheus' API has them, or a label's values; `error` where it failed.

    `sent` is the query with its variables' values.
    """

    query: Query
    sent: str
    result: Sequence[Any] = ()
    error: str = ""
    seconds: float = 0.0

    @property
    def place(self) -> Place:
        return self.query.place

    @property
    def series(self) -> int:
        return len(self.result)

    @property
    def values(self) -> list[str]:
        """Return the values of all samples, as Prometheus writes them."""
        if self.query.how == "values":
            return []
        return [value for one in self.result for _, value in one.get("values") or [one["value"]]]

    @property
    def nan(self) -> int:
        return self.values.count("NaN")

    @property
    def infinite(self) -> int:
        return sum(value.endswith("Inf") for value in self.values)

    @property
    def names(self) -> list[str]:
        """Return what its series are called in the panel's legend."""
        if self.query.legend == "__auto":
            return [str(sorted(one["metric"].items())) for one in self.result]
        return [rendered(self.query.legend, one["metric"]) for one in self.result]

    @property
    def fields(self) -> set[str]:
        """Return the fields that a table has of it."""
        if not self.result:
            return set()
        return {"Time", self.query.value, *(name for one in self.result for name in one["metric"])}

    def wrong(self) -> str:
        """Say what is not as it should be, or nothing."""
        if self.error:
            said = self.error
        elif self.nan or self.infinite:
            said = f"{self.nan} NaN and {self.infinite} infinite of {len(self.values)} samples"
        elif self.place.panel and self.series > self.place.most:
            said = f"{self.series} series, {self.place.most} at most"
        else:
            return ""
        return f"{self.query}: {said}\n  {self.sent}"


def rendered(legend: str, labels: Mapping[str, str]) -> str:
    return _LABEL.sub(lambda found: labels.get(found[1], ""), legend)


def empty(answers: Iterable[Answer]) -> set[Place]:
    """Return the panels of which no query got anything."""
    panels = [one for one in answers if one.place.panel]
    return {one.place for one in panels} - {one.place for one in panels if one.result}


def alike(answers: Iterable[Answer]) -> set[tuple[Place, str]]:
    """Return the names that several lines of a panel have, and names without any text: which line is which."""
    lines = [one for one in answers if one.place.kind in ("timeseries", "state-timeline")]
    found = Counter((one.place, name) for one in lines for name in one.names)
    return {(place, name) for (place, name), number in found.items() if number > 1 or not name.strip()}


def unfilled(answers: Iterable[Answer]) -> set[tuple[Place, str]]:
    """Return the columns of tables that no query gives a field for, unless it got nothing at all."""
    rows = [one for one in answers if one.place.columns and one.result]
    wanted = {(one.place, column) for one in rows for column in one.place.columns}
    return wanted - {(one.place, name) for one in rows for name in one.fields}


def ask(url: str, dashboards: Iterable[Dashboard], view: View) -> list[Answer]:
    """Run every query of these dashboards against the Prometheus at that address."""
    with requests.Session() as session:
        api = Api(session, url)
        return [
            answered(api, query, view, json["templating"]["list"])
            for one in dashboards
            for json in [one.json()]
            for query in queries(one.name, json, view)
        ]


def queries(dashboard: str, json: Json, view: View) -> Iterator[Query]:
    """Yield the queries of a dashboard's variables, its annotations, and its panels, those in closed rows too."""
    for number, one in enumerate(json["templating"]["list"]):
        if one["type"] == "query":
            place = Place(dashboard, -number, f"variable {one['name']}", "variable")
            yield Query(place, one["query"]["query"], "values", view.step())
    for number, one in enumerate(json["annotations"]["list"]):
        place = Place(dashboard, -number, f"annotation {one['name']}", "annotation")
        yield Query(place, one["expr"], "points", view.step(least=60))
    for row, panel in shown(json["panels"]):
        place = Place(dashboard, panel["id"], panel["title"], panel["type"], row, columns(panel))
        step = view.step(panel["gridPos"]["w"])
        targets = panel.get("targets", ())
        for one in targets:
            how: Literal["points", "end"] = "end" if one["instant"] else "points"
            value = "Value" if len(targets) == 1 else f"Value #{one['refId']}"
            yield Query(place, one["expr"], how, step, one["refId"], one["legendFormat"], value)


def shown(panels: Iterable[Json]) -> Iterator[tuple[str, Json]]:
    """Yield panels, those in closed rows too, each with the heading that it is under."""
    row = ""
    for one in panels:
        if one["type"] == "row":
            row = one["title"]
            yield from ((row, inside) for inside in one["panels"])
        else:
            yield row, one


def columns(panel: Json) -> frozenset[str]:
    """Return the fields that a table asks for by name."""
    options = [one["options"] for one in panel.get("transformations", ())]
    kept = [name for one in options for name in one.get("include", {}).get("names", ())]
    return frozenset([*kept, *(name for one in options for name in one.get("includeByName", ()))])


def answered(api: Api, query: Query, view: View, variables: Iterable[Json]) -> Answer:
    try:
        sent = replaced(query.text, view.values(variables, query.step))
    except KeyError as error:
        return Answer(query, query.text, error=f"there is no variable {error}")
    began = time.monotonic()
    try:
        result = api.get(query, sent, view)
    except (ValueError, requests.RequestException) as error:
        return Answer(query, sent, error=str(error), seconds=time.monotonic() - began)
    return Answer(query, sent, result, seconds=time.monotonic() - began)


class Api:
    """A Prometheus' HTTP API, asked as Grafana's data source asks it."""

    def __init__(self, session: requests.Session, url: str) -> None:
        self.session, self.url = session, url

    def get(self, query: Query, sent: str, view: View) -> list[Any]:
        """Return elements, or a label's values; raises ValueError with what Prometheus says against the query."""
        if query.how == "values":
            return self._label_values(sent, view)
        if query.how == "end":
            return self._elements("query", {"query": sent, "time": f"{view.end:.3f}"})
        # Grafana puts both ends on whole steps.
        start, end = (math.floor(round(one / query.step, 6)) * query.step for one in (view.start, view.end))
        asked = {"query": sent, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{query.step:.3f}"}
        return self._elements("query_range", asked)

    def _label_values(self, sent: str, view: View) -> list[Any]:
        """Return what `label_values(series, label)` stands for, a function of Grafana's own."""
        found = _LABEL_VALUES.fullmatch(sent)
        if not found:
            raise ValueError("is not label_values(series, label)")
        asked = {"match[]": found[1], "start": f"{view.start:.3f}", "end": f"{view.end:.3f}"}
        where = f"{self.url}/api/v1/label/{found[2]}/values"
        values: list[Any] = _data(self.session.get(where, params=asked, timeout=3 * SLOWEST))
        return values

    def _elements(self, path: str, asked: Mapping[str, str]) -> list[Any]:
        where = f"{self.url}/api/v1/{path}"
        # By POST: many selected servers make an address too long.
        said = self.session.post(where, {**asked, "timeout": f"{SLOWEST}s"}, timeout=3 * SLOWEST)
        data = _data(said)
        scalar = data["resultType"] == "scalar"
        found: list[Any] = [{"metric": {}, "value": data["result"]}] if scalar else data["result"]
        return found


def _data(said: requests.Response) -> Any:
    json = said.json()
    if json["status"] != "success":
        raise ValueError(f"{json['errorType']}: {json['error']}")
    return json["data"]
