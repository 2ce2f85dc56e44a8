"""Finding the tracking server on recorded /proc trees."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from exporter.discovery import Backend, Discovery, Found, Sighting
from exporter.host import processes
from exporter.secret import Secret
from tests.unit.proctree import FORKED, PYTHON, TRACKER, ProcTree, environment, gunicorn, uvicorn

pytestmark = pytest.mark.unit

POSTGRES = Backend("postgresql", "db.example", 5432, "mlflow", "mlflow", Secret("hunter2"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def proc(tmp_path: Path) -> ProcTree:
    return ProcTree(tmp_path / "proc")


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def look(proc: ProcTree, port: int | None = None, user: str = "") -> Sighting:
    return Discovery(port, user, proc.root).look()


def slots_of(sighting: Sighting) -> dict[int | None, int]:
    return {one.slot: one.pid for one in sighting.processes if one.role == "worker"}


def test_uvicorn_with_workers_and_jobs_is_found_with_every_role(proc: ProcTree) -> None:
    pids = proc.server(workers=4)
    proc.process([PYTHON, "train.py"], environ={"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"})
    sighting = look(proc)
    assert sighting.found == Found("127.0.0.1", 5000, backend=POSTGRES, trusted=True)
    by_role: dict[str, list[int]] = {}
    for one in sighting.processes:
        by_role.setdefault(one.role, []).append(one.pid)
    assert by_role == pids
    assert slots_of(sighting) == dict(enumerate(pids["worker"]))
    assert (sighting.key, sighting.workers_configured, sighting.jobs) == ("b007", 4, True)
    assert sighting.started == pytest.approx(1795215273 + 951.05)
    assert sighting.problems == ()


def test_uvicorn_with_one_worker_is_its_own_worker(proc: ProcTree) -> None:
    inode = proc.listen(5000, address="00000000")
    pid = proc.process(uvicorn(5000, 1), environ=environment(uri="sqlite:///mlflow.db"), sockets=[inode])
    sighting = look(proc)
    assert sighting.found == Found(
        "127.0.0.1", 5000, backend=Backend("sqlite", path="/srv/mlflow/mlflow.db"), trusted=True
    )
    assert slots_of(sighting) == {0: pid}
    assert sighting.jobs is False


def test_gunicorn_master_and_workers_are_told_apart_by_parentage(proc: ProcTree) -> None:
    held = [proc.listen(5000)]
    master = proc.process(gunicorn(5000, 2), environ=environment(), sockets=held)
    workers = [proc.process(gunicorn(5000, 2), master, environment(), sockets=held) for _ in range(2)]
    sighting = look(proc)
    assert sighting.found and sighting.found.kind == "gunicorn"
    assert (sighting.processes[0].pid, sighting.processes[0].role) == (master, "supervisor")
    assert slots_of(sighting) == dict(enumerate(workers))


def test_gunicorn_renamed_by_setproctitle_is_found_by_its_socket_and_parent(proc: ProcTree) -> None:
    held = [proc.listen(5000)]
    cli = proc.process(
        [PYTHON, "/opt/bin/mlflow", "server", "--backend-store-uri", "postgresql://db/s"], environ={}
    )
    master = proc.process(["gunicorn: master [mlflow.server:app]"], cli, {}, sockets=held)
    worker = proc.process(["gunicorn: worker [mlflow.server:app]"], master, {}, sockets=held)
    sighting = look(proc)
    assert sighting.found and (sighting.found.kind, sighting.found.port) == ("gunicorn", 5000)
    assert sighting.found.backend and sighting.found.backend.host == "db"
    assert slots_of(sighting) == {0: worker}
    assert sighting.workers_configured is None


def test_waitress_is_one_worker(proc: ProcTree) -> None:
    argv = [
        PYTHON,
        "-m",
        "waitress",
        "--host=127.0.0.1",
        "--port=5000",
        "--ident=mlflow",
        "mlflow.server:app",
    ]
    pid = proc.process(argv, environ=environment(), sockets=[proc.listen(5000)])
    sighting = look(proc)
    assert sighting.found and sighting.found.kind == "waitress"
    assert slots_of(sighting) == {0: pid}


def test_prefix_tls_and_basic_auth_are_seen(proc: ProcTree) -> None:
    argv = uvicorn(5000, 2, "--ssl-certfile=c.pem", "--factory", app="mlflow.server.auth:create_app")
    environ = environment(_MLFLOW_STATIC_PREFIX="/mlf")
    proc.process(argv, environ=environ, sockets=[proc.listen(5000)])
    found = look(proc).found
    assert found == Found("127.0.0.1", 5000, "https", "/mlf", "uvicorn", True, POSTGRES, True)


def test_server_that_does_not_listen_yet_is_not_found(proc: ProcTree) -> None:
    proc.process(uvicorn(5000, 2), environ=environment())
    assert look(proc) == Sighting()


@pytest.mark.parametrize(
    ("settings", "capacity"),
    [
        ({}, 15),
        ({"POOL_SIZE": "20", "MAX_OVERFLOW": "5"}, 25),
        ({"POOL_SIZE": "3", "MAX_OVERFLOW": "0"}, 13),  # 0 is false, so MLflow does not pass it on
        ({"POOL_SIZE": "0"}, 15),
        ({"MAX_OVERFLOW": "-1"}, None),
        ({"POOLCLASS": "NullPool"}, None),
        ({"POOL_SIZE": "many"}, None),
        ({"POOL_SIZE": "9" * 400}, None),
    ],
)
def test_pool_capacity_is_what_mlflow_makes_of_its_settings(
    proc: ProcTree, settings: dict[str, str], capacity: int | None
) -> None:
    pool = {f"MLFLOW_SQLALCHEMYSTORE_{name}": value for name, value in settings.items()}
    proc.process(uvicorn(5000, 1), environ=environment(**pool), sockets=[proc.listen(5000)])
    assert look(proc).pool_capacity == capacity


def test_several_servers_are_named_and_none_is_chosen(proc: ProcTree) -> None:
    proc.server(5000)
    proc.server(5001, uid=4_242_424, boot="b008")
    sighting = look(proc)
    assert sighting.found is None and sighting.ambiguous
    assert "port 5000 (user root), port 5001 (user 4242424)" in sighting.problems[0]
    assert "hunter2" not in repr(sighting)
    chosen = look(proc, port=5001).found
    assert chosen and chosen.port == 5001
    of_user = look(proc, user="4242424").found
    assert of_user and of_user.port == 5001
    assert "user nobody" in look(proc, user="nobody").problems[0]


def test_other_users_server_is_found_without_its_backend_unless_the_user_is_named(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    pids = proc.server(uid=4_242_424, readable=False)
    stranger = look(proc)
    assert stranger.found == Found("127.0.0.1", 5000)
    assert slots_of(stranger) == dict(enumerate(pids["worker"]))
    assert (stranger.pool_capacity, stranger.jobs) == (None, None)
    assert any("server.user to 4242424" in problem for problem in stranger.problems)
    trusted = look(proc, user="4242424")
    assert trusted.found == Found("127.0.0.1", 5000, backend=POSTGRES, trusted=True)
    assert "hunter2" not in repr(trusted)


def test_own_server_is_preferred_to_another_users(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_242_424)
    proc.server(5000, readable=False)
    proc.server(5001, uid=4_242_424, boot="b008")
    found = look(proc).found
    assert found and found.port == 5001


def test_the_port_that_was_given_goes_before_an_own_server_on_another_one(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_242_424)
    proc.server(5000, readable=False)
    proc.server(5001, uid=4_242_424, boot="b008")
    found = Discovery(port=5000, proc=proc.root).look().found
    assert found and found.port == 5000


def test_a_port_that_nobody_has_is_said_to_be_so(proc: ProcTree) -> None:
    proc.server(5000)
    sighting = Discovery(port=5999, proc=proc.root).look()
    assert sighting.found is None
    assert any("No tracking server has port 5999; there are: port 5000" in one for one in sighting.problems)


def test_replaced_worker_takes_the_freed_slot(proc: ProcTree) -> None:
    pids = proc.server(workers=3)
    discovery = Discovery(proc=proc.root)
    discovery.look()
    proc.end(pids["worker"][1])
    assert slots_of(discovery.look()) == {0: pids["worker"][0], 2: pids["worker"][2]}
    new = proc.process(FORKED, pids["supervisor"][0], environment(), started=99_000)
    assert slots_of(discovery.look()) == {0: pids["worker"][0], 1: new, 2: pids["worker"][2]}


def test_zombie_is_no_worker(proc: ProcTree) -> None:
    pids = proc.server(workers=2)
    proc.used(pids["worker"][0], 10, state="Z")
    assert list(slots_of(look(proc)).values()) == pids["worker"][1:]


def test_reload_of_gunicorn_ends_in_the_first_slots(proc: ProcTree) -> None:
    held = [proc.listen(5000)]
    master = proc.process(gunicorn(5000, 2), environ=environment(), sockets=held)
    old = [proc.process(gunicorn(5000, 2), master, environment(), sockets=held) for _ in range(2)]
    discovery = Discovery(proc=proc.root)
    discovery.look()
    new = [
        proc.process(gunicorn(5000, 2), master, environment(), sockets=held, started=99_000) for _ in range(2)
    ]
    assert slots_of(discovery.look()) == {0: old[0], 1: old[1], 2: new[0], 3: new[1]}
    for pid in old:
        proc.end(pid)
    assert slots_of(discovery.look()) == dict(enumerate(new))


def test_workers_that_outlive_their_supervisor_are_orphans_in_their_slots(proc: ProcTree) -> None:
    pids = proc.server(workers=2)
    discovery = Discovery(proc=proc.root)
    before = discovery.look()
    for role in ("supervisor", "resource_tracker", "parent", "job_runner", "consumer"):
        for pid in pids[role]:
            proc.end(pid)
    after = discovery.look()
    assert after.found == before.found
    assert (after.key, after.workers_configured) == (before.key, 2)
    assert [(one.slot, one.orphaned) for one in after.processes] == [(0, True), (1, True)]
    assert str(pids["worker"][0]) in after.problems[-1]
    fresh = look(proc)
    assert fresh.found == before.found
    assert [one.orphaned for one in fresh.processes] == [True, True]


def test_orphans_of_another_user_are_still_known_to_who_saw_the_server(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    pids = proc.server(workers=2, uid=4_242_424, readable=False)
    discovery = Discovery(proc=proc.root)
    before = discovery.look()
    for role in ("supervisor", "resource_tracker", "parent", "job_runner", "consumer"):
        for pid in pids[role]:
            proc.end(pid)
    after = discovery.look()
    assert after.found == before.found
    assert [one.orphaned for one in after.processes] == [True, True]


def test_orphans_of_another_port_do_not_hide_the_server(proc: ProcTree) -> None:
    left = proc.process(FORKED, environ=environment("b001"), sockets=[proc.listen(5001)])
    proc.server(5000, workers=2)
    sighting = look(proc)
    assert sighting.found and sighting.found.port == 5000
    assert [(one.pid, one.slot) for one in sighting.processes if one.orphaned] == [(left, None)]
    assert str(left) in sighting.problems[0]


def test_restart_and_another_database_are_seen_by_the_next_look(proc: ProcTree) -> None:
    pids = proc.server(workers=2)
    discovery = Discovery(proc=proc.root)
    assert discovery.look().key == "b007"
    for pid in [pid for role in pids.values() for pid in role]:
        proc.end(pid)
    inode = proc.listen(5000)
    proc.process(uvicorn(5000, 1), environ=environment("b008", "mysql://u:p@my/s"), sockets=[inode])
    sighting = discovery.look()
    assert sighting.key == "b008"
    assert sighting.found and sighting.found.backend == Backend("mysql", "my", 0, "s", "u", Secret("p"))


def test_pid_that_another_process_has_now_is_not_the_server(proc: ProcTree) -> None:
    inode = proc.listen(5000)
    pid = proc.process(uvicorn(5000, 1), environ=environment(), sockets=[inode])
    discovery = Discovery(proc=proc.root)
    assert discovery.look().found
    proc.end(pid)
    proc.process([PYTHON, "train.py"], pid=pid, started=99_000)
    assert discovery.look().found is None


def test_processes_are_walked_only_when_the_server_is_gone_and_then_not_at_once_again(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = Counter[str]()
    pids_of = processes.pids

    def counted(root: Path) -> object:
        walks["walks"] += 1
        return pids_of(root)

    monkeypatch.setattr(processes, "pids", counted)
    clock = Clock()
    discovery = Discovery(proc=proc.root, clock=clock)
    pids = proc.server(workers=2)
    first = discovery.look()
    assert discovery.look() is first
    proc.process(FORKED, pids["supervisor"][0], environment())
    assert len(slots_of(discovery.look())) == 3
    assert walks["walks"] == 1
    for pid in [pid for role in pids.values() for pid in role]:
        proc.end(pid)
    assert discovery.look().found is None
    assert discovery.look().found is None
    assert walks["walks"] == 2
    # A scrape says what is so when it is asked.
    assert discovery.look(now=True).found is None
    assert walks.pop("walks") == 3
    walks["walks"] = 2
    clock.now += 6
    proc.server(5001, boot="b008")
    assert discovery.look().found
    assert walks["walks"] == 3


def test_kernel_that_lists_no_children_is_asked_for_parents(proc: ProcTree) -> None:
    pids = proc.server(workers=2)
    for path in proc.root.glob("*/task/*/children"):
        path.unlink()
    assert list(slots_of(look(proc)).values()) == pids["worker"]


def test_random_bytes_in_proc_raise_nothing(proc: ProcTree) -> None:
    proc.server(workers=2)
    proc.process(TRACKER)
    chance = random.Random(7)
    files = [path for path in proc.root.rglob("*") if path.is_file()]
    for _ in range(40):
        for path in chance.sample(files, 12):
            text = path.read_bytes()
            at = chance.randrange(len(text) + 1)
            path.write_bytes(text[:at] + chance.randbytes(chance.choice((0, 1, 8, 300))) + text[at + 1 :])
        assert isinstance(look(proc), Sighting)
