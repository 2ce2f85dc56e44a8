"""Label values of any kind: each comes out of both parsers as it went in, and none makes another series."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.exposition import Writer
from exporter.metric import counter, gauge
from tests.fuzz.cases import count, holds
from tests.fuzz.inputs import anything, joined
from tests.lab.process import wait_for
from tests.lab.servers import Prometheus

pytestmark = pytest.mark.fuzz

GAUGE = gauge(
    "mlflow_db_fuzzed_ratio", 'A "help" with \\ and\na line break.', "x", "ratio", ("one", "number")
)
COUNTER = counter("mlflow_db_fuzzed_total", "Counted.", "x", labels=("one",))
PIECES = (
    *'\n\r"\\{}=,# \t\0\x0b\x0c\x1c\x1d\x85\u2028\ufeff\uffff',
    *(
        "\\n",
        "\\",
        '"} 1\n',
        "mlflow_x 1\n",
        "# TYPE x gauge\n",
        "\ud800",
        "\udfff",
        "\U0001f600",
        "a" * 5_000,
    ),
)
values = st.one_of(anything, joined(PIECES, 12))


def page(given: Sequence[str], serial: float = 1.0) -> str:
    samples = [GAUGE(0.5, one, str(number)) for number, one in enumerate(given)]
    samples.append(COUNTER(serial, given[0]))
    return Writer().text(samples)[0]


def meant(value: str) -> str:
    """Return what is shown of a text: one that UTF-8 cannot say is not whole."""
    return value.encode(errors="replace").decode()


@holds(
    share=2,
    was_wrong={"UTF-8 has no half of a pair": {"given": ["\ud800"]}},
    given=st.lists(values, min_size=1, max_size=3),
)
def test_any_label_value_is_what_the_client_library_reads(given: list[str]) -> None:
    read = list(text_string_to_metric_families(page(given)))
    assert {family.name: len(family.samples) for family in read} == {
        "mlflow_db_fuzzed_ratio": len(given),
        "mlflow_db_fuzzed": 1,
    }
    assert [one.labels["one"] for one in read[0].samples] == [meant(one) for one in given]


class Page(BaseHTTPRequestHandler):
    """Serves what is to be scraped."""

    text: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(self.text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    """Return a Prometheus that scrapes the page all the time."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    job = {
        "job_name": "fuzzed",
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}],
    }
    with Prometheus({"global": {}, "scrape_configs": [job]}) as running:
        yield running
    server.shutdown()
    thread.join()
    server.server_close()


serials = itertools.count(1)


@holds(share=0.015, given=st.lists(values, min_size=50, max_size=400))
def test_any_label_value_is_what_prometheus_reads(given: list[str], prometheus: Prometheus) -> None:
    count(len(given) - 1)
    serial = next(serials)
    Page.text = page(given, serial).encode()
    wait_for(lambda: bool(prometheus.query(f"mlflow_db_fuzzed_total == {serial}")), "a scrape", 15)
    found = [one["metric"] for one in prometheus.query('{__name__=~"mlflow_.+"}')]
    assert sum(one["__name__"] == "mlflow_db_fuzzed_ratio" for one in found) == len(given) == len(found) - 1
    for one in found:
        # A label that is empty is none.
        assert one.get("one", "") == meant(given[int(one.get("number", 0))])
    assert all(one.keys() <= {"__name__", "one", "number", "job", "instance"} for one in found)
