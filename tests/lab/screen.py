"""The demo's screen: two scrapes of the exporter become a few lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.samples import Sample

TOP = 6


@dataclass(frozen=True)
class Reading:
    """One scrape and when it was made, in seconds."""

    time: float
    samples: list[Sample]

    def by(self, name: str, label: str, **wanted: str) -> dict[str, float]:
        """Return a metric's values added up by one label; empty where it is absent."""
        sums: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == name and wanted.items() <= sample.labels.items():
                sums[sample.labels[label]] = sums.get(sample.labels[label], 0.0) + sample.value
        return sums

    def value(self, name: str) -> float | None:
        return next((sample.value for sample in self.samples if sample.name == name), None)

    def rates(self, before: Reading, name: str, label: str) -> dict[str, float]:
        """Return how fast a counter grew since an earlier scrape, a second, by one label."""
        then, seconds = before.by(name, label), self.time - before.time
        now = self.by(name, label)
        return {key: (value - then[key]) / seconds for key, value in now.items() if seconds and key in then}

    def median(self, histogram: str, **wanted: str) -> float | None:
        """Return a histogram's median as Prometheus would, None without observations."""
        buckets = sorted(
            (float(bound), count) for bound, count in self.by(f"{histogram}_bucket", "le", **wanted).items()
        )
        if not buckets or not (half := buckets[-1][1] / 2):
            return None
        low, below = 0.0, 0.0
        for bound, count in buckets:
            if count >= half:
                return (
                    low if bound == float("inf") else low + (bound - low) * (half - below) / (count - below)
                )
            low, below = bound, count
        return None


def screen(now: Reading, before: Reading) -> list[str]:
    """Return the lines; what the exporter does not know is a dash, as it has no sample."""
    return [*_server(now, before), *_database(now), *_operations(now, before), *_collectors(now)]


def line(now: Reading, before: Reading) -> str:
    """Return the whole in one line, for a log."""
    cpu = now.rates(before, "mlflow_server_worker_cpu_seconds_total", "worker")
    calls = sum(sum(now.rates(before, name, "operation").values()) for name in _each("calls"))
    ready = now.by("mlflow_exporter_collector_success", "collector")
    return (
        f"server {_up(now, 'mlflow_server_up')}  database {_up(now, 'mlflow_db_up')}  workers' CPU "
        f"{sum(cpu.values()):.2f}  API p50 {_milliseconds(_api(now))}  statements {calls:.0f}/s  "
        f"collectors {sum(ready.values()):.0f} of {len(ready)}"
    )


def _server(now: Reading, before: Reading) -> Iterator[str]:
    alive, configured = (
        _number(now.value(f"mlflow_server_workers_{what}")) for what in ("alive", "configured")
    )
    yield (
        f"server {_up(now, 'mlflow_server_up')}   workers {alive} of {configured}"
        f"   API p50 {_milliseconds(_api(now))}   accept queue "
        f"{_number(now.value('mlflow_server_accept_queue_length'))}"
    )
    cpu = now.rates(before, "mlflow_server_worker_cpu_seconds_total", "worker")
    columns = {
        "fds": now.by("mlflow_server_worker_open_fds", "worker"),
        "MiB": {
            worker: value / 2**20
            for worker, value in now.by("mlflow_server_worker_resident_memory_bytes", "worker").items()
        },
        "http": now.by("mlflow_server_worker_http_connections", "worker"),
        "db": now.by("mlflow_server_worker_database_connections", "worker"),
    }
    yield "  worker    CPU" + "".join(f"{title:>7}" for title in columns)
    for worker in columns["fds"] or cpu:
        shown = "".join(f"{_number(column.get(worker)):>7}" for column in columns.values())
        yield f"  {worker:<6}{f'{cpu[worker]:.2f}' if worker in cpu else '-':>7}{shown}"


def _database(now: Reading) -> Iterator[str]:
    states = now.by("mlflow_db_connections", "state")
    used = "  ".join(f"{state} {count:.0f}" for state, count in sorted(states.items()) if count)
    limit = _number(now.value("mlflow_db_connections_limit"))
    yield (
        f"database {_up(now, 'mlflow_db_up')}   round trip "
        f"{_milliseconds(now.value('mlflow_db_round_trip_seconds'))}   connections {used or '-'}  (limit {limit})"
    )


def _operations(now: Reading, before: Reading) -> Iterator[str]:
    calls, seconds = (_both(now.rates(before, name, "operation") for name in _each(what)) for what in UNITS)
    yield "  most calls                      most time"
    by_calls, by_time = (sorted(rates.items(), key=lambda item: -item[1])[:TOP] for rates in (calls, seconds))
    for (called, count), (slow, busy) in zip(by_calls, by_time, strict=True):
        yield f"  {called:<18}{count:>8.0f}/s     {slow:<18}{busy * 1000:>8.1f} ms/s"


def _collectors(now: Reading) -> Iterator[str]:
    states = now.by("mlflow_exporter_collector_success", "collector")
    shown = "  ".join(
        f"{name}\N{NO-BREAK SPACE}{'ok' if value == 1 else 'FAILS'}" for name, value in sorted(states.items())
    )
    yield from textwrap.wrap(
        f"collectors   {shown or '-'}", 100, subsequent_indent="  ", break_on_hyphens=False
    )


UNITS = ("calls", "seconds")


def _each(what: str) -> tuple[str, str]:
    return (f"mlflow_db_statement_read_{what}_total", f"mlflow_db_statement_write_{what}_total")


def _both(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for part in parts:
        for key, value in part.items():
            sums[key] = sums.get(key, 0.0) + value
    return sums


def _api(now: Reading) -> float | None:
    return now.median("mlflow_probe_duration_seconds", probe="api")


def _up(now: Reading, name: str) -> str:
    return {1.0: "up", 0.0: "DOWN", None: "-"}[now.value(name)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
