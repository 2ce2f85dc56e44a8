"""What `diagnose` knows of the alerts is what they say."""

from __future__ import annotations

import re

import pytest

from exporter.causes import CAUSES
from exporter.pack.dashboards.headlines import FELT, WORDS, headline, limit
from exporter.pack.dashboards.limits import signals
from exporter.plan import NAMES
from exporter.reports import concluded
from exporter.reports.evidence import ROWS
from exporter.reports.explaining import inhibitions
from exporter.reports.ruled import EITHER, resolved, shipped, silenced

pytestmark = pytest.mark.contract

SLUGS = {cause.slug for cause in CAUSES}


def test_what_a_signal_needs_is_said_of_signals_that_there_are() -> None:
    assert concluded.NEEDS.keys() <= {one.place for one in signals()}
    assert {one.name for one in signals()} >= set(FELT)
    assert SLUGS >= concluded.ONLY_POSTGRES | concluded.ONLY_SQLITE


def test_figures_stand_beside_thresholds_that_there_are() -> None:
    there = {(one.cause, one.place) for one in signals()}
    assert {(row.cause, row.place) for row in ROWS if row.place} <= there
    # A cause of which two scrapes show nothing would look well.
    assert SLUGS - {row.cause for row in ROWS} == {"exporter"}


def test_each_diagnosis_and_fix_is_whole_whatever_the_alert_is_about() -> None:
    for rule in shipped():
        for text in (rule.annotations[name] for name in ("summary", "diagnosis", "fix")):
            choices = [{}, *({name: value} for name, value, _, _ in EITHER.findall(text))]
            for labels in choices:
                assert "{{" not in resolved(text, labels), rule.name


def test_each_fix_says_what_to_do_now_before_what_is_for_good() -> None:
    for rule in shipped():
        assert re.match(r"Now: .*For good[:,] |Now and for good, ", resolved(rule.annotations["fix"], {})), (
            rule.name
        )


def test_what_each_part_blinds_is_found_in_the_alerts_text() -> None:
    (text,) = (rule.annotations["description"] for rule in shipped() if rule.name == "MlflowMonitoringBlind")
    said = {name: silenced(text, name) for name in NAMES}
    assert {name for name, names in said.items() if names} >= {
        "load",
        "schema",
        "server",
        "statements",
        "workers",
    }
    assert all(re.fullmatch(r"(Mlflow\w+ ?)*", names) for names in said.values())
    assert silenced(text, "source:host") == "all alerts about the server's processes"
    assert silenced(text, "source:sqlite") == "all alerts about the database"


def test_every_alert_named_by_an_inhibition_is_one_of_ours() -> None:
    names = {rule.name for rule in shipped()}
    for one in inhibitions():
        for matchers in one:
            (value,) = (value for name, _, value in matchers if name == "alertname")
            assert set(value.split("|")) <= names


def test_words_that_count_read_right_of_one() -> None:
    counting = [
        said for said in (*WORDS.values(), *(row.words for row in ROWS)) if said.scale == said.step == 1
    ]
    assert "processes missing: 1" in {headline(said, 1) for said in counting}
    assert [one for said in counting if re.search(r"\b1 \w+s\b(?!/)", one := headline(said, 1))] == []


def test_all_evidence_fits_its_column_but_what_is_cut_there() -> None:
    room = 80 - 7 - max(map(len, SLUGS)) - 6 - 5 - 4
    long = {place for place, said in WORDS.items() if len(headline(said, 100 / (said.scale or 1))) > room}
    assert long == {'signal="reads", measure="host"'}
    assert all(len(limit(WORDS[one.place], one.threshold)) <= 5 for one in signals())
