"""`diagnose` on real servers: a site with two causes, a fleet, and every way in which there is no answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import trustme

from exporter.causes import CAUSES
from exporter.pack.dashboards.pages import overview
from exporter.reports.prometheus import Prometheus as Client
from exporter.reports.ruled import loaded, shipped
from exporter.settings import Prometheus as Settings
from tests.lab import tools
from tests.lab.fleet import END, Fleet
from tests.lab.load import Load
from tests.lab.needs import Needs
from tests.lab.process import free_port, wait_for
from tests.lab.servers import Postgres, Prometheus, scrape_config
from tests.lab.shapes import PointsOneByOne
from tests.lab.stack import Lab, healthy

pytestmark = pytest.mark.integration

# Of the password "hunter2"; the cheapest cost that Prometheus takes.
HASH = "$2b$04$TIMSqw4fPBanyundLBh2S.klmCgtg4HWYEzItjsue80nqlKzexl76"


def diagnose(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", "diagnose", *args],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={"PYTHONPATH": str(tools.ROOT), "PATH": "/usr/bin:/bin", **env},
    )


def flat(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def wide(text: str) -> list[str]:
    """Return the lines that do not fit; a link stays whole."""
    return [line for line in text.splitlines() if len(line) > 80 and "https://" not in line]


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    """Return a site with a lock that nobody gives up, and whose jobs log point by point."""
    with Lab(Needs(background="idle", role="exporter")) as lab, ExitStack() as held:
        healthy(lab)
        lab.begin(Load(lab.url, 8, rate=40, client=PointsOneByOne))
        for _ in range(3):  # the first has the lock, and is idle in its transaction
            held.callback(locking(lab.postgres))
        wait_for(lambda: lab.alerts().get("MlflowLockWaits") == "firing", "the alert fires", 60)
        wait_for(lambda: "MlflowPointsLoggedOneByOne" in lab.alerts(), "the other is pending", 60)
        yield lab


def locking(server: Postgres) -> Callable[[], None]:
    """Ask for a lock that neither MLflow nor the exporter needs; returns what ends the session."""
    session = server.connect(dbname="mlflow")
    session.pgconn.send_query(b"BEGIN; SELECT pg_advisory_xact_lock(1)")
    return session.close


def of_site(lab: Lab, *args: str) -> subprocess.CompletedProcess[str]:
    """Run it beside the site's exporter, with its rights."""
    dsn = lab.postgres.dsn("exporter", "mlflow")
    return diagnose("--server.port", str(lab.mlflow.port), *args, MLFLOW_EXPORTER_DATABASE_DSN=dsn)


def test_it_names_the_causes_the_fix_and_who_writes(site: Lab) -> None:
    done = of_site(site, "--prometheus", site.prometheus.url, "--for", "3s")
    assert done.returncode == 3, done.stderr
    first = "\n".join(done.stdout.splitlines()[:24])
    assert re.search(r"^FIRING  connections +\S+ sessions wait for locks +\S+ +0.8$", first, re.MULTILINE)
    assert re.search(r"^\w+ +logging-pattern +\S+ calls/s, points one by one +\S+ +20$", first, re.MULTILINE)
    assert "MlflowLockWaits (warning) firing since" in first
    assert "SELECT pg_terminate_backend(pid) of the blocker" in " ".join(first.split())
    assert "/connections.md#mlflowlockwaits" in first
    assert "MlflowPointsLoggedOneByOne (warning)" in done.stdout
    assert "TOP WRITERS in 3 s" in done.stdout
    assert "this machine's tracking server" not in done.stdout
    assert "lists no alert of ours" not in done.stdout
    assert "NOT READ" not in done.stdout
    assert wide(done.stdout) == []
    assert "\x1b" not in done.stdout


def test_as_json_it_has_the_figures_and_what_the_database_shows(site: Lab) -> None:
    done = of_site(site, "--prometheus", site.prometheus.url, "--for", "1s", "--json")
    assert done.returncode == 3, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert (said["job"], said["tracking_server"]) == ("mlflow", "main")
    causes = {one["cause"]: one for one in said["diagnosis"]["causes"]}
    assert causes.keys() <= {cause.slug for cause in CAUSES}
    assert causes["connections"]["state"] == "warning"
    (alert,) = causes["connections"]["alerts"]
    assert said["at"] - 60 < alert["since"] <= said["at"]
    evidence = causes["logging-pattern"]["evidence"][0]
    assert evidence["threshold"] == 20
    assert evidence["now"] == pytest.approx(evidence["pressure"] * 20)
    assert evidence["hour_ago_says"] == "no data"
    assert said["database_place"].endswith("/mlflow")
    assert said["database"]["writers"]["groups"]


