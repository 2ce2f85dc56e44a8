"""From a runbook's Markdown to the exporter's page."""

from __future__ import annotations

import pytest

from exporter.pack import REPOSITORY, TAG
from exporter.page import page
from exporter.runbooks import build, pages

pytestmark = pytest.mark.unit


def test_headings_have_the_anchors_that_github_gives_them() -> None:
    html = build.render(
        "# Too many\n\n## Which is it?\n\n### MlflowServerDown\n\n### `fsync` & co\n\n## Which is it?"
    )
    for anchor in ("which-is-it", "mlflowserverdown", "fsync--co", "which-is-it-1"):
        assert f'id="{anchor}"' in html


@pytest.mark.parametrize(
    ("href", "there"),
    [
        ("connections.md", "connections"),
        ("connections.md#mlflowlockwaits", "connections#mlflowlockwaits"),
        ("#meaning", "#meaning"),
        ("https://www.postgresql.org/docs/", "https://www.postgresql.org/docs/"),
        ("../../exporter/METRICS.md#host", f"{REPOSITORY}/blob/{TAG}/exporter/METRICS.md#host"),
        ("../rules/exporter.yml", f"{REPOSITORY}/blob/{TAG}/alerts/rules/exporter.yml"),
    ],
)
def test_links_that_work_on_github_work_here(href: str, there: str) -> None:
    assert build.link(href) == there
    assert f'<a href="{there}">there</a>' in build.render(f"[there]({href})")


def test_comments_are_left_out_and_other_html_is_refused() -> None:
    assert build.render("80 % <!-- threshold MlflowX 0.8 -->\n\n<!-- a\nblock -->\n") == "<p>80 %</p>\n"
    assert build.render("above 0.8 <!-- threshold MlflowX 0.8 -->.\n") == "<p>above 0.8.</p>\n"
    for hidden in ("run <name> now", "<b>bold</b>", "<script>alert(1)</script>", "<!-- a --><b>b</b>"):
        with pytest.raises(build.RunbookError, match="quote it as code"):
            build.render(hidden)


def test_code_and_tables_are_shown_as_written() -> None:
    html = build.render("```sql\nSELECT 1 < 2;\n```\n\n| a | b |\n| - | - |\n| `x` | y |\n")
    assert '<code class="language-sql">SELECT 1 &lt; 2;\n</code>' in html
    assert "<td><code>x</code></td>" in html


def test_the_index_lists_each_cause_with_its_alerts() -> None:
    html = build.index({"exporter": "# E\n\n## Alerts\n\n### MlflowExporterDown\n\n## Impact\n\n### Other\n"})
    assert '<a href="/runbooks/exporter">' in html
    assert '<a href="/runbooks/exporter#mlflowexporterdown">MlflowExporterDown</a>' in html
    assert "Other" not in html and "connections" not in html


def test_the_index_answers_with_and_without_a_slash_at_the_end() -> None:
    found = pages()
    assert found["/runbooks"]() == found["/runbooks/"]()
    assert "/runbooks/database-indexes" in found


def test_a_page_loads_nothing_and_escapes_its_title() -> None:
    text = page("<a & b>", "<p>body</p>").decode()
    assert "<title>&lt;a &amp; b&gt;</title>" in text
    assert "<p>body</p>" in text
    for outside in ("http:", "https:", "src=", "<script", "<link", "@import", "url("):
        assert outside not in text
