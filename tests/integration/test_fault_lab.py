"""What the fault lab stands on: its proxy, its control groups, its receiver, and how it judges."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests

from tests.faults import Fault, Lab
from tests.faults.trial import judged
from tests.lab import timelapse
from tests.lab.cgroup import Group, NotMadeError
from tests.lab.process import wait_for
from tests.lab.proxy import Proxy
from tests.lab.receiver import Delivery, Receiver
from tests.lab.tools import program

pytestmark = pytest.mark.integration


def test_the_shipped_rules_in_time_lapse_are_rules(tmp_path: Path) -> None:
    timelapse.rules(tmp_path, 10)
    files = [str(file) for file in tmp_path.glob("*.yml")]
    assert files
    done = subprocess.run(
        [program("promtool"), "check", "rules", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_proxy_holds_back_what_passes_each_way_and_keeps_it_whole() -> None:
    with Receiver() as receiver, Proxy(int(receiver.url.rsplit(":", 1)[1].strip("/"))) as proxy:
        alert = {"status": "firing", "labels": {"alertname": "A" * 300_000}, "annotations": {}}
        requests.post(proxy.url, json={"alerts": [alert]}, timeout=10)
        proxy.delay = 0.1
        began = time.monotonic()
        requests.post(proxy.url, json={"alerts": [alert]}, timeout=10)
        assert time.monotonic() - began >= 0.2
        assert [one.alert for one in receiver.deliveries()] == ["A" * 300_000] * 2


def test_a_proxy_without_a_target_answers_nobody() -> None:
    with Proxy(1) as proxy, pytest.raises(requests.ConnectionError):
        requests.get(proxy.url, timeout=5)


def test_the_receiver_knows_what_fires_now() -> None:
    with Receiver() as receiver:
        for status in ("firing", "resolved"):
            alert = {"status": status, "labels": {"alertname": "A", "cause": "c"}, "annotations": {}}
            other = alert | {"labels": {"alertname": "B"}, "status": "firing"}
            requests.post(receiver.url, json={"alerts": [alert, other]}, timeout=10)
        assert [one.alert for one in receiver.firing().values()] == ["B"]
        assert len(receiver.deliveries()) == 4


def test_a_group_holds_its_processes_to_their_limits_and_goes() -> None:
    with ExitStack() as stack:
        try:
            group = stack.enter_context(Group("test"))
        except NotMadeError as error:
            pytest.skip(str(error))  # not root here: the faults that need one say so
        busy = subprocess.Popen([*group.wrapper(), "sh", "-c", "while :; do :; done"])
        try:
            group.cpu(0.1)
            process = psutil.Process(busy.pid)
            wait_for(lambda: process.cpu_times().user > 0, "it runs")
            before, began = process.cpu_times().user, time.monotonic()
            wait_for(lambda: time.monotonic() > began + 2, "two seconds", 5)
            assert process.cpu_times().user - before < 1
            group.memory(64 << 20)
            assert group.memory_used() < 64 << 20
        finally:
            busy.kill()
            busy.wait()
    assert not [folder for folder in group.folders() if folder.exists()]


def test_what_is_of_another_cause_is_extra_unless_the_cause_leads_to_it() -> None:
    fault = Fault("database-indexes", "f", frozenset({"A", "B"}), _nothing, _nothing, shows=frozenset({"S"}))
    came = [
        _delivery(10, "A", "database-indexes"),
        _delivery(12, "C", "availability"),
        _delivery(13, "D", "read-load"),
    ]
    result = judged(fault, came, {"F", "A"}, 9.0, 20.0)
    assert result.delivered == {"A": 10, "C": 30, "D": 40}
    assert result.missed == ("B", "S")
    assert result.extras == ("D",)
    assert result.shown == ("F",)
    assert result.resolved == 200
    assert not result.passed


def test_a_fault_that_delivers_itself_alone_and_resolves_has_passed() -> None:
    fault = Fault("database-indexes", "f", frozenset({"A"}), _nothing, _nothing)
    assert judged(fault, [_delivery(1, "A", "database-indexes")], set(), 0.0, 1.0).passed
    assert not judged(fault, [_delivery(1, "A", "database-indexes")], set(), 0.0, None).passed


def _delivery(moment: float, alert: str, cause: str) -> Delivery:
    return Delivery(moment, True, {"alertname": alert, "cause": cause}, {})


def _nothing(_: Lab) -> None:
    raise NotImplementedError
