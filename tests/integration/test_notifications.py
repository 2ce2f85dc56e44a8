"""What a real Alertmanager makes of the shipped configuration and templates, and whom it tells what."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.lab import timelapse
from tests.lab.servers import Alertmanager, free_port, wait_for
from tests.lab.tools import ROOT, program

pytestmark = pytest.mark.integration

ALERTS = ROOT / "alerts"
CONFIG = ALERTS / "alertmanager.yml"
GOLDEN = ROOT / "tests/golden/notifications"
TEMPLATES = ("title", "text", "slack", "slack.color", "html")


def shipped_alerts() -> dict[str, dict[str, str]]:
    """Return the labels of every alert of the pack, by name."""
    found = {}
    for file in [*(ALERTS / "rules").glob("*.yml"), ALERTS / "watchdog.yml"]:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    found[rule["alert"]] = {"alertname": rule["alert"], **rule["labels"]}
    return found


def with_receivers() -> str:
    """Return the configuration as its last comment says to edit it: no `#` at the start of the receivers' lines."""
    before, receivers, after = CONFIG.read_text().partition("\nreceivers:\n")
    return before + receivers + re.sub(r"^#", "", after, flags=re.MULTILINE)


def amtool(*arguments: str | Path) -> str:
    done = subprocess.run([program("amtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# What is sent.


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("payload", ["incident", "resolved"])
def test_a_message_is_rendered_as_it_was_read_and_approved(payload: str, template: str) -> None:
    kind = "html" if template == "html" else "text"
    text = amtool(
        *("template", "render", f"--template.glob={ALERTS / 'templates/*.tmpl'}"),
        *(f'--template.text={{{{ template "mlflow.{template}" . }}}}', f"--template.type={kind}"),
        f"--template.data={GOLDEN / f'{payload}.json'}",
    )
    golden = GOLDEN / (f"{payload}.html" if kind == "html" else f"{payload}.{template}.txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_all_receivers_that_are_prepared_are_accepted_once_their_lines_are_no_comments(
    tmp_path: Path,
) -> None:
    shutil.copytree(ALERTS / "templates", tmp_path / "templates")
    (tmp_path / "alertmanager.yml").write_text(with_receivers())
    amtool("check-config", tmp_path / "alertmanager.yml")
    kinds = {kind for one in yaml.safe_load(with_receivers())["receivers"] for kind in one}
    assert kinds == {"name", "slack_configs", "email_configs", "pagerduty_configs", "webhook_configs"}


class Inbox:
    """Keeps what is posted to it, by path, and every e-mail."""

    def __init__(self) -> None:
        self.posts: dict[str, list[Any]] = {}
        self.mails: list[EmailMessage] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                inbox.posts.setdefault(self.path, []).append(body)
                self.send_response(202 if self.path == "/pagerduty" else 200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._smtp = Controller(self, hostname="127.0.0.1", port=free_port())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def smarthost(self) -> str:
        return f"127.0.0.1:{self._smtp.port}"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        assert envelope.original_content is not None
        mail = message_from_bytes(envelope.original_content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    def __enter__(self) -> Inbox:
        self._smtp.start()
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._smtp.stop()


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[tuple[Inbox, Alertmanager]]:
    """Return an inbox, and an Alertmanager that sends to it with the shipped timings divided by 100."""
    with ExitStack() as stack:
        inbox = stack.enter_context(Inbox())
        config = timelapse.shrink(yaml.safe_load(with_receivers()), 100)
        config["route"]["routes"][0]["group_wait"] = "1s"  # on a busy machine 0.3 s could part the incident
        receivers = {one["name"]: one for one in config["receivers"]}
        (tmp_path / "slack").write_text(f"{inbox.url}/slack")
        (tmp_path / "key").write_text("key")
        receivers["chat"]["slack_configs"][0]["api_url_file"] = str(tmp_path / "slack")
        receivers["chat"]["webhook_configs"][0]["url"] = f"{inbox.url}/webhook"
        receivers["pager"]["pagerduty_configs"][0] |= {
            "routing_key_file": str(tmp_path / "key"),
            "url": f"{inbox.url}/pagerduty",
        }
        receivers["pager"]["email_configs"][0] |= {"smarthost": inbox.smarthost, "require_tls": False}
        receivers["watchdog"]["webhook_configs"][0]["url"] = f"{inbox.url}/watchdog"
        yield inbox, stack.enter_context(Alertmanager(config))


def post(alertmanager: Alertmanager, alerts: Iterable[Mapping[str, Any]], seconds: float = 3600) -> None:
    """Send alerts as Prometheus does, begun now, to end in that many seconds."""
    # Begun now: a group whose alerts are older than group_wait is sent at once, with the first of them alone.
    now = datetime.now(UTC)
    times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(seconds=seconds)).isoformat()}
    body = [{**alert, **times} for alert in alerts]
    requests.post(f"{alertmanager.url}/api/v2/alerts", json=body, timeout=10).raise_for_status()


def test_an_incident_reaches_people_and_programs_and_so_does_its_end(
    delivered: tuple[Inbox, Alertmanager],
) -> None:
    inbox, alertmanager = delivered
    incident = [
        {key: alert[key] for key in ("labels", "annotations", "generatorURL")}
        for alert in json.loads((GOLDEN / "incident.json").read_text())["alerts"]
        if alert["status"] == "firing"
    ]
    watchdog = {"labels": {"alertname": "Watchdog", "severity": "none"}, "annotations": {"summary": "Works."}}
    post(alertmanager, [*incident, watchdog])
    wait_for(lambda: inbox.posts.keys() >= {"/slack", "/webhook", "/pagerduty", "/watchdog"}, "all are told")
    wait_for(lambda: bool(inbox.mails), "an e-mail has come")

    title = "[CRITICAL] MLflow main: The API fails."
    (slack,) = inbox.posts["/slack"][0]["attachments"]
    assert slack["title"] == f"{title} (2 alerts)"
    assert slack["color"] == "danger"
    # The finding is routed to nobody, and what is critical comes first.
    assert re.findall(r"(\w+) since", slack["text"]) == ["MlflowApiFailing", "MlflowSearchScansRuns"]
    assert "\n*Fix for good*, as the tables' owner: CREATE INDEX CONCURRENTLY ON runs (" in slack["text"]

    webhook = inbox.posts["/webhook"][0]
    sent = {alert["labels"]["alertname"]: alert for alert in incident}
    told = {alert["labels"]["alertname"]: alert for alert in webhook["alerts"]}
    assert told.keys() == {"MlflowApiFailing", "MlflowSearchScansRuns"}
    for name, alert in told.items():
        assert (alert["labels"], alert["annotations"]) == (sent[name]["labels"], sent[name]["annotations"])

    (mail,) = inbox.mails
    assert mail["Subject"] == title
    html, plain = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None and plain is not None
    assert "<h2" in html.get_content() and "CRITICAL: The API fails.</h2>" in html.get_content()
    assert plain.get_content().startswith("CRITICAL: The API fails.")
    assert inbox.posts["/pagerduty"][0]["payload"]["summary"] == title

    post(alertmanager, incident, seconds=0)
    wait_for(lambda: len(inbox.posts["/slack"]) > 1 and len(inbox.mails) > 1, "its end is told")
    (slack,) = inbox.posts["/slack"][-1]["attachments"]
    assert slack["title"] == f"{title.replace('CRITICAL', 'RESOLVED')} (2 alerts)"
    assert slack["color"] == "good"
    assert "|Verify that it holds>" in slack["text"]
    assert inbox.mails[-1]["Subject"] == title.replace("CRITICAL", "RESOLVED")


# Who is told, and what is not.


class Unedited(Alertmanager):
    """Alertmanager with the file that is shipped."""

    def __init__(self) -> None:
        super().__init__({})

    def command(self) -> list[str]:
        return [re.sub(r"^(--config.file=).*", rf"\g<1>{CONFIG}", part) for part in super().command()]


@pytest.fixture(scope="module")
def unedited() -> Iterator[Alertmanager]:
    with Unedited() as server:
        yield server


def states(alertmanager: Alertmanager, **labels: str) -> dict[str, str]:
    """Return `active` or `suppressed` by alert, of those with these labels."""
    return {
        alert["labels"]["alertname"]: alert["status"]["state"]
        for alert in alertmanager.get("/api/v2/alerts").json()
        if labels.items() <= alert["labels"].items()
    }


def of_server(name: str, *alerts: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"labels": {**labels, "job": "mlflow", "tracking_server": name}} for labels in alerts]


def pairs() -> Iterator[tuple[str, str]]:
    """Give the (source, target) of every inhibition; alternatives are all that its matchers know."""
    for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]:
        names = [
            re.findall(r"Mlflow\w+", " ".join(rule[side])) for side in ("source_matchers", "target_matchers")
        ]
        yield from ((source, target) for source in names[0] for target in names[1])


def settle(alertmanager: Alertmanager, name: str) -> None:
    """Wait until all that was posted before has come to the inhibition, which takes alerts in their order."""
    alerts = shipped_alerts()
    source, target = next(pairs())
    post(alertmanager, of_server(name, alerts[source], alerts[target]))
    wait_for(
        lambda: states(alertmanager, tracking_server=name) == {source: "active", target: "suppressed"},
        f"{source} silences {target}",
    )


def test_each_cheap_explanation_silences_its_expensive_one_on_its_own_tracking_server_only(
    unedited: Alertmanager,
) -> None:
    alerts = shipped_alerts()
    every = list(pairs())
    assert len(every) > 15
    for number, (source, target) in enumerate(every):
        post(unedited, of_server(f"pair-{number}", alerts[source], alerts[target]))
        post(unedited, of_server(f"source-{number}", alerts[source]))
        post(unedited, of_server(f"target-{number}", alerts[target]))
    settle(unedited, "explanations")
    for number, (source, target) in enumerate(every):
        found = states(unedited, tracking_server=f"pair-{number}")
        assert found == {source: "active", target: "suppressed"}
        assert states(unedited, tracking_server=f"target-{number}") == {target: "active"}


def test_neither_a_finding_silences_nor_is_anything_critical_silenced(unedited: Alertmanager) -> None:
    alerts = shipped_alerts()
    for number, (source, target) in enumerate(pairs()):
        finding = {**alerts[source], "class": "finding"}
        post(unedited, of_server(f"finding-{number}", finding, alerts[target]))
        post(
            unedited,
            of_server(f"raised-{number}", alerts[source], {**alerts[target], "severity": "critical"}),
        )
    settle(unedited, "findings")
    for number, (source, target) in enumerate(pairs()):
        for server in (f"finding-{number}", f"raised-{number}"):
            assert set(states(unedited, tracking_server=server).values()) == {"active"}, (source, target)


def test_transaction_ids_that_run_out_explain_no_busy_database(unedited: Alertmanager) -> None:
    alerts = shipped_alerts()
    behind, busy = alerts["MlflowAutovacuumBehind"], alerts["MlflowDatabaseIoBound"]
    for resource, state in (("transaction ids", "active"), ("latest_metrics", "suppressed")):
        server = f"behind with {resource}"
        post(unedited, of_server(server, {**behind, "resource": resource}, busy))
        assert states(unedited, tracking_server=server)["MlflowDatabaseIoBound"] == state


def test_with_everything_at_once_all_critical_alerts_are_told(unedited: Alertmanager) -> None:
    alerts = shipped_alerts()
    post(unedited, of_server("all", *alerts.values()))
    settle(unedited, "everything")
    found = states(unedited, tracking_server="all")
    critical = {name for name, labels in alerts.items() if labels["severity"] == "critical"}
    assert critical and {found[name] for name in critical} == {"active"}
    assert {name for name, state in found.items() if state == "suppressed"} == {
        target for _, target in pairs()
    }


def test_each_alert_goes_to_whom_its_severity_says() -> None:
    expected = {"critical": "pager,chat", "warning": "chat", "info": "nobody", "none": "watchdog"}
    wrong = {}
    for name, labels in shipped_alerts().items():
        told = amtool(
            *("config", "routes", "test", f"--config.file={CONFIG}", "job=mlflow", "tracking_server=main"),
            *(f"{key}={value}" for key, value in labels.items()),
        ).strip()
        if told != expected[labels["severity"]]:
            wrong[name] = told
    assert not wrong
