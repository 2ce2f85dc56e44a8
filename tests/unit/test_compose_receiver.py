"""The page of docker-compose.yml's webhook receiver."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.compose.receiver import KEPT, Notifications

pytestmark = pytest.mark.unit


def message(name: str, status: str = "firing", **annotations: str) -> dict[str, Any]:
    labels = {"alertname": name, "severity": "critical", "tracking_server": "main"}
    return {
        "alerts": [
            {"status": status, "labels": labels, "annotations": {"summary": "All is down."} | annotations}
        ]
    }


def test_before_the_first_notification_the_page_says_that_there_is_none() -> None:
    assert b"Nobody has been notified" in Notifications().page()


def test_the_newest_notification_is_on_top_with_what_to_do() -> None:
    notifications = Notifications()
    notifications.take(
        message("MlflowServerDown", fix="Start it again.", runbook_url="http://localhost/runbooks/a#b")
    )
    notifications.take(message("MlflowApiFailing"))
    page = notifications.page().decode()
    assert page.index("MlflowApiFailing") < page.index("CRITICAL MlflowServerDown main: All is down.")
    assert "<dd>Start it again.</dd>" in page
    assert 'href="http://localhost/runbooks/a#b"' in page


def test_what_is_resolved_says_so_and_no_longer_what_to_do() -> None:
    notifications = Notifications()
    (taken,) = notifications.take(message("MlflowServerDown", "resolved", fix="Start it again."))
    assert " RESOLVED MlflowServerDown " in taken.line()
    assert "Start it again." not in notifications.page().decode()


def test_no_text_of_a_notification_becomes_markup() -> None:
    notifications = Notifications()
    notifications.take(
        message("<b>", fix="<script>", runbook_url="javascript:alert(1)", dashboard_url='http://"><i>')
    )
    page = notifications.page().decode()
    assert not [mark for mark in ("<b>", "<script>", "javascript:", "<i>") if mark in page]


def test_it_keeps_no_more_than_the_last_ones() -> None:
    notifications = Notifications()
    for number in range(KEPT + 1):
        notifications.take(message(f"Alert{number}."))
    page = notifications.page().decode()
    assert page.count("<article") == KEPT
    assert "Alert0." not in page


@pytest.mark.parametrize(
    "broken", [{}, {"alerts": [{}]}, {"alerts": [{"status": "", "labels": 1, "annotations": 1}]}]
)
def test_what_is_no_notification_is_refused_as_a_whole(broken: dict[str, Any]) -> None:
    notifications = Notifications()
    with pytest.raises((KeyError, TypeError)):
        notifications.take(broken)
    assert b"<article" not in notifications.page()
