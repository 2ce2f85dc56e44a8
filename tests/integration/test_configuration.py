"""Settings are those of MLflow's sessions, whoever asks and in whatever form they were given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from exporter.collectors.configuration import GIB, Configuration
from exporter.collectors.database_host import Capacity
from tests.integration.reading import figures
from tests.lab.postgres import MAJORS, Postgres

pytestmark = pytest.mark.integration

Start = Callable[[int], Postgres]


@pytest.fixture(params=["exporter", "mlflow"])
def settings(postgres: Start, request: pytest.FixtureRequest) -> Iterator[Callable[[str], dict[str, float]]]:
    """Return what applies a statement to a database and reads its settings, as either role."""
    server = postgres(15)
    server.create_mlflow("settings")

    def after(statement: str) -> dict[str, float]:
        server.execute(statement)
        return figures(server.dsn(request.param, "settings"), Configuration())

    try:
        yield after
    finally:
        server.execute("ALTER ROLE mlflow RESET ALL")
        server.execute("ALTER ROLE exporter RESET ALL")
        server.execute("ALTER ROLE ALL RESET ALL")
        server.drop("settings")


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("role", ["exporter", "mlflow"])
def test_every_named_setting_is_read_in_base_units(postgres: Start, major: int, role: str) -> None:
    server = postgres(major)
    server.create_mlflow("defaults")
    try:
        read = figures(server.dsn(role, "defaults"), Configuration())
    finally:
        server.drop("defaults")
    expected = {
        "setting_bytes shared_buffers": 128 * 2**20,
        "setting_bytes effective_cache_size": 4 * GIB,
        "setting_bytes max_wal_size": GIB,
        "setting_bytes wal_buffers": 4 * 2**20,
        "setting_bytes work_mem": 4 * 2**20,
        "setting_seconds checkpoint_timeout": 300,
        "setting_seconds statement_timeout": 0,  # and not the limit of our own queries
        "setting_seconds idle_in_transaction_session_timeout": 0,
        "setting fsync": 0,  # as the lab has it
        "setting autovacuum": 1,
        "setting track_io_timing": 1,
        "setting random_page_cost": 4,
        "setting autovacuum_vacuum_scale_factor": 0.2,
        "setting checkpoint_completion_target": 0.5 if major < 14 else 0.9,
        "setting_info synchronous_commit on": 1,
        "setting_info wal_level replica": 1,
        "settings_pending_restart": 0,
    }
    assert {name: read.get(name) for name in expected} == expected
    assert ("setting track_wal_io_timing" in read) is (major >= 14)
    assert "setting_bytes max_slot_wal_keep_size" not in read  # -1
    assert len(set(read) - {one for one in read if "recommended" in one}) == (23 if major < 14 else 24)


def test_the_most_special_value_for_mlflows_sessions_counts(
    settings: Callable[[str], dict[str, float]],
) -> None:
    name = "setting_bytes work_mem"
    assert settings("ALTER ROLE ALL SET work_mem = '1.5GB'")[name] == 1.5 * GIB
    assert settings("ALTER DATABASE settings SET work_mem = '48MB'")[name] == 48 * 2**20
    assert settings("ALTER ROLE mlflow SET work_mem = 65536")[name] == 64 * 2**20
    assert settings("ALTER ROLE mlflow IN DATABASE settings SET work_mem = '96 MB'")[name] == 96 * 2**20
    assert settings("ALTER ROLE mlflow IN DATABASE postgres SET work_mem = '1MB'")[name] == 96 * 2**20


@pytest.mark.parametrize(
    ("statement", "series", "value"),
    [
        ("synchronous_commit = off", "setting_info synchronous_commit off", 1),
        ("synchronous_commit = local", "setting_info synchronous_commit local", 1),
        ("synchronous_commit = no", "setting_info synchronous_commit off", 1),
        ("statement_timeout = '2min'", "setting_seconds statement_timeout", 120),
        ("statement_timeout = 1500", "setting_seconds statement_timeout", 1.5),
        ("idle_in_transaction_session_timeout = '1h'", "setting_seconds idle_in_transaction_session_timeout", 3600),
        ("effective_cache_size = 1024", "setting_bytes effective_cache_size", 1024 * 8192),
        ("random_page_cost = 1.1", "setting random_page_cost", 1.1),
        ("jit = false", "setting jit", 0),
    ],
)  # fmt: skip
def test_a_value_is_understood_in_every_form_that_postgres_takes(
    settings: Callable[[str], dict[str, float]], statement: str, series: str, value: float
) -> None:
    assert settings(f"ALTER ROLE mlflow SET {statement}")[series] == value


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize(
    "sign",
    [
        "ALTER ROLE ALL IN DATABASE elsewhere SET neon.timeline_id = 'f1'",
        "SET allow_system_table_mods = on;"
        "CREATE FUNCTION pg_catalog.aurora_version() RETURNS text LANGUAGE sql AS $$ SELECT '15.4.0' $$",
    ],
)
def test_where_postgres_has_no_disk_of_its_own_it_is_not_said_to_be_careless(
    postgres: Start, major: int, sign: str
) -> None:
    server = postgres(major)
    server.create_mlflow("elsewhere")
    try:
        assert figures(server.dsn("exporter", "elsewhere"), Configuration())["setting fsync"] == 0
        server.execute(sign, dbname="elsewhere")
        read = figures(server.dsn("exporter", "elsewhere"), Configuration())
        assert not {"setting fsync", "setting full_page_writes"} & read.keys()
        assert read["setting autovacuum"] == 1
    finally:
        server.drop("elsewhere")


def test_a_value_of_the_exporters_role_alone_is_nobodys(postgres: Start) -> None:
    server = postgres(15)
    server.create_mlflow("own")
    name = "setting_seconds statement_timeout"
    try:
        server.execute("ALTER ROLE exporter SET statement_timeout = '5s'")
        assert name not in figures(server.dsn("exporter", "own"), Configuration())
        assert figures(server.dsn("mlflow", "own"), Configuration())[name] == 0
        server.execute("ALTER DATABASE own SET statement_timeout = '1min'")
        assert figures(server.dsn("exporter", "own"), Configuration())[name] == 60
    finally:
        server.execute("ALTER ROLE exporter RESET ALL")
        server.drop("own")


def test_a_changed_file_shows_and_what_needs_a_restart_is_counted_until_then() -> None:
    with Postgres(15) as server:
        server.create_mlflow()
        dsn = server.dsn("exporter", "mlflow")
        server.configure(
            {"shared_buffers": "64MB", "wal_buffers": "1MB", "max_wal_size": "2GB", "fsync": "on"}
        )
        server.execute("SELECT pg_reload_conf()")
        reloaded = figures(dsn, Configuration())
        assert reloaded["setting_bytes shared_buffers"] == 128 * 2**20
        assert reloaded["setting_bytes max_wal_size"] == 2 * GIB
        assert (reloaded["setting fsync"], reloaded["settings_pending_restart"]) == (1, 2)
        server.stop()
        server.start()
        restarted = figures(dsn, Configuration())
        assert restarted["setting_bytes shared_buffers"] == 64 * 2**20
        assert restarted["settings_pending_restart"] == 0


def test_ranges_are_given_where_the_machine_is_known(postgres: Start, tmp_path: Path) -> None:
    server = postgres(15)
    server.create_mlflow("ranges")
    try:
        dsn = server.dsn("exporter", "ranges")
        told = ranges(figures(dsn, Configuration(Capacity(4, 16 * GIB), proc=tmp_path)))
        found = ranges(figures(dsn, Configuration()))
        unknown = ranges(figures(dsn, Configuration(proc=tmp_path)))
    finally:
        server.drop("ranges")
    assert told.keys() == found.keys()
    assert len(told) == 7
    # The database is small, so that the default will do.
    assert told["min_bytes shared_buffers"] == 128 * 2**20
    assert told["max_bytes effective_cache_size"] == 12 * GIB
    # It runs on this machine, perhaps with a limit of its own.
    assert 0 < found["max_bytes effective_cache_size"] <= 0.75 * psutil.virtual_memory().total
    assert unknown == {}


def ranges(read: dict[str, float]) -> dict[str, float]:
    start = "setting_recommended_"
    return {name.removeprefix(start): value for name, value in read.items() if name.startswith(start)}
