"""What probes count, show and log, without a network: attempts whose outcome the test decides."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from exporter.metric import Buckets, check
from exporter.samplers.attempt import Attempt, Failure, ProbeError
from exporter.samplers.database_probe import DatabaseProbe, DatabaseProbeSpec, failure_of
from exporter.samplers.http_phases import Answer
from exporter.samplers.http_probe import HttpProbe, HttpProbeSpec, judge, server_probes
from exporter.samplers.probes import BOUNDS, Probe
from exporter.secret import Secret
from exporter.settings import Probes, Server
from exporter.sources.conninfo import Target

pytestmark = pytest.mark.unit

LOCAL = "http://127.0.0.1:5000"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scripted(Probe):
    """A probe whose attempts do what the test says."""

    def __init__(self, clock: Callable[[], float], timeout: float = 60.0) -> None:
        super().__init__(
            name="scripted",
            vantage="here",
            interval=15.0,
            timeout=timeout,
            reasons=(Failure.DNS, Failure.TIMEOUT),
            clock=clock,
        )
        self.script: Callable[[Attempt], float] = lambda attempt: 0.0

    def measure(self, attempt: Attempt) -> float:
        return self.script(attempt)

    def attempt(self, script: Callable[[Attempt], float]) -> None:
        self.script = script
        self.tick()


def succeeds(seconds: float) -> Callable[[Attempt], float]:
    return lambda attempt: seconds


def fails(failure: Failure) -> Callable[[Attempt], float]:
    def script(_: Attempt) -> float:
        raise ProbeError(failure, "because the test wants it")

    return script


def series(probe: Probe, name: str) -> dict[tuple[str, ...], object]:
    """Return a metric's values by the labels that follow probe and vantage."""
    samples = check(probe.samples(), frozenset(probe.metrics))
    wanted = f"mlflow_probe_{name}"
    return {sample.labels[2:]: sample.value for sample in samples if sample.metric.name == wanted}


def buckets(probe: Probe) -> Buckets:
    value = series(probe, "duration_seconds")[()]
    assert isinstance(value, Buckets)
    return value


def within(probe: Probe, bound: float) -> int:
    return buckets(probe).counts[BOUNDS.index(bound)]


# What is counted.


def test_a_success_falls_into_every_bucket_from_its_own_bound_on() -> None:
    probe = Scripted(Clock())

    for seconds in (0.004, 0.0041, 0.02, 61.0):
        probe.attempt(succeeds(seconds))

    assert within(probe, 0.004) == 1
    assert within(probe, 0.005) == 2
    assert within(probe, 0.02) == 3
    assert within(probe, 60.0) == 3
    assert buckets(probe).counts[-1] == 4
    assert buckets(probe).sum == pytest.approx(61.0281)


def test_a_failure_is_counted_by_reason_and_not_in_the_latency() -> None:
    probe = Scripted(Clock())

    probe.attempt(succeeds(0.1))
    probe.attempt(fails(Failure.DNS))

    assert series(probe, "attempts_total") == {(): 2}
    assert series(probe, "failures_total") == {("dns",): 1, ("timeout",): 0}
    assert buckets(probe).counts[-1] == 1


def test_a_reason_nobody_expected_is_counted_all_the_same() -> None:
    probe = Scripted(Clock())

    probe.attempt(fails(Failure.TLS))

    assert series(probe, "failures_total")[("tls",)] == 1


def test_the_reasons_a_probe_can_have_start_at_zero_before_the_first_attempt() -> None:
    probe = Scripted(Clock())

    assert series(probe, "failures_total") == {("dns",): 0, ("timeout",): 0}
    assert series(probe, "attempts_total") == {(): 0}
    assert buckets(probe).counts == (0,) * (len(BOUNDS) + 1)
    assert series(probe, "success") == {}