def test_beside_a_server_that_was_chosen_it_says_whose_database_is_read(site: Lab) -> None:
    chosen = ("--prometheus", site.prometheus.url, "--tracking-server", "main", "--for", "0s")
    done = of_site(site, *chosen)
    assert "that of this machine's tracking server, or the one that database.dsn names here" in flat(done)
    assert wide(done.stdout) == []
    assert "on whether main uses it" in json.loads(of_site(site, *chosen, "--json").stdout)["database_remark"]


def test_the_thresholds_and_texts_that_prometheus_has_loaded_are_read(site: Lab) -> None:
    with closing(Client(Settings(url=site.prometheus.url))) as prometheus:
        found = loaded(prometheus.alerting_rules())
    assert {rule.name: rule.signals for rule in found} == {rule.name: rule.signals for rule in shipped()}
    assert all(rule.annotations["fix"] for rule in found)


def test_without_prometheus_two_scrapes_are_shown_and_nothing_is_judged(site: Lab) -> None:
    done = of_site(site, "--for", "3s")
    assert done.returncode == 0, done.stderr
    assert "NO RULE WAS EVALUATED" in done.stdout
    calls = re.search(r"^logging-pattern +([\d.]+) logging calls/s +20$", done.stdout, re.MULTILINE)
    assert calls
    assert 20 < float(calls[1]) < 60
    assert re.search(r"2 sessions wait for locks +0.8$", done.stdout, re.MULTILINE)
    assert re.search(r"sessions wait in COMMIT +0.3$", done.stdout, re.MULTILINE)
    assert "FIRING" not in done.stdout
    assert "TOP WRITERS" in done.stdout
    assert wide(done.stdout) == []


def test_without_prometheus_and_without_a_server_it_says_what_is_missing() -> None:
    nowhere = ("--for", "0s", "--server.port", str(free_port()))
    done = diagnose(*nowhere)
    assert done.returncode == 0
    assert "server's processes 0 % up" in done.stdout
    done = diagnose(*nowhere, "--collectors", "database")
    assert done.returncode == 1
    assert "NOTHING COULD BE READ" in done.stdout
    assert "alert above" not in done.stdout
    assert "Start the tracking server on this machine, or set database.dsn." in flat(done)
    assert wide(done.stdout) == []


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet([overview.dashboard()], number=17) as prometheus:
        yield prometheus


def test_of_several_tracking_servers_each_has_a_row_the_worst_first(fleet: Fleet) -> None:
    done = diagnose("--prometheus", fleet.url, "--at", "2023-11-14T21:59Z")
    assert done.returncode == 3, done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("team-")]
    assert {server for server, state in rows if state == "FIRING"} == set(fleet.in_trouble)
    assert [state for _, state in rows[: len(fleet.in_trouble)]] == ["FIRING"] * len(fleet.in_trouble)
    assert "17 tracking servers, 2023-11-14 21:59:00 UTC: 3 firing" in done.stdout
    assert "--tracking-server NAME" in done.stdout
    assert wide(done.stdout) == []


def test_one_of_them_is_told_of_alone_with_what_was_an_hour_ago(fleet: Fleet) -> None:
    at = ("--at", "2023-11-14T21:59Z", "--job", "mlflow")
    done = diagnose("--prometheus", fleet.url, "--tracking-server", "team-008", "--json", *at)
    assert done.returncode == 3, done.stderr
    worst = json.loads(done.stdout)["diagnosis"]["causes"][0]
    first = worst["evidence"][0]
    assert worst["state"] in ("critical", "warning")
    assert first["pressure"] > 1
    assert 0 < first["hour_ago"] < first["threshold"] < first["now"]

    quiet = diagnose("--prometheus", fleet.url, "--tracking-server", "team-001", *at)
    assert quiet.returncode == 0
    assert "nothing fires" in quiet.stdout.splitlines()[0]

    other = diagnose("--prometheus", fleet.url, "--tracking-server", "team-999", *at)
    assert other.returncode == 1
    assert "no such tracking server among 17; the likest are: team-009 of job mlflow" in flat(other)


class Crowd(Fleet):
    """62 tracking servers in which an alert fires: 60 of one job, which are worse, two of another; one just gone."""

    def start(self) -> None:
        if not self.data.exists():
            self._write(crowd(self.minutes + 1))
        super().start()


def crowd(samples: int) -> Iterator[tuple[str, list[str]]]:
    for job, size, value in (("big", 60, "9"), ("small", 2, "1.2")):
        for number in range(size):
            of = f'cause="connections",job="{job}",tracking_server="{job}-{number}"'
            yield f'mlflow:pressure:ratio{{signal="pool",{of}}}', [value] * samples
            own = 'alertname="MlflowConnectionPoolExhausted",alertstate="firing",severity="critical"'
            yield f"ALERTS{{{own},{of}}}", ["1"] * samples
    for signal, value in (("database-down", "2"), ("error-budget", "15")):
        of = f'cause="availability",signal="{signal}",job="gone",tracking_server="gone-0"'
        yield f"mlflow:pressure:ratio{{{of}}}", [value] * samples


