"""What a pack holds, and which directories it may be written to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.pack import RUNBOOKS
from exporter.pack.directory import MANIFEST, PackError, write
from exporter.pack.formats import addressed, grafana, prometheus
from exporter.pack.site import Site

pytestmark = pytest.mark.unit

FILES = {"rules/one.yml": "one\n", "alertmanager.yml": "routes\n"}


def held(directory: Path) -> dict[str, str]:
    return {
        file.relative_to(directory).as_posix(): file.read_text()
        for file in directory.rglob("*")
        if file.is_file() and file.name != MANIFEST
    }


def test_a_pack_has_all_that_prometheus_and_alertmanager_load_and_nothing_else() -> None:
    packed = prometheus(Site())
    assert packed.keys() >= {
        *("alertmanager.yml", "prometheus.yml", "watchdog.yml"),
        *("templates/mlflow.tmpl", "rules/database-indexes.yml"),
    }
    assert not [path for path in packed if path.startswith(("tests/", "runbooks/"))]


def test_the_site_s_job_and_server_are_all_that_differs_in_what_gives_series_their_names() -> None:
    before, after = prometheus(Site()), prometheus(Site(job="ml", tracking_server="team-1"))
    swapped = {
        "mlflow": "ml",
        "main": "team-1",
        "mlflow-server": "ml-server",
        "(`mlflow`, `main`)": "(`ml`, `team-1`)",
    }
    inputs = [path for path in before if path.startswith("inputs/")]
    assert len(inputs) == 4
    for path in (*inputs, "prometheus.yml"):
        pairs = zip(before[path].splitlines(), after[path].splitlines(), strict=True)
        changed = [(old, new) for old, new in pairs if old != new]
        assert len(changed) == (5 if path in inputs else 4)
        for old, new in changed:
            word = next(word for word in sorted(swapped, key=len, reverse=True) if old.endswith(word))
            assert new == old.removesuffix(word) + swapped[word]


def test_a_pack_has_the_dashboards_and_what_makes_grafana_load_them() -> None:
    packed = grafana(Site())
    assert packed.keys() >= {"dashboards/overview.json", "dashboards/provisioning/dashboards.yml"}
    assert all(json.loads(text)["uid"] for path, text in packed.items() if path.endswith(".json"))


@pytest.mark.parametrize(
    "line", ["runbook_url: {}", "runbook_url: '{}'", "runbook_url: >-\n  {}", "# see {}"]
)
def test_a_runbook_is_linked_where_the_site_has_it(line: str) -> None:
    before, after = f"{RUNBOOKS}/open-files.md#mlflowx", "http://exporter:10500/runbooks/open-files#mlflowx"
    assert addressed(line.format(before), Site(runbook_url="http://exporter:10500/runbooks")) == line.format(
        after
    )
    assert addressed(line.format(before), Site(grafana_url="https://g")) == line.format(before)


def test_a_board_s_link_to_the_runbook_of_its_row_is_the_site_s_too() -> None:
    link = "{}/${{__data.fields.Cause}}{}"
    site = Site(runbook_url="http://exporter/runbooks")
    assert addressed(link.format(RUNBOOKS, ".md"), site) == link.format("http://exporter/runbooks", "")
    assert RUNBOOKS not in "".join(grafana(site).values())


@pytest.mark.parametrize("line", ["dashboard_url: {}", 'dashboard_url: "{}"', "dashboard_url: >-\n    {}"])
def test_a_board_is_linked_in_the_site_s_grafana(line: str) -> None:
    before = "/d/mlflow-causes?var-job={{ $labels.job }}#open-files"
    assert addressed(line.format(before), Site(grafana_url="https://g/x")) == line.format(
        f"https://g/x{before}"
    )


@pytest.mark.parametrize("there", [None, "empty"])
def test_a_new_or_empty_directory_gets_the_files(tmp_path: Path, there: str | None) -> None:
    target = tmp_path / "a/b"
    if there:
        target.mkdir(parents=True)
    write(target, FILES)
    assert held(target) == FILES
    assert not list(target.glob(".pack-*"))


def test_a_pack_is_replaced_and_what_it_no_longer_has_is_removed(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    write(tmp_path, {"rules/two.yml": "two\n"})
    assert held(tmp_path) == {"rules/two.yml": "two\n"}


@pytest.mark.parametrize("name", ["prometheus.yml", "rules/mine.yml", "pack.json", ".hidden"])
def test_files_of_others_are_named_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(PackError, match=rf"not of a pack: {name}\. Choose"):
        write(tmp_path, FILES)
    assert [file.read_text() for file in tmp_path.rglob("*") if file.is_file()] == ["{}"]


def test_a_directory_of_others_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "alertmanager.yml").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "rules").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackError, match=r"not of a pack: alertmanager.yml, elsewhere, rules\. Choose"):
        write(tmp_path, FILES)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_a_killed_writer_left_is_nobody_s(tmp_path: Path) -> None:
    (tmp_path / ".pack-x1").mkdir()
    (tmp_path / ".pack-x1/rules.yml").touch()
    write(tmp_path, FILES)
    assert {name: text for name, text in held(tmp_path).items() if not name.startswith(".pack-")} == FILES


def test_when_one_file_cannot_be_put_in_its_place_all_are_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail at each of the renames and removals, one after the other."""
    write(tmp_path / "pack", FILES)
    whole = {path: path.read_bytes() for path in (tmp_path / "pack").rglob("*") if path.is_file()}
    for failing in range(3):
        left = [failing]
        with monkeypatch.context() as patch:
            for name in ("replace", "unlink"):
                patch.setattr(Path, name, failing_after(left, getattr(Path, name)))
            with pytest.raises(OSError, match="full"):
                write(tmp_path / "pack", {"more/three.yml": "three\n", "alertmanager.yml": "other\n"})
        assert {path: path.read_bytes() for path in (tmp_path / "pack").rglob("*") if path.is_file()} == whole
        assert not (tmp_path / "pack/more").exists()