def test_phases_add_up_over_attempts_also_those_that_failed() -> None:
    clock = Clock()
    probe = Scripted(clock)

    def connects_then_hangs(attempt: Attempt) -> float:
        attempt.enter("connect")
        clock.now += 1
        attempt.enter("processing")
        clock.now += 2
        raise ProbeError(Failure.TIMEOUT, "in processing")

    probe.attempt(connects_then_hangs)
    probe.attempt(connects_then_hangs)

    assert series(probe, "phase_seconds_total") == {("connect",): 2, ("processing",): 4}


def test_a_bug_is_not_an_attempt() -> None:
    probe = Scripted(Clock())

    with pytest.raises(ZeroDivisionError):
        probe.attempt(lambda attempt: 1 / 0)

    assert series(probe, "attempts_total") == {(): 0}


# What gauges show, and for how long.


def test_the_gauges_show_the_last_attempt() -> None:
    probe = Scripted(Clock())

    def answers(attempt: Attempt) -> float:
        attempt.status, attempt.certificate_expiry = 200, 2e9
        return 0.1

    probe.attempt(answers)
    assert series(probe, "success") == {(): 1}
    assert series(probe, "http_status_code") == {(): 200}
    assert series(probe, "certificate_expiry_timestamp_seconds") == {(): 2e9}

    probe.attempt(fails(Failure.TIMEOUT))
    assert series(probe, "success") == {(): 0}
    assert series(probe, "http_status_code") == {}
    assert series(probe, "certificate_expiry_timestamp_seconds") == {}


def test_gauges_go_after_three_intervals_and_counters_stay() -> None:
    clock = Clock()
    probe = Scripted(clock)
    probe.attempt(succeeds(0.1))

    clock.now += 45
    assert series(probe, "success") == {(): 1}

    clock.now += 0.1
    assert series(probe, "success") == {}
    assert series(probe, "attempts_total") == {(): 1}


def test_an_attempt_that_hangs_has_failed_at_its_deadline_and_is_counted_once() -> None:
    clock = Clock()
    probe = Scripted(clock, timeout=0.05)
    hanging, go_on = threading.Event(), threading.Event()

    def hangs_in_the_resolver(attempt: Attempt) -> float:
        attempt.enter("resolve")
        hanging.set()
        assert go_on.wait(10)
        raise ProbeError(Failure.REFUSED, "too late to count")

    thread = threading.Thread(target=lambda: probe.attempt(hangs_in_the_resolver))
    thread.start()
    assert hanging.wait(10)
    while not series(
        probe, "success"
    ):  # until the watchdog has seen to it; samples() never waits for the thread
        assert thread.is_alive()

    assert series(probe, "success") == {(): 0}
    assert series(probe, "failures_total") == {("dns",): 1, ("timeout",): 0}
    clock.now += 3600  # an hour later it still hangs, so it still fails
    assert series(probe, "success") == {(): 0}

    go_on.set()
    thread.join(10)
    assert series(probe, "attempts_total") == {(): 1}
    assert series(probe, "failures_total") == {("dns",): 1, ("timeout",): 0}
    assert series(probe, "success") == {}


def test_a_closed_probe_begins_nothing_and_counts_nothing() -> None:
    probe = Scripted(Clock())

    def is_closed_meanwhile(attempt: Attempt) -> float:
        probe.close()
        with pytest.raises(TimeoutError):
            attempt.left()
        return 0.1

    probe.attempt(is_closed_meanwhile)
    probe.attempt(succeeds(0.1))

    assert series(probe, "attempts_total") == {(): 0}


def test_only_a_change_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    probe = Scripted(Clock())

    with caplog.at_level(logging.DEBUG):
        for failure in (Failure.DNS, Failure.DNS, Failure.TIMEOUT):
            probe.attempt(fails(failure))
        assert probe.error is not None
        probe.attempt(succeeds(0.1))
        probe.attempt(succeeds(0.1))

    assert probe.error is None
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        "probe scripted failed",
        "probe scripted failed",
        "probe scripted succeeds again",
    ]


