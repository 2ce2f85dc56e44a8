"""Control groups as files, of both versions: what is written where, and what a container's root asks for first."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.lab.cgroup import CONTROLLERS, Group, NotMadeError

pytestmark = pytest.mark.unit


@pytest.fixture
def first(tmp_path: Path) -> Path:
    for name in CONTROLLERS:
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def second(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory io pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu io\n")
    (tmp_path / "cgroup.procs").write_text("17\n23\n")
    return tmp_path


def made(root: Path, *files: str) -> Group:
    """Return a group with those files, as the kernel would make them; a real directory keeps them at its end."""
    group = Group("test", root)
    group.__enter__()
    for folder in group.folders():
        for name in files:
            (folder / name).touch()
    return group


def said(group: Group) -> dict[str, str]:
    return {
        file.name: file.read_text()
        for folder in group.folders()
        for file in folder.iterdir()
        if file.read_text()
    }


def test_limits_of_version_1_count_swap_where_it_is_accounted(first: Path) -> None:
    group = made(first, "memory.memsw.limit_in_bytes")
    group.cpu(0.5)
    group.memory(1 << 20)
    assert said(group) == {
        "cpu.cfs_quota_us": "50000",
        "memory.limit_in_bytes": "1048576",
        "memory.memsw.limit_in_bytes": "1048576",
    }
    group.cpu(None)
    group.memory(None)
    assert set(said(group).values()) == {"-1"}


def test_limits_of_version_2_allow_no_swap(second: Path) -> None:
    group = made(second, "memory.swap.max")
    group.cpu(0.5)
    group.memory(1 << 20)
    assert said(group) == {"cpu.max": "50000 100000", "memory.max": "1048576", "memory.swap.max": "0"}
    group.cpu(None)
    group.memory(None)
    assert said(group) == {"cpu.max": "max 100000", "memory.max": "max", "memory.swap.max": "max"}


def test_only_the_controllers_that_are_off_are_switched_on(second: Path) -> None:
    made(second)
    assert (second / "cgroup.subtree_control").read_text() == "+memory"


def test_a_container_s_processes_make_room(second: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    write = Path.write_text

    def kernel(path: Path, text: str) -> int:
        if path.name == "cgroup.subtree_control" and not moved:
            raise OSError(errno.EBUSY, "Device or resource busy")
        if path.name == "cgroup.procs":
            moved.append(f"{path.parent.name} {text}")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", kernel)
    made(second)
    assert moved == ["mlflow-lab-others 17", "mlflow-lab-others 23"]


def test_without_the_right_to_make_one_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotMadeError, match="no control group can be made here"):
        Group("test", tmp_path).__enter__()
