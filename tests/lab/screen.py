"""The demo's screen: two scrapes of the exporter become a few lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.samples import Sample

from exporter.statements import OPERATIONS

TOP = 6
UNUSUAL = ("run_lookup", "transaction", "catalog")  # whose names do not say what they are
SAMPLED = "mlflow_db_load_sampled_seconds_total"


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

    def value(self, name: str, **wanted: str) -> float | None:
        found = (sample for sample in self.samples if sample.name == name)
        return next((sample.value for sample in found if wanted.items() <= sample.labels.items()), None)

    def grown(self, before: Reading, name: str, label: str, **wanted: str) -> dict[str, float]:
        """Return by how much a counter of the exporter's own grew since an earlier scrape.

        These start at 0 with the exporter, so what was not there has grown from 0. Empty where it is the same scrape.
        """
        then = before.by(name, label, **wanted)
        now = self.by(name, label, **wanted) if self.time > before.time else {}
        return {key: value - then.get(key, 0.0) for key, value in now.items()}

    def rates(self, before: Reading, name: str, label: str) -> dict[str, float]:
        """Return how fast a counter grew since an earlier scrape, a second, by one label."""
        then, seconds = before.by(name, label), self.time - before.time
        now = self.by(name, label)
        return {key: (value - then[key]) / seconds for key, value in now.items() if seconds and key in then}

    def median(self, before: Reading, histogram: str, **wanted: str) -> float | None:
        """Return a histogram's median since an earlier scrape as Prometheus would, None without observations."""
        grown = self.grown(before, f"{histogram}_bucket", "le", **wanted)
        buckets = sorted((float(bound), count) for bound, count in grown.items())
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


def screen(now: Reading, before: Reading, minute: Reading) -> list[str]:
    """Return the lines; what the exporter does not know is a dash, as it has no sample.

    Rates are since the scrape `before`; what takes longer to be seen since `minute`, a minute ago.
    """
    return [
        *_server(now, before, minute),
        *_database(now, minute),
        *_operations(now, before),
        *_collectors(now),
    ]


def line(now: Reading, before: Reading, minute: Reading) -> str:
    """Return the whole in one line, for a log."""
    cpu = now.rates(before, "mlflow_server_worker_cpu_seconds_total", "worker")
    calls = _both(now.rates(before, name, "operation") for name in _each("calls"))
    ready = now.by("mlflow_exporter_collector_success", "collector")
    load, _ = _load(now, minute)
    return (
        f"server {_up(now, 'mlflow_server_up')}  API {_api(now, minute)}  workers' CPU {_sum(cpu, 2)}  "
        f"database {_up(now, 'mlflow_db_up')}  load {_sum(dict(load), 2)}  statements {_sum(calls)}/s  "
        f"collectors {sum(ready.values()):.0f} of {len(ready)}"
    )


def _server(now: Reading, before: Reading, minute: Reading) -> Iterator[str]:
    alive, configured = (
        _number(now.value(f"mlflow_server_workers_{what}")) for what in ("alive", "configured")
    )
    yield (
        f"server {_up(now, 'mlflow_server_up')}   API {_api(now, minute)}   workers {alive} of {configured}"
        f"   accept queue {_number(now.value('mlflow_server_accept_queue_length'))}"
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


def _database(now: Reading, minute: Reading) -> Iterator[str]:
    states = now.by("mlflow_db_connections", "state")
    used = "  ".join(f"{state} {count:.0f}" for state, count in sorted(states.items()) if count)
    limit = _number(now.value("mlflow_db_connections_limit"))
    yield (
        f"database {_up(now, 'mlflow_db_up')}   round trip "
        f"{_milliseconds(now.value('mlflow_db_round_trip_seconds'))}   connections {used or '-'}  (limit {limit})"
    )
    load, operations = _load(now, minute)
    line = f"  active sessions {_sum(dict(load), 2)}"
    for what, part in (("by wait", load), ("by operation", operations)):
        most = "  ".join(f"{name} {value:.2f}" for name, value in part[:TOP] if value >= 0.005)
        line += f"   {what}: {most}" if most else ""
    yield line


def _operations(now: Reading, before: Reading) -> Iterator[str]:
    calls, seconds = (_both(now.rates(before, name, "operation") for name in _each(what)) for what in UNITS)
    yield "  most calls                      most time"
    by_calls, by_time = (sorted(rates.items(), key=lambda item: -item[1])[:TOP] for rates in (calls, seconds))
    for (called, count), (slow, busy) in zip(by_calls, by_time, strict=True):
        yield f"  {called:<18}{count:>8.0f}/s     {slow:<18}{busy * 1000:>8.1f} ms/s"
    shown = {name for name, _ in (*by_calls, *by_time)}
    told = "; ".join(f"{name}: {OPERATIONS[name]}" for name in UNUSUAL if name in shown)
    yield from textwrap.wrap(told, 100, initial_indent="  ", subsequent_indent="  ")


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


def _load(now: Reading, minute: Reading) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return the average number of active sessions by what they wait for and by operation, largest first."""
    seconds = (now.value(SAMPLED) or 0.0) - (minute.value(SAMPLED) or 0.0)
    parts = (
        now.grown(minute, "mlflow_db_load_seconds_total", "wait_class"),
        now.grown(minute, "mlflow_db_load_operation_seconds_total", "operation"),
    )
    if not seconds:
        return [], []
    waits, operations = (
        sorted(((name, value / seconds) for name, value in part.items()), key=lambda item: -item[1])
        for part in parts
    )
    # A session that waits for its client is no work of the database.
    return [one for one in waits if one[0] != "client"], operations


def _api(now: Reading, minute: Reading) -> str:
    """Return the probe's last result, and median latency and failures of the last minute."""
    state = {1.0: "ok", 0.0: "FAILS", None: "-"}[now.value("mlflow_probe_success", probe="api")]
    median = now.median(minute, "mlflow_probe_duration_seconds", probe="api")
    failures = now.grown(minute, "mlflow_probe_failures_total", "reason", probe="api")
    why = ", ".join(f"{reason} {count:.0f}" for reason, count in failures.items() if count)
    return f"{state} (last minute: p50 {_milliseconds(median)}, failed {_sum(failures)}{f': {why}' if why else ''})"


def _up(now: Reading, name: str) -> str:
    return {1.0: "up", 0.0: "DOWN", None: "-"}[now.value(name)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _sum(parts: dict[str, float], digits: int = 0) -> str:
    return f"{sum(parts.values()):.{digits}f}" if parts else "-"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
