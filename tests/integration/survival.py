"""What a fault around the exporter does to it: what it answers meanwhile, how soon it is whole again, what it leaks.

A test makes one fault and has the marker that names it; the fixture `survives` gives it a Trial:

    @pytest.mark.survives("Postgres", "killed (SIGKILL)")
    def test_a_killed_server_is_unreachable(survives: Survives) -> None:
        with Postgres(17) as server, watching(server) as exporter, survives(exporter, [server]) as trial:
            server.kill()
            seen = trial.during(3)
            assert seen.down >= {"mlflow_db_up"} and seen.of("database") == {"unreachable"}
            server.start()
            trial.recovered()

Each trial leaves a row in a directory (SURVIVAL_ROWS, else `build/survival`), whichever process its test ran in;
`python -m tests.integration.survival` writes tests/FAULTS.md of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
import requests

from exporter import collectors
from tests.integration.survival_rows import MEMORY_NOISE, PAGE, Row, keep, kept, page
from tests.integration.survival_seen import Scrape, Seen
from tests.lab.process import wait_for
from tests.lab.servers import Exporter, Postgres

# A sampler has its own clock, and tries a database that was gone for long not more often than each 15 s.
FOLLOWS_WITHIN = 20.0
SELDOM = {name for name, collector in collectors.BY_NAME.items() if collector.every}
GIVE_UP = 15.0
GIVE_UP_AFTER = 50
SESSIONS = "select count(*) from pg_stat_activity where application_name = 'mlflow-exporter'"


@dataclass(frozen=True)
class Holding:
    """What the exporter holds: threads and descriptors of its own, sessions as the databases count them."""

    threads: int
    fds: int
    sessions: int
    memory: int

    def least(self, other: Holding) -> Holding:
        return Holding(**{name: min(value, asdict(other)[name]) for name, value in asdict(self).items()})


class Trial:
    """One fault while the exporter is being scraped with that timeout."""

    def __init__(self, row: Row, exporter: Exporter, databases: Sequence[Postgres], timeout: float) -> None:
        self.row = row
        self.exporter, self.databases, self.timeout = exporter, databases, timeout
        self.row.timeout = timeout
        self.before, self.baseline = self._warm_up()

    def scrape(self) -> Scrape:
        """Scrape as Prometheus does; an answer that comes late is one, too, and fails the trial at its end."""
        header = {"X-Prometheus-Scrape-Timeout-Seconds": str(self.timeout)}
        started = time.monotonic()
        answer = requests.get(self.exporter.url + "/metrics", headers=header, timeout=self.timeout + 20)
        seconds = time.monotonic() - started
        answer.raise_for_status()
        self.row.slowest = max(self.row.slowest, seconds)
        return Scrape.read(answer.text, seconds)

    def during(
        self,
        scrapes: int = 3,
        until: Callable[[Seen], bool] = lambda _: True,
        every: float = 0.1,
        within: float = GIVE_UP,
    ) -> Seen:
        """Scrape that often, and on until the condition holds; the row says what was seen."""
        taken: list[Scrape] = []
        deadline = time.monotonic() + within
        while True:
            taken.append(self.scrape())
            seen = Seen(self.before, taken)
            if (held := len(taken) >= scrapes and until(seen)) or time.monotonic() > deadline:
                break
            time.sleep(every)
        self.row.tell(*seen.worst, len(self.before.working), seen.reasons)
        assert held, f"not seen: {self.row}"
        return seen

    def recovered(self) -> Scrape:
        """Require that the first scrape after the fault's end, which is now, has all that is read at each one."""
        ended = time.monotonic()
        while owed := self._owed(now := self.scrape()) - self.before.samplers - SELDOM:
            self.row.scrapes += 1
            assert self.row.scrapes < GIVE_UP_AFTER, f"lost: {owed}"
            time.sleep(0.2)
        self.row.scrapes += 1
        self.row.recovery = time.monotonic() - ended
        wait_for(lambda: not self._owed(self.scrape()), "the rest, too", FOLLOWS_WITHIN, 0.2)
        self.row.rest = time.monotonic() - ended
        return now

    def end(self) -> None:
        """Require that nothing came late and that no more is held than before."""

        def more() -> dict[str, int]:
            held, before = asdict(self._holding()), asdict(self.baseline)
            before["memory"] += MEMORY_NOISE
            return {name: held[name] - before[name] for name in held if held[name] > before[name]}

        left: dict[str, int] = {}
        for _ in range(100):  # a probe, or a session that the server has not ended yet
            if not (left := more()):
                break
            time.sleep(0.1)
        self.row.leaks = left
        assert self.row.verdict == "ok", f"{self.row}"

    def _owed(self, now: Scrape) -> set[str]:
        return (self.before.up | self.before.working) - (now.up | now.working)

    def _warm_up(self) -> tuple[Scrape, Holding]:
        """Scrape until every sampler has begun and nothing more appears; what is held is the least seen then."""
        last = self.scrape()

        def steady() -> bool:
            nonlocal last
            before, last = last, self.scrape()
            return last.ticked and (last.up, last.working) == (before.up, before.working)

        wait_for(steady, "a steady exporter", GIVE_UP, 0.1)
        held = self._holding()
        for _ in range(4):
            time.sleep(0.1)
            last = self.scrape()
            held = held.least(self._holding())
        self.row.slowest = 0.0
        return last, replace(held, memory=self._holding().memory)

    def _holding(self) -> Holding:
        process = psutil.Process(self.exporter.pid)
        running = [server for server in self.databases if server.running()]
        sessions = sum(int(server.execute(SESSIONS)[0][0]) for server in running)
        with process.oneshot():
            return Holding(process.num_threads(), process.num_fds(), sessions, int(process.memory_info().rss))


