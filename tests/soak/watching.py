"""Who writes the record: scrapers as Prometheus is one, and a look at the exporter's process meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Self

import psutil
import psycopg
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.soak.record import Fall, Held, Record, Scrape
from tests.soak.site import Site

INTERVAL = TIMEOUT = 1.0  # of scrapes: the exporter has half a second of it
LOOKS = 0.7  # seconds: in step with the scrapes it would see the same moment of each
MIB = 1 << 20
# Counted from when a statement came among the slowest, so from 0 each time that it comes.
COMES_AND_GOES = "mlflow_db_slow_statement_"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlflow-exporter'"


class Repeated:
    """Do something again and again on a thread until the block ends, which raises what that raised."""

    def __init__(self, act: Callable[[], None], every: float) -> None:
        self._act, self._every = act, every
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _live(self) -> None:
        due = time.monotonic()
        try:
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                due = max(due, time.monotonic() - self._every) + self._every
                self._act()
        except Exception as error:  # noqa: BLE001 - told by whoever waits for the thread
            self._failure = error


class Scraper:
    """A Prometheus that reads every second answer compressed; one that is `curious` looks at each series."""

    def __init__(self, site: Site, record: Record, curious: bool) -> None:
        self._url = site.exporter.url + "/metrics"
        self._record, self._curious = record, curious
        self._session = requests.Session()
        self._before: dict[str, tuple[float, float]] = {}
        self._packed = False

    def scrape(self) -> None:
        at, text, error = time.monotonic(), "", ""
        self._packed = not self._packed
        headers = {
            "X-Prometheus-Scrape-Timeout-Seconds": str(TIMEOUT),
            "Accept-Encoding": "gzip" if self._packed else "identity",
        }
        during = self._record.during
        try:
            answer = self._session.get(self._url, headers=headers, timeout=10)
            text = answer.text
            error = "" if answer.status_code == 200 else f"status {answer.status_code}"
        except requests.RequestException as problem:
            error = type(problem).__name__
        seconds = time.monotonic() - at
        if not error and seconds > TIMEOUT:
            error = f"after {seconds:.1f} s"
        self._record.scrapes.append(Scrape(at, during, seconds, len(text), error))
        if text and self._curious:
            self._look(at, at + seconds, text)

    def _look(self, at: float, answered: float, text: str) -> None:
        # What an event did may be in the answer to a scrape that began before it.
        counters: dict[str, float] = {}
        errors: Counter[str] = Counter()
        series = 0
        for family in text_string_to_metric_families(text):
            series += len(family.samples)
            for sample in family.samples if family.type in ("counter", "histogram") else ():
                labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
                counters[f"{sample.name}{{{labels}}}"] = sample.value
                if sample.name == "mlflow_exporter_collector_errors_total":
                    errors[sample.labels["reason"]] += round(sample.value)
                elif sample.name == "mlflow_db_statements_evicted_total":
                    self._record.evictions = max(self._record.evictions, round(sample.value))
        for name, value in counters.items():
            seen, before = self._before.get(name, (at, value))
            if value < before and not (value == 0 and self._may_have_gone(name, seen, at)):
                self._record.falls.append(Fall(seen, answered, f"{name} {before:g} -> {value:g}"))
        kept = {name: seen for name, seen in self._before.items() if not name.startswith(COMES_AND_GOES)}
        self._before = kept | {name: (at, value) for name, value in counters.items()}
        self._record.series.append((at, series))
        for reason, count in errors.items():  # the most that was seen of each: a reload may start them anew
            self._record.errors[reason] = max(count, self._record.errors.get(reason, 0))

    def _may_have_gone(self, name: str, seen: float, at: float) -> bool:
        """Say whether a statement may have been pushed out and have come back, as the other scraper had an answer."""
        return name.startswith(COMES_AND_GOES) and any(seen < one.at < at for one in self._record.scrapes)


class Watch:
    """Look at what the exporter's process holds."""

    def __init__(self, site: Site, record: Record) -> None:
        self._site, self._record = site, record
        self._process = psutil.Process(site.exporter.pid)

    def look(self) -> None:
        at, during = time.monotonic(), self._record.during
        memory = self._process.memory_full_info()
        fds, threads = self._process.num_fds(), self._process.num_threads()
        resident, proportional = memory.rss / MIB, memory.pss / MIB
        self._record.held.append(Held(at, during, resident, proportional, fds, threads, self._sessions()))

    def _sessions(self) -> int | None:
        with contextlib.suppress(psycopg.Error):
            ((count,),) = self._site.postgres.execute(SESSIONS)
            return int(count)
        return None
