"""`python -m tests.bench.bare PORT FILE`: client_python alone, with the series of that exposition, read once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


class Read(Collector):
    """Families that are there already."""

    def __init__(self, text: str) -> None:
        self._families = list(text_string_to_metric_families(text))

    def collect(self) -> Iterable[Metric]:
        return self._families


if __name__ == "__main__":
    registry = CollectorRegistry()
    registry.register(Read(Path(sys.argv[2]).read_text(encoding="utf-8")))
    start_http_server(int(sys.argv[1]), "127.0.0.1", registry)
    threading.Event().wait()