def test_four_probes_stay_within_their_share_of_the_series() -> None:
    probes: list[Probe] = [HttpProbe(spec) for spec in server_probes(LOCAL, Probes(), Server())]
    probes.append(DatabaseProbe(DatabaseProbeSpec(Target(()))))
    lines = 0
    for probe in probes:
        probe.measure = lambda attempt: 0.1  # type: ignore[method-assign] # the first attempt brings the gauges
        probe.tick()
        for sample in probe.samples():
            lines += len(sample.value.counts) + 2 if isinstance(sample.value, Buckets) else 1
    http_only = 3 * (4 + 1)  # phases and status that an answer brings
    database_only = 2

    assert lines + http_only + database_only <= 150


# What an answer means.


def answer(
    status: int, body: bytes = b"{}", headers: Mapping[str, str] | None = None, whole: bool = True
) -> Answer:
    return Answer(status, headers or {}, body, whole)


def failure(status: int, body: bytes = b"{}", *, api: bool = False, **headers: str) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        judge(
            HttpProbeSpec("p", "http://mlflow.example:5000/x?key=hidden", api=api),
            answer(status, body, headers),
        )
    return caught.value


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, Failure.HTTP_3XX),
        (302, Failure.HTTP_3XX),
        (304, Failure.HTTP_3XX),
        (400, Failure.HTTP_400),
        (401, Failure.HTTP_401),
        (403, Failure.HTTP_403),
        (404, Failure.HTTP_4XX),
        (429, Failure.HTTP_4XX),
        (500, Failure.HTTP_5XX),
        (503, Failure.HTTP_5XX),
        (700, Failure.BODY),
    ],
)
def test_every_status_but_2xx_is_a_failure_with_its_reason(status: int, expected: Failure) -> None:
    assert failure(status).failure is expected


@pytest.mark.parametrize("status", [200, 204])
def test_a_2xx_is_a_success_whatever_it_says(status: int) -> None:
    judge(HttpProbeSpec("p", LOCAL), answer(status, b"OK"))


def test_an_unknown_host_is_told_from_a_missing_permission() -> None:
    error = failure(403, b"Invalid Host header - possible DNS rebinding attack detected")

    assert error.failure is Failure.HOST
    assert "--allowed-hosts mlflow.example:5000" in error.remedy
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" in error.remedy
    assert failure(403, b"Permission denied").failure is Failure.HTTP_403


def test_a_redirect_names_where_to_without_the_state_in_its_query() -> None:
    error = failure(302, Location="https://login.example/start?state=hidden")

    assert "https://login.example" in str(error)
    assert "hidden" not in str(error)


def test_the_api_must_answer_in_json() -> None:
    assert failure(200, b"<html>Please log in</html>", api=True).failure is Failure.BODY
    assert failure(200, b"[]", api=True).failure is Failure.BODY
    judge(HttpProbeSpec("api", LOCAL, api=True), answer(200, b'{"experiment": {}}'))


def test_an_answer_of_the_api_cut_at_the_limit_is_known_by_its_beginning() -> None:
    judge(HttpProbeSpec("api", LOCAL, api=True), answer(200, b'{"experiment": {"tags', whole=False))


