"""Who may read /metrics: a real exporter with a web config file, asked by real clients."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import psutil
import pytest
import requests

from tests.integration.guarded import Certificates, Guarded
from tests.lab import tools
from tests.lab.process import free_port, wait_for
from tests.lab.servers import Exporter, Prometheus

pytestmark = pytest.mark.integration

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10, prefix=b"2a")).decode()
ALICE = ("alice", PASSWORD)
SERVED = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
USERS = f"basic_auth_users:\n  alice: {HASH}\n"
MUTUAL = SERVED + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    made = Certificates(tmp_path)
    made.issue("server", "localhost")
    return made


@pytest.fixture
def guarded(certificates: Certificates) -> Iterator[Callable[..., Guarded]]:
    running: list[Guarded] = []

    def start(config: str, **client: object) -> Guarded:
        running.append(Guarded(certificates.folder, config, {**certificates.trusted, **client}))
        running[-1].start()
        return running[-1]

    yield start
    for one in running:
        one.close()


Start = Callable[..., Guarded]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tools.ROOT,
    )


def check(*options: str | Path) -> subprocess.CompletedProcess[str]:
    # The last one keeps it from asking the servers that other tests have running.
    return run(
        sys.executable, "-m", "exporter", "check", "--server.port", "1", "--collectors", "host", *options
    )


def test_prometheus_scrapes_with_tls_and_a_password_or_a_certificate_and_not_without(
    certificates: Certificates, guarded: Start
) -> None:
    pair = certificates.issue("prometheus", "prometheus.monitoring")
    with_password = guarded(SERVED + USERS)
    port = with_password.port
    with_certificate = guarded(MUTUAL + "  client_allowed_sans: [prometheus.monitoring]\n", cert=pair)
    ca = {"ca_file": str(certificates.folder / "ca.pem")}
    tls: dict[str, Any] = {"scheme": "https", "tls_config": ca}
    certified = {"scheme": "https", "tls_config": {**ca, "cert_file": pair[0], "key_file": pair[1]}}
    login: dict[str, Any] = {"basic_auth": {"username": "alice", "password": PASSWORD}}
    jobs = {
        "password": (port, {**tls, **login}),
        "certificate": (with_certificate.port, certified),
        "nobody": (port, tls),
        "untrusting": (port, {"scheme": "https", **login}),
        "plain": (port, login),
        "uncertified": (with_certificate.port, {**tls, **login}),
    }
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"localhost:{port}"]}], **how}
            for job, (port, how) in jobs.items()
        ],
    }
    with Prometheus(config) as prometheus:
        wait_for(lambda: prometheus.value("sum(up)") == 2, "two scrapes")
        wait_for(lambda: prometheus.value("count(up == 0)") == 4, "four that are refused")
        allowed = {one["metric"]["job"] for one in prometheus.query("mlflow_exporter_build_info")}
        assert allowed == {"password", "certificate"}
        said = {one["labels"]["job"]: one["lastError"] for one in prometheus.targets()}
    assert "401 Unauthorized" in said["nobody"]
    assert "certificate" in said["untrusting"]
    assert "400 Bad Request" in said["plain"]
    assert said["uncertified"]


def test_curl_is_let_in_with_a_certificate_of_an_allowed_name_alone(
    certificates: Certificates, guarded: Start
) -> None:
    pair = certificates.issue("prometheus", "prometheus.monitoring")
    exporter = guarded(MUTUAL + "  client_allowed_sans: [prometheus.monitoring]\n", cert=pair)
    curl = ("curl", "--silent", "--show-error", "--fail", "--cacert", exporter.folder / "ca.pem")
    done = run(*curl, "--cert", pair[0], "--key", pair[1], exporter.url + "/metrics")
    assert "mlflow_exporter_build_info" in done.stdout, done.stderr
    stranger = certificates.issue("other", "somebody.else")
    refused = run(*curl, "--cert", stranger[0], "--key", stranger[1], exporter.url + "/metrics")
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    refused = run(*curl, exporter.url + "/-/healthy")
    assert (refused.returncode != 0, refused.stdout) == (True, "")


def test_curl_is_let_in_with_the_password_and_nobody_else_with_any(guarded: Start) -> None:
    exporter = guarded(SERVED + USERS)
    curl = ("curl", "--silent", "--cacert", exporter.folder / "ca.pem", "--write-out", "%{http_code}")
    url = exporter.url + "/metrics"
    assert run(*curl, "--user", "alice:correct horse", url).stdout.endswith("200")
    for login in ("alice:wrong", "bob:correct horse", "alice:", ":correct horse"):
        assert run(*curl, "--user", login, url).stdout.endswith("401"), login
    assert run(*curl, url).stdout.endswith("401")
    assert "wrong user or password from 127.0.0.1" in exporter.log()
    assert not re.search("alice|bob|horse", exporter.log())


def test_every_page_but_that_of_its_health_wants_the_password(guarded: Start) -> None:
    exporter = guarded(USERS)
    assert exporter.ask("/-/healthy").status_code == exporter.ask("/-/ready").status_code == 200
    for path in (
        "/",
        "/metrics",
        "/runbooks/",
        "/runbooks/connections",
        "/nowhere",
        "/-/healthy/",
        "/-/reload",
    ):
        refused = exporter.ask(path)
        assert refused.status_code == 401, path
        assert refused.headers["WWW-Authenticate"].startswith("Basic ")
        assert len(refused.content) < 100
        assert exporter.ask(path, auth=ALICE).status_code in (200, 404), path


def test_openssl_gets_what_the_file_allows_and_nothing_else(guarded: Start) -> None:
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    exporter = guarded(SERVED + f"  cipher_suites: [{suite}]\n  curve_preferences: [CurveP384]\n")

    def openssl(*options: str) -> str:
        asked = ("s_client", "-connect", f"localhost:{exporter.port}", "-CAfile", exporter.folder / "ca.pem")
        return run("openssl", *asked, *options).stdout

    assert "Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in openssl("-tls1_2")
    assert "ECDH, secp384r1" in openssl("-tls1_2")
    assert "Cipher is TLS_AES_256_GCM_SHA384" in openssl("-tls1_3")
    assert "ALPN protocol: http/1.1" in openssl("-alpn", "h2,http/1.1")
    assert "Verify return code: 0 (ok)" in openssl()
    for refused in (
        ("-tls1_1",),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("-groups", "X25519"),
    ):
        assert "Cipher is (NONE)" in openssl(*refused), refused


def test_a_renewed_certificate_is_shown_to_new_connections_and_a_broken_one_is_said(
    certificates: Certificates, guarded: Start
) -> None:
    exporter = guarded(SERVED)

    def successful() -> bool:
        return "mlflow_exporter_config_last_reload_successful 1.0" in exporter.ask().text

    first = exporter.certificate()
    assert successful()
    certificates.issue("server", "localhost")
    wait_for(lambda: exporter.certificate() != first, "the renewed certificate", 10)
    second = exporter.certificate()
    (certificates.folder / "server.key").write_text("torn")
    exporter.reload()
    wait_for(lambda: not successful(), "a reload that failed", 10)
    assert exporter.certificate() == second
    assert "web0.yml:3: tls_server_config.key_file: found what is no private key" in exporter.log()
    assert "The web config file has faults" in exporter.ask("/").text
    certificates.issue("server", "localhost")
    exporter.reload()
    wait_for(successful, "the next certificate", 10)
    assert exporter.certificate() not in (first, second)


def test_a_signal_takes_a_changed_file_at_once_from_plain_to_tls_and_back(guarded: Start) -> None:
    exporter = guarded("basic_auth_users: {}\n")
    assert exporter.ask().status_code == 200
    for config, status in ((SERVED + USERS, 401), (SERVED, 200), (USERS, 401), ("basic_auth_users: {}", 200)):
        exporter.file.write_text(config)
        exporter.reload()
        wait_for(lambda status=status: _status(exporter) == status, f"{config}: {status}", 5)  # type: ignore[misc]


def _status(exporter: Guarded) -> int:
    try:
        return exporter.ask().status_code
    except requests.ConnectionError:
        return 0


def test_a_flood_of_wrong_passwords_costs_little_and_locks_nobody_out(guarded: Start) -> None:
    exporter = guarded(USERS)
    assert exporter.ask(auth=ALICE).status_code == 200
    process = psutil.Process(exporter.pid)
    before, started = sum(process.cpu_times()[:2]), time.monotonic()
    statuses = [exporter.ask(auth=("alice", f"wrong {number}")).status_code for number in range(100)]
    spent = sum(process.cpu_times()[:2]) - before
    assert statuses[:5] == [401] * 5
    assert statuses.count(429) > 80
    assert exporter.ask(auth=ALICE).status_code == 200
    # A hundred bcrypt checks are 5 s of CPU; what is left is a hundred connections and the exporter's own work.
    assert spent < 2 + 0.3 * (time.monotonic() - started)


def test_check_says_who_may_come_in_and_refuses_a_faulty_file_with_its_line(
    certificates: Certificates,
) -> None:
    file = certificates.folder / "web.yml"
    file.write_text(MUTUAL + USERS)
    done = check("--web.config.file", file)
    assert done.returncode == 0, done.stderr
    assert "listen     127.0.0.1:10500, TLS, RequireAndVerifyClientCert, passwords of 1 user\n" in done.stdout
    file.write_text(SERVED + "  min_version: TLS1.3\n" + "basic_auth_users: {alice: hunter2}\n")
    done = check("--web.config.file", file)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"{file}:4: tls_server_config.min_version: found 'TLS1.3', allowed TLS12 or TLS13, as older ones are broken,"
        " did you mean TLS13?",
        f"{file}:5: basic_auth_users.alice: found a string, allowed a bcrypt hash of cost 4 to 16,"
        " as `htpasswd -nBC 10 USER` makes it",
    ]


def test_it_listens_on_the_loopback_address_unless_told_otherwise(certificates: Certificates) -> None:
    assert "listen     127.0.0.1:10500, no TLS, no passwords\n" in check().stdout
    with Exporter(("--server.port", "1")) as exporter:
        listening = {
            one.laddr
            for one in psutil.Process(exporter.pid).net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        }
        assert listening == {("127.0.0.1", exporter.port)}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", exporter.port), timeout=5)


def test_no_part_of_a_request_makes_it_connect_anywhere() -> None:
    with (
        socket.create_server(("127.0.0.1", free_port())) as bait,
        Exporter(("--server.port", "1")) as exporter,
    ):
        bait.setblocking(False)
        there = f"127.0.0.1:{bait.getsockname()[1]}"
        names = (
            "target",
            "url",
            "dsn",
            "module",
            "auth_module",
            "database",
            "host",
            "next",
            "runbook",
            "name[]",
        )
        query = "&".join(f"{name}=http://{there}/" for name in names)
        headers = {
            "X-Forwarded-Host": there,
            "X-Forwarded-For": there,
            "Referer": f"http://{there}/",
            "Proxy": there,
        }
        for path in ("/metrics", "/", "/probe", "/federate", "/runbooks/", "/-/healthy", "/-/reload"):
            requests.get(f"{exporter.url}{path}?{query}", headers=headers, timeout=10, allow_redirects=False)
        for line in (
            f"GET http://{there}/ HTTP/1.1",
            f"CONNECT {there} HTTP/1.1",
            f"GET //{there}/ HTTP/1.1",
        ):
            with socket.create_connection(("127.0.0.1", exporter.port), timeout=10) as client:
                client.sendall(f"{line}\r\nHost: {there}\r\n\r\n".encode())
                answer = client.makefile("rb").read()
                assert re.match(rb"HTTP/1.0 40[45] ", answer)
                assert b"\r\nLocation:" not in answer
        with pytest.raises(BlockingIOError):
            bait.accept()
