"""`python -m tests.lab.record FILE [MINUTES]`: what a busy, healthy server shows, a line a series, a value a minute.

`tests/integration/test_promtool.py` makes a day of it. Counters as they grow from minute to minute, timestamps as
seconds before the first reading; series that came or went are left out.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.lab.load import Load
from tests.lab.servers import Exporter, MlflowServer, Postgres, wait_for

# A server that somebody has set up with care: safe, measured, and with the buffers that its machine suggests.
SETTINGS = {
    "fsync": "on",
    "track_wal_io_timing": "on",
    "shared_buffers": "256MB",
    "effective_cache_size": "2GB",
    "max_wal_size": "4GB",
    "work_mem": "32MB",
    "max_connections": "300",  # more than the pools of four workers can take
}
# Said, so that a recording does not depend on the machine that makes it.
MACHINE = {"MLFLOW_EXPORTER_DATABASE_MEMORY": str(4 * 2**30), "MLFLOW_EXPORTER_DATABASE_CORES": "4"}


def record(minutes: int) -> list[str]:
    """Return the lines of a recording of that many minutes, one reading more."""
    with (
        Postgres(17, SETTINGS) as postgres,
        MlflowServer(postgres.create_mlflow(), workers=4, jobs=True) as server,
        Exporter(["--server.port", str(server.port)], MACHINE) as exporter,
        Load(server.url, clients=4, rate=20.0),
    ):
        wait_for(lambda: len(exporter.values("mlflow_probe_success")) == 4, "all probes", 120)
        postgres.execute("ANALYZE", dbname="mlflow")
        time.sleep(60)  # the first minute is no minute of a day
        readings = []
        start = time.time()
        for number in range(minutes + 1):
            time.sleep(max(0.0, start + 60 * number - time.time()))
            readings.append(_read(exporter.scrape(), start))
    kept = [series for series in readings[0] if all(series in reading for reading in readings)]
    return [
        f"{kind} {series} {' '.join(f'{value:.6g}' for value in _values(kind, series, readings))}"
        for series in sorted(kept)
        for kind in [readings[0][series][0]]
    ]


def _read(text: str, start: float) -> dict[str, tuple[str, float]]:
    found = {}
    for family in text_string_to_metric_families(text):
        timestamp = family.name.endswith("_timestamp_seconds")
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            kind = "gauge" if family.type == "gauge" else "counter"
            value = sample.value - start if timestamp else sample.value
            if not family.name.startswith("process_") and "query=" not in labels:
                found[f"{sample.name}{{{labels}}}"] = (kind, value)
    return found


def _values(kind: str, series: str, readings: list[dict[str, tuple[str, float]]]) -> list[float]:
    values = [reading[series][1] for reading in readings]
    if kind == "gauge":
        return values
    return [after - before for before, after in pairwise(values)]


if __name__ == "__main__":
    lines = record(int(sys.argv[2]) if sys.argv[2:] else 12)
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