class Survives:
    """Makes the trials of one test; the fixture `survives` has its fault from the marker."""

    def __init__(self, area: str, fault: str, test: str) -> None:
        self.area, self.fault, self.test = area, fault, test

    @contextmanager
    def __call__(
        self, exporter: Exporter, databases: Sequence[Postgres] = (), timeout: float = 1.5
    ) -> Iterator[Trial]:
        """Take a baseline, and at the end hold against it; sessions are counted in these databases."""
        row = Row(self.area, self.fault, self.test)
        try:
            trial = Trial(row, exporter, databases, timeout)
            yield trial
            trial.end()
        finally:
            keep(row)

    def measured(self, answer: str, slowest: float, timeout: float, reasons: str, recovery: float) -> None:
        """Leave the row of a fault that no trial can be made of, as one that ends the exporter; the test has judged."""
        keep(Row(self.area, self.fault, self.test, answer, reasons, timeout, slowest, 1, recovery))


def watching(dsn: str, *args: str, **env: str) -> Exporter:
    """Return an exporter of that database alone, with a probe of it each second."""
    probes = ("--probes.interval", "1", "--probes.timeout", "1")
    return Exporter(("--server.port", "1", *probes, *args), {"MLFLOW_EXPORTER_DATABASE_DSN": dsn, **env})


@contextmanager
def reloadable(server: Postgres, dbname: str, folder: Path) -> Iterator[Exporter]:
    """Give an exporter with a settings file, for `read_all_anew`."""
    file = folder / "exporter.yml"
    file.write_text("statements: {slowest: 10}\n")
    with watching(server.dsn("exporter", dbname), "--config", str(file)) as exporter:
        yield exporter


def read_all_anew(exporter: Exporter, folder: Path) -> None:
    """Change the plan, so that what is read once in some minutes is due at the next scrape."""
    (folder / "exporter.yml").write_text("statements: {slowest: 9}\n")
    exporter.reload()
    wait_for(lambda: "settings reloaded" in exporter.log(), "the new settings")


def disconnect(server: Postgres) -> None:
    """End the exporter's sessions, as an administrator would."""
    server.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'mlflow-exporter'"
    )


if __name__ == "__main__":
    PAGE.write_text(page(rows := kept()), encoding="utf-8")
    sys.exit("; ".join(f"{row.fault}: {row.verdict}" for row in rows.values() if row.verdict != "ok") or None)
