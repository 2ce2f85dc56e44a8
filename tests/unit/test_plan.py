"""What runs for which settings and which server, without anything running."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter import collectors
from exporter.backend import Backend, backend_of
from exporter.collector import Reason
from exporter.discovery import Found
from exporter.plan import NAMES, HostSpec, Plan, SqliteSpec, may_be_out_of_reach, plan
from exporter.samplers.database_probe import DatabaseProbeSpec
from exporter.samplers.http_probe import HttpProbeSpec
from exporter.samplers.load import LoadSpec
from exporter.settings import Settings, SettingsError, load
from exporter.sources.absent import Absence
from exporter.sources.conninfo import Target

pytestmark = pytest.mark.unit

POSTGRES = backend_of("postgresql://mlflow:word@db:5433/tracking")


def settings(**environ: str) -> Settings:
    return load(None, {f"MLFLOW_EXPORTER_{key}": value for key, value in environ.items()}, {})


def found(backend: Backend | None = POSTGRES, trusted: bool = True) -> Found:
    return Found("127.0.0.1", 5000, static_prefix="/mlf", backend=backend, trusted=trusted)


def database(of: Plan) -> Target | SqliteSpec | Absence:
    (source,) = (lane.source for lane in of.lanes if not isinstance(lane.source, HostSpec))
    return source


def probes(of: Plan) -> dict[str, str]:
    return {
        probe.name: probe.url if isinstance(probe, HttpProbeSpec) else probe.target.place
        for probe in of.probes
    }


def test_a_found_server_on_postgres_is_watched_whole() -> None:
    made = plan(settings(), found())
    assert [len(lane.collectors) for lane in made.lanes] == [len(collectors.HOST), len(collectors.POSTGRES)]
    assert probes(made) == {
        "health": "http://127.0.0.1:5000/mlf/health",
        "version": "http://127.0.0.1:5000/mlf/version",
        "api": "http://127.0.0.1:5000/mlf/api/2.0/mlflow/experiments/get?experiment_id=0",
        "database": "mlflow@db:5433/tracking",
    }


def test_equal_inputs_make_equal_plans_so_that_parts_keep_running() -> None:
    assert plan(settings(), found()) == plan(settings(), found())
    other = found(backend_of("postgresql://mlflow:changed@db:5433/tracking"))
    assert plan(settings(), other).lanes[0] == plan(settings(), found()).lanes[0]
    assert plan(settings(), other).lanes[1] != plan(settings(), found()).lanes[1]


def test_without_a_server_the_database_says_why_it_is_not_read() -> None:
    absence = database(plan(settings(), None))
    assert isinstance(absence, Absence)
    assert absence.reason is Reason.UNREACHABLE
    assert "database.dsn" in absence.remedy
    assert plan(settings(), None).probes == ()


def test_a_backend_that_cannot_be_read_is_a_permission() -> None:
    absence = database(plan(settings(), found(None)))
    assert isinstance(absence, Absence)
    assert absence.reason is Reason.PERMISSION


def test_sqlite_has_its_own_collector_and_no_database_probe() -> None:
    made = plan(settings(), found(Backend("sqlite", path="/srv/mlflow.db")))
    assert database(made) == SqliteSpec("/srv/mlflow.db")
    assert made.lanes[1].collectors == ("sqlite",)
    assert "database" not in probes(made)


def test_a_dsn_goes_before_what_was_found(tmp_path: Path) -> None:
    file = tmp_path / "dsn"
    file.write_text("postgresql://exporter@replica/tracking\n")
    for given in (settings(DATABASE_DSN_FILE=str(file)), settings(DATABASE_DSN=file.read_text().strip())):
        target = database(plan(given, found()))
        assert isinstance(target, Target)
        assert target.place == "exporter@replica:5432/tracking"


def test_a_password_alone_is_for_the_database_that_was_found() -> None:
    target = database(plan(settings(DATABASE_PASSWORD="rotated"), found()))
    assert isinstance(target, Target)
    assert target.place == "mlflow@db:5433/tracking"
    assert b"password=rotated" in target.conninfo()


def test_chosen_collectors_leave_out_the_rest() -> None:
    made = plan(settings(COLLECTORS="workers"), found())
    assert [lane.collectors for lane in made.lanes] == [("workers",)]


def test_a_bad_dsn_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="libpq"):
        plan(settings(DATABASE_DSN="word"), found())


def test_a_login_goes_to_our_own_server_or_a_named_one_and_to_no_other() -> None:
    login = {"SERVER_USERNAME": "watch", "SERVER_PASSWORD": "word"}

    def users(of: Plan) -> set[str]:
        return {probe.username for probe in of.probes if isinstance(probe, HttpProbeSpec)}

    assert users(plan(settings(**login), found())) == {"watch"}
    assert users(plan(settings(**login), found(trusted=False))) == {""}
    named = settings(**login, SERVER_URL="https://mlflow.example")
    assert users(plan(named, found(trusted=False))) == {"watch"}


def test_the_load_of_a_postgres_is_sampled_and_of_nothing_else() -> None:
    made = plan(settings(), found())
    assert made.load == LoadSpec(Target.from_backend(POSTGRES or Backend("")))
    assert made.samplers == (*made.probes, made.load)
    assert plan(settings(), found(Backend("sqlite", path="/srv/mlflow.db"))).load is None
    assert plan(settings(), None).load is None


def test_the_load_is_chosen_and_left_out_as_a_collector_is() -> None:
    assert plan(settings(COLLECTORS="workers,database"), found()).load is None
    alone = plan(settings(COLLECTORS="load"), found())
    assert (alone.lanes, alone.load) == ((), plan(settings(), found()).load)
    assert set(collectors.BY_NAME) < NAMES


def test_a_probe_that_changes_leaves_the_load_with_its_counters() -> None:
    assert plan(settings(PROBES_INTERVAL="30"), found()).load == plan(settings(), found()).load
    moved = found(backend_of("postgresql://mlflow:word@elsewhere/tracking"))
    assert plan(settings(), moved).load != plan(settings(), found()).load


def test_what_is_told_of_the_databases_machine_is_for_those_who_read_it() -> None:
    told = {"DATABASE_CORES": "2.5", "DATABASE_MEMORY": "17179869184", "DATABASE_STORAGE": "107374182400"}
    host, database = plan(settings(), found()).lanes
    assert plan(settings(**told), found()).lanes[0] == host
    assert plan(settings(**told), found()).lanes[1] != database
    assert "Capacity(cores=2.5, memory=17179869184" in str(plan(settings(**told), found()).lanes[1])
    without = {"COLLECTORS": "database"}
    assert plan(settings(**told, **without), found()).lanes == plan(settings(**without), found()).lanes


def test_the_databases_password_goes_to_no_server_of_another_user() -> None:
    given = settings(DATABASE_PASSWORD="rotated")
    assert b"password=rotated" in _conninfo(plan(given, found()))
    assert b"password=rotated" not in _conninfo(plan(given, found(trusted=False)))


def test_a_sqlite_store_without_a_file_is_unsupported() -> None:
    absence = database(plan(settings(), found(Backend("sqlite"))))
    assert isinstance(absence, Absence)
    assert absence.reason is Reason.UNSUPPORTED


def _conninfo(of: Plan) -> bytes:
    target = database(of)
    assert isinstance(target, Target)
    return target.conninfo()


def test_a_probe_can_be_switched_off() -> None:
    made = plan(settings(PROBES_DATABASE="false", PROBES_VERSION="false"), found())
    assert probes(made).keys() == {"health", "api"}
    assert not any(isinstance(probe, DatabaseProbeSpec) for probe in made.probes)


def test_addresses_of_another_network_namespace_are_doubtful_until_both_are_set() -> None:
    url, dsn = {"SERVER_URL": "http://mlflow:5000"}, {"DATABASE_DSN": "postgresql://db/mlflow"}
    assert may_be_out_of_reach(settings(**url), elsewhere=True)
    assert may_be_out_of_reach(settings(**dsn), elsewhere=True)
    assert not may_be_out_of_reach(settings(**url, **dsn), elsewhere=True)
    assert not may_be_out_of_reach(settings(), elsewhere=False)