def test_a_default_experiment_that_the_database_does_not_have_proves_that_it_was_asked() -> None:
    gone = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No Experiment with id=0 exists"}'

    judge(HttpProbeSpec("api", LOCAL, api=True), answer(404, gone))

    assert failure(404, gone).failure is Failure.HTTP_4XX
    assert failure(404, b"<html>RESOURCE_DOES_NOT_EXIST</html>", api=True).failure is Failure.HTTP_4XX


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("FATAL:  sorry, too many clients already", Failure.TOO_MANY),
        ('FATAL:  too many connections for role "mlflow"', Failure.TOO_MANY),
        ("FATAL:  remaining connection slots are reserved for roles with SUPERUSER", Failure.TOO_MANY),
        ("FATAL:  no more connections allowed (max_client_conn)", Failure.TOO_MANY),
        ('FATAL:  password authentication failed for user "mlflow"', Failure.AUTH),
        ("fe_sendauth: no password supplied", Failure.AUTH),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "m", database "d", SSL off', Failure.AUTH),
        ('could not translate host name "db" to address: Name or service not known', Failure.DNS),
        ('connection to server at "10.0.0.1", port 5432 failed: Connection refused', Failure.REFUSED),
        ('connection to server at "10.0.0.1", port 5432 failed: No route to host', Failure.UNREACHABLE),
        ('connection to server at "10.0.0.1", port 5432 failed: Connection timed out', Failure.TIMEOUT),
        ("server closed the connection unexpectedly", Failure.RESET),
        ("server does not support SSL, but SSL was required", Failure.TLS),
        ("SSL error: certificate verify failed", Failure.TLS),
        ("FATAL:  the database system is starting up", Failure.REJECTED),
        ('FATAL:  database "mlflow" does not exist', Failure.REJECTED),
    ],
)
def test_what_libpq_says_has_a_reason(message: str, expected: Failure) -> None:
    assert failure_of(message) is expected


# What is asked.


def test_each_probe_of_the_server_stands_for_another_part_of_it() -> None:
    specs = {spec.name: spec for spec in server_probes(f"{LOCAL}/prefix/", Probes(vantage="job"), Server())}

    assert {name: spec.url for name, spec in specs.items()} == {
        "health": f"{LOCAL}/prefix/health",
        "version": f"{LOCAL}/prefix/version",
        "api": f"{LOCAL}/prefix/api/2.0/mlflow/experiments/get?experiment_id=0",
    }
    assert [name for name, spec in specs.items() if spec.api] == ["api"]
    assert {spec.vantage for spec in specs.values()} == {"job"}


def test_probes_can_be_switched_off_and_urls_be_all_there_is() -> None:
    probes = Probes(health=False, version=False, urls={"ui": "https://mlflow.example/"})

    assert [spec.name for spec in server_probes(LOCAL, probes, Server())] == ["api", "ui"]
    assert [spec.name for spec in server_probes("", probes, Server())] == ["ui"]


def test_equal_settings_give_equal_specs_and_a_changed_secret_does_not() -> None:
    def specs(password: str) -> list[HttpProbeSpec]:
        return server_probes(LOCAL, Probes(), Server(username="u", password=Secret(password)))

    assert specs("one") == specs("one")
    assert len(set(specs("one") + specs("one"))) == 3
    assert specs("one") != specs("two")


def test_credentials_go_to_the_servers_own_address_only() -> None:
    urls = {
        "ours": f"{LOCAL}/other",
        "port": "http://127.0.0.1:5001/",
        "scheme": "https://127.0.0.1:5000/",
        "host": "http://other.example:5000/",
    }
    server = Server(username="u", password=Secret("p"), token_file="/t", ca_file="/ca")

    specs = {spec.name: spec for spec in server_probes(LOCAL, Probes(urls=urls), server)}

    assert {name for name, spec in specs.items() if spec.username or spec.password or spec.token_file} == {
        "health", "version", "api", "ours",
    }  # fmt: skip
    assert {spec.ca_file for spec in specs.values()} == {"/ca"}


def test_a_user_in_a_url_is_taken_out_of_it() -> None:
    probes = Probes(urls={"extra": "https://me:p%40ss@other.example/x"})

    specs = {spec.name: spec for spec in server_probes("http://u:zq81@127.0.0.1:5000", probes, Server())}

    assert specs["health"].url == "http://127.0.0.1:5000/health"
    assert (specs["health"].username, specs["health"].password) == ("u", Secret("zq81"))
    assert specs["extra"].url == "https://other.example/x"
    assert (specs["extra"].username, specs["extra"].password) == ("me", Secret("p@ss"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mlflow.example",
        "ftp://mlflow.example/",
        "http://",
        "http://h:port/zq81",
        "http://[::1",
        "http://h:0",
    ],
)
def test_what_is_no_url_of_http_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL") as caught:
        HttpProbeSpec("p", url)

    assert "zq81" not in str(caught.value)