def failing_after(left: list[int], call: Callable[..., object]) -> Callable[..., object]:
    """Return the call, which fails once when that many have succeeded."""

    def counted(*arguments: object) -> object:
        left[0] -= 1
        if left[0] == -1:
            raise OSError("the disk is full")
        return call(*arguments)

    return counted


def test_a_file_that_was_edited_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "alertmanager.yml").write_text("routes\nreceivers of the site\n")
    with pytest.raises(PackError, match=r"edited since .*: alertmanager.yml"):
        write(tmp_path, {"rules/two.yml": "two\n"})
    assert held(tmp_path) == FILES | {"alertmanager.yml": "routes\nreceivers of the site\n"}


def test_of_many_files_only_some_are_named(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}").touch()
    with pytest.raises(PackError, match=r": 0, 1, 2, 3, 4 and 4 more\."):
        write(tmp_path, FILES)


def test_a_file_in_the_directory_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PackError, match="is a file"):
        write(tmp_path / "file", FILES)


@pytest.mark.parametrize("new", [True, False])
def test_when_one_file_cannot_be_written_none_is(tmp_path: Path, new: bool) -> None:
    target = tmp_path / "pack"
    if not new:
        write(target, FILES)
    unwritable = {"alertmanager.yml": "other\n", "x" * 300: "a name that no file system takes\n"}
    with pytest.raises(OSError, match="too long"):
        write(target, unwritable)
    assert target.exists() != new
    if not new:
        assert held(target) == FILES
        write(target, FILES)  # and still is a pack


def test_the_command_says_what_to_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(tmp_path / "pack"), "--runbook-url", "http://exporter:10500/runbooks/"]) == 0
    assert f"rule_files: [{tmp_path}/pack/rules/*.yml]" in capsys.readouterr().out
    assert "http://exporter:10500/runbooks/exporter#watchdog" in (tmp_path / "pack/watchdog.yml").read_text()
    files = json.loads((tmp_path / "pack" / MANIFEST).read_text())["files"]
    assert files.keys() == prometheus(Site()).keys() | grafana(Site()).keys()


def test_the_command_fails_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").touch()
    assert main(["pack", str(tmp_path)]) == 1
    assert "holds files that are not of a pack: notes.txt" in capsys.readouterr().err
    assert main(["pack", "/proc/none"]) == 1
    assert capsys.readouterr().err.startswith("cannot write /proc/none: ")


@pytest.mark.parametrize(
    "base", ["exporter:10500", "/runbooks", "http://x/{{ .Secret }}", 'http://x/"', "http://x/ #"]
)
def test_what_is_not_the_start_of_a_link_is_refused(base: str, tmp_path: Path) -> None:
    assert main(["pack", str(tmp_path / "pack"), "--runbook-url", base]) == 2
    assert not (tmp_path / "pack").exists()
