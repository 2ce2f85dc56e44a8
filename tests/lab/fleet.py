"""Many tracking servers for the dashboards: a recorded healthy one over and over, and each eighth of them in trouble.

Made of tests/golden/healthy.txt and of what the rules would record, and written into Prometheus' data directory by
its own tool for that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from exporter.pack.dashboards import promql
from exporter.pack.dashboards.dashboard import Dashboard
from exporter.pack.dashboards.limits import signals
from tests.lab import promtool
from tests.lab.panels import View, queries
from tests.lab.servers import Prometheus
from tests.lab.tools import ROOT, program

RECORDING = ROOT / "tests/golden/healthy.txt"
MAIN = 'job="mlflow",instance="a:10500",tracking_server="main"'  # of promtool.day
# What MLflow itself counts of a healthy server: its name, own labels and value.
RECORDED = (
    ("mlflow:http_requests:rate5m", "", "8"),
    ("mlflow:http_errors:ratio_rate5m", "", "0.0004"),
    ("mlflow:http_request_seconds:p95_rate5m", 'method="GET",', "0.09"),
    ("mlflow:http_request_seconds:p95_rate5m", 'method="POST",', "0.05"),
)

BLOCK = 7200  # seconds
END = 1_700_000_000 // BLOCK * BLOCK - 60  # all in one block, which takes the tool half the time of two
IN_TROUBLE = 8  # each eighth server is, since the middle
DOWN = 7  # the server of this number has no process since then
# Of what else a Prometheus evaluates, for somebody else.
FOREIGN = (
    'ALERTS{alertname="KubePodCrashLooping",alertstate="firing",severity="critical",job="kube-state-metrics"}'
)
PENDING = 5  # minutes, as most alerts wait
ALONE = {"": 0}  # a cluster without a name
NONE = "_"  # no sample, as in promtool's notation

Series = Iterator[tuple[str, Sequence[str]]]


class Fleet(Prometheus):
    """A Prometheus with what these dashboards read, of so many servers and minutes, a sample a minute.

    `clusters` have the same servers each; their numbers say which of them are in trouble.
    """

    def __init__(
        self,
        dashboards: Iterable[Dashboard],
        number: int = 200,
        minutes: int = 119,
        clusters: Mapping[str, int] = ALONE,
    ) -> None:
        super().__init__({"global": {}}, options=["--storage.tsdb.retention.time=100y"])
        self.servers = [f"team-{one:03}" for one in range(number)]
        self.in_trouble = self.servers[::IN_TROUBLE]
        self.minutes = minutes
        self.clusters = clusters
        self.view = View(END - 60 * minutes, END, scrape=60)
        self.names = {
            name
            for one in dashboards
            for query in queries(one.name, one.json(), self.view)
            for name in promql.series(query.text)
        }

    def start(self) -> None:
        if not self.data.exists():
            self._write(fleet(self.names, self.servers, self.minutes, self.clusters))
        super().start()

    def _write(self, series: Series) -> None:
        times = [f" {END - 60 * ago}\n" for ago in range(self.minutes, -1, -1)]
        text = self.directory / "series"
        with text.open("w", encoding="utf-8") as file:
            for name, values in series:
                both = zip(values, times, strict=True)
                file.writelines(f"{name} {value}{time}" for value, time in both if value != NONE)
            file.write("# EOF\n")
        backfill = ("tsdb", "create-blocks-from", "openmetrics")
        said = promtool.call(program("promtool"), *backfill, text, self.data)
        text.unlink()
        assert said.status == 0, said.text


def fleet(
    names: Collection[str], servers: Sequence[str], minutes: int, clusters: Mapping[str, int]
) -> Series:
    """Yield each series of those names, with its values."""
    day = promtool.day(RECORDING.read_text(encoding="utf-8"), minutes)
    recorded = [
        (one["series"], moved(one["series"], promtool.expand(one["values"]), END - 60 * minutes))
        for one in day
        if one["series"].partition("{")[0] in names
    ]
    yield FOREIGN, ["1"] * (minutes + 1)
    each = [
        (cluster, first + place, one)
        for cluster, first in clusters.items()
        for place, one in enumerate(servers)
    ]
    for cluster, number, server in each:
        of = f'cluster="{cluster}",' if cluster else ""
        labels = f'{of}job="mlflow",tracking_server="{server}"'
        for name, values in recorded:
            gone = number == DOWN and name.startswith("mlflow_server_up{")
            given = [*values[: minutes // 2], *["0"] * (minutes + 1 - minutes // 2)] if gone else values
            yield name.replace(MAIN, f'{labels},instance="{server}:10500"'), given
        for name, values in ruled(number, labels, minutes):
            if name.partition("{")[0] in names:
                yield name, values


def moved(name: str, values: Sequence[str], start: float) -> Sequence[str]:
    """Return the values; those of timestamps, which count from the recording's start, counted from another."""
    if "_timestamp_seconds{" not in name:
        return values
    return [f"{float(value) + start:.0f}" for value in values]


def ruled(number: int, labels: str, minutes: int) -> Series:
    """Yield what the rules make of a server: its pressures, and of one that is above 1 the alert."""
    half = (minutes + 1) // 2
    left = minutes + 1 - half
    for name, own, value in RECORDED:
        yield f"{name}{{{own}{labels}}}", [value] * (minutes + 1)
    found = signals()
    trouble = found[number // IN_TROUBLE % len(found)] if number % IN_TROUBLE == 0 else None
    for place, one in enumerate(found):
        of = f"{one.matchers.replace(' ', '')},{labels}"
        quiet = f"{(7 * number + 13 * place) % 70 / 100:g}"
        then = f"{1.2 + number % 7 / 4:g}" if one == trouble else quiet
        yield f"mlflow:pressure:ratio{{{of}}}", [quiet] * half + [then] * left
    if trouble:
        of = f'alertname="{trouble.alert}",severity="{trouble.severity}",cause="{trouble.cause}",{labels}'
        waits = [NONE] * half + ["1"] * PENDING + [NONE] * (left - PENDING)
        fires = [NONE] * (half + PENDING) + ["1"] * (left - PENDING)
        yield f'ALERTS{{alertstate="pending",{of}}}', waits
        yield f'ALERTS{{alertstate="firing",{of}}}', fires
