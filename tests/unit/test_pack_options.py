"""What a site may have other than is shipped, and what is said of what it may not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.pack.command import said
from exporter.pack.site import Site, load
from exporter.settings import SettingsError

pytestmark = pytest.mark.unit

FILE = """\
job: ml
runbook_url: http://wiki/mlflow/
thresholds:
  MlflowOpenFilesNearLimit: 0.7
  MlflowReplicaLagging: {replica-lag: 300}
severities: {MlflowLockWaits: critical}
exclude: [MlflowBackendIsSqlite]
labels: {team: ml}
kubernetes: {user: 10001}
"""


def refused(tmp_path: Path, text: str, **flags: str) -> str:
    """Return the one fault of these options, without the file's name."""
    (tmp_path / "site.yml").write_text(text)
    with pytest.raises(SettingsError) as error:
        load(tmp_path / "site.yml", flags)
    (fault,) = error.value.faults
    return fault.removeprefix(f"{tmp_path}/")


def test_options_are_those_of_the_file_and_flags_win(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(FILE)
    site = load(tmp_path / "site.yml", {"job": "other", "namespace": "prod"})
    assert (site.job, site.namespace, site.runbook_url) == ("other", "prod", "http://wiki/mlflow")
    assert site.thresholds == {"MlflowOpenFilesNearLimit": 0.7, "MlflowReplicaLagging.replica-lag": 300}
    assert (site.severities, site.exclude) == ({"MlflowLockWaits": "critical"}, ("MlflowBackendIsSqlite",))
    assert (site.labels, site.kubernetes.user) == ({"team": "ml"}, 10001)
    assert load(None, {}) == Site()


UNKNOWN = "an unknown key"


@pytest.mark.parametrize(
    ("text", "key", "found", "ends"),
    [
        ("thresholds: {MlflowLockWait: 1}", "", UNKNOWN, "did you mean MlflowLockWaits?"),
        ("severities: {MlflowLockWait: info}", "", UNKNOWN, "did you mean MlflowLockWaits?"),
        ("exclude: [MlflowLockWait]", "exclude[0]", "'MlflowLockWait'", "did you mean MlflowLockWaits?"),
        (
            "cluster_label: k8s-cluster",
            "cluster_label",
            "'k8s-cluster'",
            "that no metric and no alert of ours has, as cluster",
        ),
        ("cluster_label: tracking_server", "cluster_label", "'tracking_server'", "of ours has, as cluster"),
        ("cluster_label: operation", "cluster_label", "'operation'", "of ours has, as cluster"),
        ("severities: {MlflowLockWaits: page}", "", "'page'", "allowed critical, info or warning"),
        ("thresholds: {MlflowOpenFilesNearLimit: 80}", "", "'80'", "above 0 and below 1, as 0.8 for 80 %"),
        ("thresholds: {MlflowIdleInTransaction: 10m}", "", "'10m'", "a number above 0, did you mean 600?"),
        ("thresholds: {MlflowIdleInTransaction: 0}", "", "'0'", "allowed a number above 0"),
        (
            "thresholds: {MlflowDatabaseCpuSaturated: 2}",
            "",
            "a single value",
            "allowed a mapping of host, load",
        ),
        ("thresholds: {MlflowOpenFilesLimitLow: 9}", "", "'9'", "`exclude` or `severities` may name it"),
        ("labels: {severity: x}", "", "this name", "vantage, version"),
        ("labels: {team: '{{ $value }}'}", "labels.team", "'{{ $value }}'", "quotes and backslashes"),
        ("namespace: My_Space", "namespace", "'My_Space'", "of a-z, 0-9 and -"),
        ("tresholds: {}", "tresholds", UNKNOWN, "did you mean thresholds?"),
    ],
)
def test_a_fault_says_where_it_is_and_what_is_allowed_and_nearest(
    tmp_path: Path, text: str, key: str, found: str, ends: str
) -> None:
    said = refused(tmp_path, text)
    section, _, name = text.partition(": {")
    assert said.startswith(f"site.yml:1: {key or section + '.' + name.partition(':')[0]}: found {found}, ")
    assert said.endswith(ends)


def test_a_fault_of_a_flag_names_the_flag(tmp_path: Path) -> None:
    said = refused(tmp_path, "", runbook_url='http://x/"')
    assert said == "--runbook-url: found 'http://x/\"', allowed the start of a link, as http://host:port/path"


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("", "publish them and give --runbook-url;"),
        # As well where links lead to the exporter itself, whose pages have the shipped numbers.
        (
            "http://exporter:10500/runbooks",
            "publish them at http://exporter:10500/runbooks, where links lead;",
        ),
    ],
)
def test_whose_thresholds_are_others_is_told_where_its_runbooks_are(
    tmp_path: Path, url: str, where: str
) -> None:
    site = Site(thresholds={"MlflowLockWaits": 2}, runbook_url=url)
    (line,) = (line for line in said(tmp_path, "prometheus", site) if line.startswith("Runbooks"))
    assert where in line
    assert line.endswith("the exporter's own pages have the shipped ones")
    plain = said(tmp_path, "prometheus", Site(runbook_url=url))
    assert not [line for line in plain if line.startswith("Runbooks")]


def test_without_the_extra_thresholds_are_refused_with_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "exporter.pack.thresholds", raising=False)
    monkeypatch.delattr("exporter.pack.thresholds", raising=False)
    monkeypatch.setitem(sys.modules, "promql_parser", None)
    (tmp_path / "site.yml").write_text("thresholds: {MlflowLockWaits: 2}\n")
    assert main(["pack", str(tmp_path / "pack"), "--values", str(tmp_path / "site.yml")]) == 1
    assert "pip install promql-parser" in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


def test_with_faults_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.yml").write_text("thresholds: {MlflowLockWait: 1}\nexclude: [MlflowX]\n")
    assert main(["pack", str(tmp_path / "pack"), "--values", str(tmp_path / "site.yml")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not (tmp_path / "pack").exists()
