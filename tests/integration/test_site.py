"""What the demo of docker-compose.yml leaves in a database when it is killed, and its next start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import Fault, logging_pattern
from tests.lab import site as demo
from tests.lab.postgres import PASSWORDS, Postgres
from tests.lab.process import wait_for

pytestmark = pytest.mark.integration

# What the others do is done by clients alone.
IN_DATABASE = [one for one in demo.FAULTS.values() if one not in logging_pattern.FAULTS]
LEFT = """SELECT 'role ' || setrole::regrole || ' ' || array_to_string(setconfig, ' ') FROM pg_db_role_setting
UNION ALL SELECT 'setting ' || name FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'
UNION ALL SELECT 'session ' || pid FROM pg_stat_activity WHERE application_name = 'neighbour'"""


@pytest.fixture
def site(
    postgres: Callable[[int], Postgres], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[demo.Site]:
    server = postgres(17)
    server.create_mlflow()
    for role, password in PASSWORDS.items():
        (tmp_path / role).write_text(password)
    monkeypatch.setattr(demo, "SECRETS", tmp_path)
    monkeypatch.setattr(demo, "DATABASE", f"127.0.0.1:{server.port}")
    yield demo.Site()
    server.drop("mlflow")


@pytest.mark.parametrize("fault", IN_DATABASE, ids=str)
def test_what_a_killed_demo_leaves_is_mended_by_the_next_start(site: demo.Site, fault: Fault) -> None:
    before = site.sql(LEFT)
    fault.make(site)
    assert site.sql(LEFT) != before
    site.end()  # its connections, which end with a killed process too
    if fault.make in demo.KEPT:
        demo.mend(site)
    wait_for(lambda: site.sql(LEFT) == before, f"nothing is left, now {site.sql(LEFT)}", 5)


def test_the_next_start_mends_all_that_is_kept_at_once(site: demo.Site) -> None:
    before = site.sql(LEFT)
    for make in demo.KEPT:
        make(site)
    assert len(site.sql(LEFT)) == len(before) + len(demo.KEPT)
    demo.mend(site)
    assert site.sql(LEFT) == before
