"""`python -m tests.lab.scale SERVERS [MINUTES] [day]`: what so many tracking servers cost a Prometheus with our rules.

Each is the recorded healthy server of tests/golden/healthy.txt, one exporter with all its series, whose counters go on
from minute to minute; scraped and evaluated every 15 s as in prometheus.yml. With `day`, the series of which rules read
a whole day have one already.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate

from prometheus_client.parser import text_string_to_metric_families

from tests.lab import promtool
from tests.lab.servers import Prometheus
from tests.lab.tools import ROOT, program

RECORDING = ROOT / "tests/golden/healthy.txt"
INTERVAL = 15
# What rules read of a day, with the labels beside the target's.
OF_A_DAY = (
    "mlflow:server_version_seconds:median5m",
    "mlflow:probe_api_seconds:mean5m",
    'mlflow_exporter_build_info{version="0.1.0"}',
    "mlflow_server_up",
)


class Recorded:
    """The recording as it goes on from now."""

    def __init__(self) -> None:
        self.start = time.time()
        self.series = [_series(line) for line in RECORDING.read_text(encoding="utf-8").splitlines()]

    @lru_cache(maxsize=4)  # noqa: B019 - one for the process
    def text(self, second: int) -> bytes:
        minutes = second / 60
        return "".join(
            f"{name} {values[int(minutes) % len(values)] if not sums else _grown(sums, minutes):.9g}\n"
            if "_timestamp_seconds{" not in name
            else f"{name} {self.start + values[0]:.0f}\n"
            for name, values, sums in self.series
        ).encode()


def _series(line: str) -> tuple[str, list[float], list[float]]:
    kind, _, rest = line.partition(" ")
    name, _, text = rest.rpartition("} ")
    values = [float(value) for value in text.split()]
    return f"{name}}}", values, [0.0, *accumulate(values)] if kind == "counter" else []


def _grown(sums: list[float], minutes: float) -> float:
    rounds, rest = divmod(minutes, len(sums) - 1)
    whole = int(rest)
    return rounds * sums[-1] + sums[whole] + (sums[whole + 1] - sums[whole]) * (rest - whole)


@contextmanager
def exporters() -> Iterator[int]:
    """Serve the recording on a port of this machine."""
    recorded = Recorded()

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = recorded.text(int(time.time() - recorded.start))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def names(servers: int) -> list[str]:
    return [f"team-{number:04}" for number in range(servers)]


def write_day(prometheus: Prometheus, servers: int) -> None:
    """Put the day before now into Prometheus' data, by its own tool for that."""
    end = int(time.time()) // INTERVAL * INTERVAL
    times = [f" 0.011 {end - INTERVAL * ago}\n" for ago in range(24 * 3600 // INTERVAL, 0, -1)]
    file = prometheus.directory / "day"
    with file.open("w", encoding="utf-8") as lines:
        for one in OF_A_DAY:
            name, _, own = one.rstrip("}").partition("{")
            for server in names(servers):
                of = f'job="mlflow",instance="{server}",tracking_server="{server}"'
                series = f"{name}{{{','.join(part for part in (own, of) if part)}}}"
                lines.writelines(series + time for time in times)
        lines.write("# EOF\n")
    backfill = ("tsdb", "create-blocks-from", "--max-block-duration=24h", "openmetrics")
    said = promtool.call(program("promtool"), *backfill, file, prometheus.data)
    file.unlink()
    assert said.status == 0, said.text


def config(servers: int, port: int) -> dict[str, object]:
    labels = [
        {"source_labels": ["__address__"], "target_label": label} for label in ("instance", "tracking_server")
    ]
    here = {"target_label": "__address__", "replacement": f"127.0.0.1:{port}"}
    often = {
        "scrape_interval": f"{INTERVAL}s",
        "scrape_timeout": "10s",
        "evaluation_interval": f"{INTERVAL}s",
    }
    scrape = {
        "job_name": "mlflow",
        "static_configs": [{"targets": names(servers)}],
        "relabel_configs": [*labels, here],
    }
    return {"global": often, "rule_files": [f"{ROOT}/alerts/rules/*.yml"], "scrape_configs": [scrape]}


@dataclass(frozen=True)
class Reading:
    """Prometheus' own metrics at a moment, summed over their labels."""

    at: float
    values: dict[str, float]

    @staticmethod
    def of(prometheus: Prometheus) -> Reading:
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(prometheus.get("/metrics").text):
            for one in family.samples:
                found[one.name] = found.get(one.name, 0) + one.value
        return Reading(time.time(), found)


def report(prometheus: Prometheus, before: Reading, after: Reading) -> Iterator[str]:
    def grown(name: str) -> float:
        return after.values[name] - before.values[name]

    seconds = after.at - before.at
    groups = len(list((ROOT / "alerts/rules").glob("*.yml")))
    recorded = prometheus.value('count({__name__=~"mlflow:.+|ALERTS.*"})') or 0
    scraped = prometheus.value("sum(scrape_samples_post_metric_relabeling)") or 0
    down = prometheus.value("count(up == 0)") or 0
    evaluations = grown("prometheus_rule_group_duration_seconds_count") / groups
    yield f"version              {prometheus.run([prometheus.binary, '--version']).splitlines()[0]}"
    yield f"targets down         {down:.0f}"
    yield f"series scraped       {scraped:.0f}"
    yield f"series of rules      {recorded:.0f}"
    yield f"samples a second     {grown('prometheus_tsdb_head_samples_appended_total') / seconds:.0f}"
    yield f"rules, each {INTERVAL} s     {grown('prometheus_rule_group_duration_seconds_sum') / evaluations:.3f} s"
    yield f"slowest group        {slowest(prometheus)}"
    yield f"missed evaluations   {grown('prometheus_rule_group_iterations_missed_total'):.0f}"
    yield f"failed evaluations   {grown('prometheus_rule_evaluation_failures_total'):.0f}"
    yield f"cores, all in all    {grown('process_cpu_seconds_total') / seconds:.2f}"
    yield f"resident memory      {after.values['process_resident_memory_bytes'] / 2**20:.0f} MiB"


def slowest(prometheus: Prometheus) -> str:
    families = text_string_to_metric_families(prometheus.get("/metrics").text)
    found = [
        (one.value, one.labels["rule_group"].rpartition(";")[2])
        for family in families
        for one in family.samples
        if one.name == "prometheus_rule_group_last_duration_seconds"
    ]
    seconds, group = max(found)
    return f"{group} {seconds:.3f} s"


def main(servers: int, minutes: float = 12, day: bool = False) -> None:
    with exporters() as port, ExitStack() as stack:
        prometheus = Prometheus(config(servers, port))
        if day:
            write_day(prometheus, servers)
        stack.enter_context(prometheus)
        time.sleep(60 * minutes - 120)
        before = Reading.of(prometheus)
        time.sleep(120)
        for line in report(prometheus, before, Reading.of(prometheus)):
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 12, "day" in sys.argv)
