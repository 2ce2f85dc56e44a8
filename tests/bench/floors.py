"""What a scrape of ours can't go below: its queries alone, client_python alone, the imports alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median

import psycopg
import requests

from exporter import collectors, queries
from exporter.sources.facts import Facts
from tests.bench import curves, statements
from tests.bench.exporters import Target
from tests.bench.meter import meter
from tests.bench.report import mib, ms, table
from tests.bench.site import Site
from tests.lab import tools
from tests.lab.servers import HttpServer

LIBRARIES = "prometheus_client, psycopg, requests, yaml, msgspec"
SCRAPES = 20  # until its memory stays as it is
STATEMENTS = ("statements", "statements_info")


class Bare(HttpServer):
    """client_python with the series of an exposition that it has read."""

    name = "client_python"
    ready_path = "/"

    def __init__(self, exposition: str) -> None:
        super().__init__()
        (self.directory / "exposition").write_text(exposition, encoding="utf-8")

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.bench.bare", str(self.port), str(self.directory / "exposition")]

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PYTHONPATH": str(tools.ROOT)}


def floors_table(site: Site, us: Target, scrapes: int) -> str:
    exposition = requests.get(f"http://127.0.0.1:{us.port}{us.path}", timeout=30).text
    head = ["floor", "time", "CPU of the client", "database execution"]
    return "\n\n".join((table(head, _rows(site, exposition, scrapes)), memory_table(site)))


def _rows(site: Site, exposition: str, scrapes: int) -> Iterator[Sequence[str]]:
    own = site.role("us", "exporter")  # whose statements are these, so that none is new
    target = Target("", 0, "", 0, own, site.postgres)
    with psycopg.connect(site.dsn(own), autocommit=True) as session, meter([target]) as measuring:
        every = _texts(session)
        for name, chosen in (
            (f"the {len(every)} queries of a scrape, one after the other", set(every)),
            ("the two of pg_stat_statements among them", set(STATEMENTS)),
        ):
            found = []
            for _ in range(scrapes):
                before, cpu, started = measuring.work(target), time.thread_time(), time.perf_counter()
                for one in chosen:
                    text, params = every[one]
                    psycopg.RawCursor(session).execute(text, params, binary=True)
                seconds, cpu = time.perf_counter() - started, time.thread_time() - cpu
                found.append((seconds, cpu, measuring.work(target).since(before).seconds))
            yield [name, *(ms(median(one)) for one in zip(*found, strict=True))]
    with Bare(exposition) as server:
        bare = Target("client_python", server.port, "/metrics", server.pid)
        with meter([bare]) as measuring:
            got = measuring.rounds(scrapes)[bare]
        latency, cpu = median(one.seconds for one in got), median(one.cpu for one in got)
        yield [f"client_python with the same {got[0].series} series", ms(latency), ms(cpu), ""]


def memory_table(site: Site) -> str:
    """Return what a process has resident with nothing but imports, and ours where hardly a statement runs."""
    cases = {
        "python alone": "",
        "the libraries": f"import {LIBRARIES};",
        "all of ours that serves": "import exporter.cli, exporter.serve;",
    }
    rows = [(name, mib(_resident(code))) for name, code in cases.items()]
    with site.meanwhile():
        new = site.us()
        with meter([new]) as measuring:
            curves.learn(measuring, new)
            resident = measuring.rounds(SCRAPES)[new][-1].resident
            known = statements.tracked(site.postgres)
    rows.append(
        (
            f"ours, with {known:,} statements tracked of which only MLflow's own have run since its start",
            mib(resident),
        )
    )
    return table(["resident memory", ""], rows)


def _resident(code: str) -> int:
    read = "print(open('/proc/self/statm').read().split()[1])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}{read}"], cwd=tools.ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout) * 4096


def _texts(session: psycopg.Connection[tuple[object, ...]]) -> dict[str, tuple[bytes, Sequence[object]]]:
    """Return the queries of each scrape by name, with what they are asked for on this server."""
    session.execute("SET search_path = pg_catalog, pg_temp")
    asked = session.execute(queries.sql("facts", 0) or b"")
    names = [column.name for column in asked.description or ()]
    facts = Facts.from_row(dict(zip(names, asked.fetchone() or (), strict=True)))
    wanted = [one for kind in collectors.POSTGRES if not kind.every for one in kind.wanted()]
    found = {one.name: (queries.sql(one.name, facts.major), one.params) for one in wanted}
    return {name: (facts.filled(text), params) for name, (text, params) in found.items() if text}