@pytest.fixture(scope="module")
def crowded() -> Iterator[Fleet]:
    with Crowd([], number=0, minutes=1) as prometheus:
        yield prometheus


def test_what_fires_is_found_however_many_others_are_worse(crowded: Fleet) -> None:
    at = ("--at", "2023-11-14T21:59Z")
    small = diagnose("--prometheus", crowded.url, "--job", "small", *at)
    assert small.returncode == 3, small.stdout
    assert "2 tracking servers, 2023-11-14 21:59:00 UTC: 2 firing" in small.stdout
    rows = {line.split()[0] for line in small.stdout.splitlines() if " FIRING " in line}
    assert rows == {"small-0", "small-1"}

    every = diagnose("--prometheus", crowded.url, *at)
    assert every.returncode == 3
    assert "63 tracking servers, 2023-11-14 21:59:00 UTC: 62 firing" in every.stdout
    assert "13 more are not shown, 12 of them firing" in every.stdout


def test_the_board_too_tells_what_is_gone_before_what_users_feel_of_it(crowded: Fleet) -> None:
    (panel,) = (
        one for one in overview.dashboard().json()["panels"] if one["title"] == "Causes, nearest first"
    )
    query = panel["targets"][0]["expr"].replace("$job", "gone").replace("$tracking_server", ".*")
    with closing(Client(Settings(url=crowded.url))) as prometheus:
        (row,) = prometheus.vector(query, END)
    assert (row.labels["evidence"], row.value) == ("database silent 100 % of 2 min (> 50)", 2)


def test_of_a_prometheus_without_our_rules_it_says_which_to_load(site: Lab) -> None:
    scraping = scrape_config({"mlflow": f"127.0.0.1:{site.exporter.port}"}, 0.5)
    with Prometheus(scraping) as bare:
        wait_for(lambda: bool(bare.query("mlflow_exporter_build_info")), "it scrapes", 20)
        done = diagnose("--prometheus", bare.url)
        assert done.returncode == 1
        assert "reads 1 MLflow exporters, and has no rule of ours" in flat(done)
        assert "rule_files: [DIR/rules/*.yml]" in done.stdout


def test_who_does_not_answer_as_prometheus_does_is_told_so(site: Lab) -> None:
    done = diagnose("--prometheus", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "unreachable" in done.stdout
    assert "Connection refused" in flat(done)
    done = diagnose("--prometheus", site.exporter.url)
    assert done.returncode == 1
    assert "is no Prometheus, or not at this path" in flat(done)


class Guarded(Prometheus):
    """One that does not tell everybody that it is ready."""

    def ready(self) -> bool:
        return self.listens()


def test_the_authority_that_is_set_holds_whatever_the_environment_names(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    web = tmp_path / "web.yml"
    web.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
    with Guarded({"global": {}}, options=[f"--web.config.file={web}"]) as prometheus:
        url = f"https://127.0.0.1:{prometheus.port}"
        bundle = {"REQUESTS_CA_BUNDLE": str(tmp_path / "other.pem")}
        done = diagnose("--prometheus", url, "--prometheus.ca_file", str(tmp_path / "ca.pem"), **bundle)
        assert "reads no MLflow exporter at that time" in flat(done)
        refused = diagnose("--prometheus", url, **bundle)
        assert "TLS" in refused.stdout
        assert "prometheus.ca_file" in refused.stdout


def test_it_signs_in_with_what_the_settings_say_and_never_shows_it(tmp_path: Path) -> None:
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users:\n  reader: {HASH}\n")
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")

    with Guarded({"global": {}}, options=[f"--web.config.file={web}"]) as prometheus:
        refused = diagnose("--prometheus", prometheus.url)
        assert refused.returncode == 1
        assert "asks for a login" in flat(refused)
        assert "prometheus.password_file" in refused.stdout
        signing = ("--prometheus.username", "reader")
        done = diagnose("--prometheus", prometheus.url, *signing, "--prometheus.password_file", str(secret))
        assert "reads no MLflow exporter at that time, and has no rule of ours" in flat(done)
        wrong = diagnose(
            "--prometheus", prometheus.url, *signing, MLFLOW_EXPORTER_PROMETHEUS_PASSWORD="hunter3"
        )
        assert "refuses the one that is set" in flat(wrong)
        assert "hunter" not in wrong.stdout + wrong.stderr
