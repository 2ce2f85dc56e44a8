"""Prometheus agents beside the servers and one Prometheus with the rules: what it records is what one alone records."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import scale
from tests.lab.servers import Prometheus, wait_for

pytestmark = pytest.mark.integration

OFTEN = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


class Agent(Prometheus):
    """A Prometheus that scrapes and sends on, and knows neither rules nor queries."""

    def command(self) -> list[str]:
        storage = f"--storage.agent.path={self.data}"
        command = [one for one in super().command() if not one.startswith("--storage")]
        return [*command, "--enable-feature=agent", storage]


def pressures(prometheus: Prometheus) -> set[tuple[str, str]]:
    found = prometheus.query(
        'count by (tracking_server, signal) (mlflow:pressure:ratio{tracking_server!=""})'
    )
    return {(one["metric"]["tracking_server"], one["metric"]["signal"]) for one in found}


def test_rules_over_what_agents_send_record_what_they_do_over_what_is_scraped() -> None:
    with scale.exporters() as port:
        whole: dict[str, Any] = {**scale.config(2, port), "global": OFTEN}
        scraping = {"global": {key: OFTEN[key] for key in ("scrape_interval", "scrape_timeout")}}
        rules = {"global": OFTEN, "rule_files": whole["rule_files"]}
        with (
            Prometheus(whole) as alone,
            Prometheus(rules, options=["--web.enable-remote-write-receiver"]) as central,
        ):
            scraping |= {"scrape_configs": whole["scrape_configs"]}
            sent = {
                "remote_write": [
                    {"url": f"{central.url}/api/v1/write", "queue_config": {"batch_send_deadline": "1s"}}
                ]
            }
            with Agent({**scraping, **sent}):
                wait_for(lambda: len(pressures(alone)) > 50, "rules are evaluated", 30)
                wait_for(lambda: pressures(central) == pressures(alone), "both have the same", 30)
                assert {server for server, _ in pressures(central)} == {"team-0000", "team-0001"}
                assert not central.query("mlflow:pressure:ratio > 1")
