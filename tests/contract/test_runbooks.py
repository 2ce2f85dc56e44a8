"""Runbooks: every part is there, every alert has its place, the numbers are the rules' and the links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.lint_rules import promql_impossible, promql_series, promql_syntax
from tests.contract.rules import ALERTS, RUNBOOKS, SLUGS, Rule, alerts, numbers, rule
from tests.contract.runbooks import KINDS, Runbook, anchors, links, runbooks
from tests.contract.test_rules import compared, terms

pytestmark = [pytest.mark.contract, pytest.mark.pack]

SECTIONS = (
    "Meaning",
    "Alerts",
    "Impact",
    "Confirm in one minute",
    "Which is it",
    "Fix now",
    "Fix for good",
    "Why it works",
    "Verify",
    "Silence and escalate",
    "Related",
)
# What one acts by at night; on GitHub nothing else leads past what explains.
LED_TO = ("Confirm in one minute", "Which is it", "Fix now", "Fix for good", "Verify")
PAGES = runbooks()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_runbook_has_all_sections_in_order_each_with_text(page: Runbook) -> None:
    assert page.title
    first, _, opening = page.opening.partition("\n\n")
    assert first == " · ".join(f"[{title}](#{title.lower().replace(' ', '-')})" for title in LED_TO)
    assert opening, "no first paragraph"
    assert tuple(page.sections) == SECTIONS
    assert [title for title, text in page.sections.items() if not text.strip()] == []


@pytest.mark.parametrize("slug", SLUGS)
def test_each_alert_of_the_cause_has_a_heading_and_each_heading_an_alert(slug: str) -> None:
    (page,) = (one for one in PAGES if one.slug == slug)
    headings = re.findall(r"^### (.+)$", page.sections["Alerts"], re.MULTILINE)
    assert sorted(headings) == sorted(one.name for one in alerts() if one.slug == slug)


@pytest.mark.parametrize("one", alerts(), ids=str)
def test_the_threshold_in_the_runbook_is_the_rules(one: Rule) -> None:
    (page,) = (page for page in PAGES if page.slug == one.slug)
    said = [float(number) for alert, number in page.thresholds() if alert == one.name]
    if one.evidence:
        assert sorted(set(said)) == sorted({compared(term)[1] for term in terms(one.expr)})
    else:
        assert set(said) <= set(numbers(one.expr))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_threshold_is_of_an_alert_that_is_not_there(page: Runbook) -> None:
    assert {alert for alert, _ in page.thresholds()} <= {
        one.name for one in alerts() if one.slug == page.slug
    }


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Runbook) -> None:
    broken = []
    for target in links(page.text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (RUNBOOKS / path).resolve() if path else page.file
        if not file.exists() or (
            anchor and file.suffix == ".md" and anchor not in anchors(file.read_text("utf-8"))
        ):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_blocks_are_of_known_kinds_and_confirming_takes_a_query_and_a_command(page: Runbook) -> None:
    assert {block.info for block in page.blocks} <= KINDS
    assert not [
        block.text for block in page.blocks if block.info == "sql template" and "..." not in block.text
    ], "nothing to fill in: `sql admin`, which a test runs"
    confirm = {block.kind for block in page.blocks if block.section == "Confirm in one minute"}
    assert confirm >= {"promql", "sh"}
    assert "sql" in confirm or re.search(r"\bSQL\b", page.sections["Confirm in one minute"])


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_queries_parse_and_ask_for_what_is_declared(page: Runbook) -> None:
    found = {}
    for block in page.blocks:
        if block.kind == "promql":
            query = rule(page.slug, {"record": "query", "expr": block.text})
            faults = list(promql_syntax(query)) or [*promql_series(query), *promql_impossible(query)]
            if faults:
                found[block.text] = faults
    assert found == {}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_nothing_is_left_to_do_and_nobody_is_sent_away(page: Runbook) -> None:
    assert re.findall(r"TODO|FIXME|XXX|contact support", page.text, re.IGNORECASE) == []


def test_other_files_of_the_pack_have_no_dead_links() -> None:
    for file in sorted(ALERTS.glob("*.md")):
        for target in links(file.read_text("utf-8")):
            assert re.match(r"https?://|#", target) or (file.parent / target.partition("#")[0]).exists(), (
                target
            )


EXAMPLE = """# Too many files

First do this.

## Meaning
See [it](open-files.md#mlflowx) and `[no](link)`.

## Alerts
### MlflowX
At 80 % <!-- threshold MlflowX 0.8 --> it fires.

```promql event
up == 0
```

```sql admin
SELECT 1
```
"""


def test_a_runbook_is_taken_apart() -> None:
    page = Runbook.of(Path("open-files.md"), EXAMPLE)
    assert (page.slug, page.title, page.opening) == ("open-files", "Too many files", "First do this.")
    assert list(page.sections) == ["Meaning", "Alerts"]
    assert list(page.thresholds()) == [("MlflowX", "0.8")]
    assert [(block.kind, block.info, block.section, block.text) for block in page.blocks] == [
        ("promql", "promql event", "Alerts", "up == 0\n"),
        ("sql", "sql admin", "Alerts", "SELECT 1\n"),
    ]
    assert links(EXAMPLE) == ["open-files.md#mlflowx"]
    assert anchors(EXAMPLE) == {"too-many-files", "meaning", "alerts", "mlflowx"}