def test_a_named_url_cannot_take_the_name_of_a_probe_that_there_is() -> None:
    for name in ("api", "database"):
        with pytest.raises(ValueError, match=name):
            server_probes(LOCAL, Probes(urls={name: LOCAL}), Server())


def test_no_secret_is_in_a_spec_as_text() -> None:
    spec = HttpProbeSpec("p", f"{LOCAL}/x?key=zq81", password=Secret("zq82"), token=Secret("zq83"))

    assert "zq8" not in repr(spec)
    assert spec.place == f"{LOCAL}/x"


def test_a_secret_file_is_read_at_each_attempt(tmp_path: Path) -> None:
    file = tmp_path / "token"
    probe = HttpProbe(HttpProbeSpec("p", LOCAL, token=Secret("old"), token_file=str(file)))

    file.write_text("first\n")
    assert probe.headers()["Authorization"] == "Bearer first"
    file.write_text("second")
    assert probe.headers()["Authorization"] == "Bearer second"


def test_a_password_may_have_any_character() -> None:
    probe = HttpProbe(HttpProbeSpec("p", LOCAL, username="u", password=Secret("pä:ss")))

    assert probe.headers()["Authorization"] == "Basic dTpww6Q6c3M="  # base64 of u:pä:ss in UTF-8


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"zq81\nX-Injected: 1", "zq81ü".encode()])
def test_a_token_that_cannot_be_used_is_a_failure_of_our_settings(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    probe = HttpProbe(HttpProbeSpec("p", LOCAL, token_file=str(file)))

    probe.tick()

    assert probe.error is not None
    assert probe.error.failure is Failure.SETTINGS
    assert "zq81" not in str(probe.error)


def test_a_ca_file_that_cannot_be_used_is_a_failure_of_our_settings(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for content in (None, "not a certificate"):
        if content is not None:
            file.write_text(content)
        probe = HttpProbe(HttpProbeSpec("p", "https://127.0.0.1:1", ca_file=str(file)))
        probe.tick()
        assert probe.error is not None
        assert probe.error.failure is Failure.SETTINGS
        assert str(file) in probe.error.detail


def test_a_failure_that_a_probe_cannot_have_has_no_series() -> None:
    def reasons(spec: HttpProbeSpec) -> set[str]:
        return {labels[0] for labels in series(HttpProbe(spec), "failures_total")}

    assert "tls" not in reasons(HttpProbeSpec("p", "http://h/"))
    assert "tls" in reasons(HttpProbeSpec("p", "https://h/"))
    assert "dns" not in reasons(HttpProbeSpec("p", "http://[::1]:80/"))
    assert "dns" in reasons(HttpProbeSpec("p", "http://localhost/"))
    assert "settings" not in reasons(HttpProbeSpec("p", "http://h/"))
    assert "settings" in reasons(HttpProbeSpec("p", "http://h/", password_file="/p"))
    assert "settings" in reasons(HttpProbeSpec("p", "http://h/", token_file="/t"))
    assert "settings" in reasons(HttpProbeSpec("p", "https://h/", ca_file="/c"))
    assert not reasons(HttpProbeSpec("p", "https://h/")) & {"auth", "too_many", "rejected"}


def test_a_database_password_that_cannot_be_read_is_a_failure_of_our_settings() -> None:
    probe = DatabaseProbe(DatabaseProbeSpec(Target((("host", "h"),), password_file="/nonexistent")))

    probe.tick()

    assert probe.error is not None
    assert probe.error.failure is Failure.SETTINGS
