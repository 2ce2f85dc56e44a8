"""One scrape and what it cost: time to the last byte, CPU of the exporter, work and sessions of Postgres."""

from __future__ import annotations

import gzip
import http.client
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import psutil

from tests.bench.exporters import Target
from tests.lab.postgres import Postgres

# As Prometheus asks.
HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
}
# What an exporter does after its answer belongs to the scrape: it tidies a session, it collects garbage.
SETTLE_SECONDS = 0.03
# Before the next one, so that nobody is measured on the work of the one before.
PAUSE_SECONDS = 0.02

SIGN_IN = re.compile(rb"connection authorized: user=(\w+)")
WORK = b"""
select userid::regrole::text, sum(total_exec_time) / 1000, sum(total_plan_time) / 1000, sum(calls)::float8,
       sum(temp_blks_read + temp_blks_written)::float8
from pg_stat_statements(false) group by 1"""


@dataclass(frozen=True)
class Work:
    """What a role has had Postgres do."""

    seconds: float = 0.0
    planning: float = 0.0
    statements: float = 0.0
    temp_blocks: float = 0.0
    sessions: float = 0.0

    def since(self, before: Work) -> Work:
        return Work(
            self.seconds - before.seconds,
            self.planning - before.planning,
            self.statements - before.statements,
            self.temp_blocks - before.temp_blocks,
            self.sessions - before.sessions,
        )


@dataclass(frozen=True)
class Scrape:
    """What one scrape cost; `resident` and `plain` are in bytes, `series` are the lines with a value."""

    seconds: float
    cpu: float
    resident: int
    series: int
    plain: int
    gzipped: int
    work: Work


Measured = dict[Target, list[Scrape]]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with all its threads, those that have ended too, to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid(3) makes of a pid


class Books:
    """What each role has cost one Postgres so far: its own statistics of statements, and its log of sign-ins."""

    def __init__(self, postgres: Postgres) -> None:
        self._session = postgres.connect(dbname="mlflow")
        self._log = postgres.log_file.open("rb")
        self._sessions: Counter[str] = Counter()
        self._rest = b""

    def close(self) -> None:
        self._session.close()
        self._log.close()

    def read(self) -> Mapping[str, Work]:
        *lines, self._rest = (self._rest + self._log.read()).split(b"\n")
        self._sessions.update(found[1].decode() for line in lines if (found := SIGN_IN.search(line)))
        rows = self._session.execute(WORK).fetchall()
        done = {role: Work(*figures) for role, *figures in rows}
        roles = done.keys() | self._sessions.keys()
        return {one: replace(done.get(one, Work()), sessions=float(self._sessions[one])) for one in roles}


class Meter:
    """Scrapes targets over a kept connection each, as Prometheus does."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = tuple(targets)
        self._clients = {
            one: http.client.HTTPConnection("127.0.0.1", one.port, timeout=60) for one in self.targets
        }
        servers = {one.postgres for one in self.targets if one.postgres}
        self._books = {server: Books(server) for server in servers}

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        for books in self._books.values():
            books.close()

    def rounds(self, number: int) -> Measured:
        """Scrape all in turn so often; who comes first changes, so that nobody always follows the same one."""
        found: Measured = {one: [] for one in self.targets}
        for turn in range(number):
            first = turn % len(self.targets)
            for one in (*self.targets[first:], *self.targets[:first]):
                time.sleep(PAUSE_SECONDS)
                found[one].append(self.scrape(one))
        return found

    def scrape(self, target: Target) -> Scrape:
        before, cpu = self.work(target), cpu_seconds(target.pid)
        started = time.perf_counter()
        body, coding = self._get(target)
        seconds = time.perf_counter() - started
        time.sleep(SETTLE_SECONDS)
        cpu = cpu_seconds(target.pid) - cpu
        text = _plain(body, coding)
        return Scrape(
            seconds=seconds,
            cpu=cpu,
            resident=psutil.Process(target.pid).memory_info().rss,
            series=sum(1 for line in text.splitlines() if line and not line.startswith(b"#")),
            plain=len(text),
            gzipped=len(body),
            work=self.work(target).since(before),
        )

    def value(self, target: Target, name: bytes) -> float:
        """Scrape, and return the value of that series, which has no labels; 0 where there is none."""
        found = re.search(rb"^%s (\S+)" % name, _plain(*self._get(target)), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def work(self, target: Target) -> Work:
        """Return what the target's role has cost its Postgres so far."""
        return self._books[target.postgres].read().get(target.role, Work()) if target.postgres else Work()

    def proportional(self, target: Target) -> int:
        """Return the memory of its process, of what it shares with others its share."""
        return int(psutil.Process(target.pid).memory_full_info().pss)

    def _get(self, target: Target) -> tuple[bytes, str]:
        client = self._clients[target]
        try:
            client.request("GET", target.path, headers=HEADERS)
        except (ConnectionError, http.client.HTTPException):  # the kept connection had grown too old
            client.close()
            client.request("GET", target.path, headers=HEADERS)
        answer = client.getresponse()
        body = answer.read()
        assert answer.status == 200, f"{target.name}: {answer.status} {body[:200]!r}"
        return body, answer.headers.get("Content-Encoding", "")


def _plain(body: bytes, coding: str) -> bytes:
    return gzip.decompress(body) if coding == "gzip" else body


@contextmanager
def meter(targets: Sequence[Target]) -> Iterator[Meter]:
    with closing(Meter(targets)) as made:
        yield made
