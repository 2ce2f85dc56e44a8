"""Render the runbooks: `python -m exporter.runbooks.build`, in a checkout, whenever one has changed.

The one place that needs a Markdown engine, and so no part of the wheel.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from exporter.causes import CAUSES
from exporter.pack import REPOSITORY, TAG
from exporter.runbooks import INDEX

TARGET = Path(__file__).parent
FOLDER = "alerts/runbooks"
SOURCE = TARGET.parents[1] / FOLDER


class RunbookError(ValueError):
    """A runbook holds what cannot be shown alike on GitHub and here."""


def render(markdown: str) -> str:
    """Return a runbook's HTML, with GitHub's anchors; raises RunbookError for HTML other than comments."""
    parser = MarkdownIt("commonmark").enable("table")
    tokens = [token for token in parser.parse(markdown) if _is_shown(token)]
    seen: Counter[str] = Counter()
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", anchor(_text(inline), seen))
    for token in tokens:
        if token.children:
            for before, child in pairwise(token.children):
                if not _is_shown(child):  # nor the space before it, which would stand before a full stop
                    before.content = before.content.rstrip(" ")
            token.children = [child for child in token.children if _is_shown(child)]
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", link(str(child.attrGet("href"))))
    return str(parser.renderer.render(tokens, parser.options, {}))


def link(href: str) -> str:
    """Return where a runbook's link leads from its page: to another page, else into the tagged repository."""
    if href.startswith("#") or urlsplit(href).scheme:
        return href
    path, _, anchor = href.partition("#")
    anchor = f"#{anchor}" if anchor else ""
    if re.fullmatch(r"[\w-]+\.md", path):
        return path.removesuffix(".md") + anchor
    inside = posixpath.normpath(posixpath.join(FOLDER, path))
    return f"{REPOSITORY}/blob/{TAG}/{inside}{anchor}"


def index(runbooks: Mapping[str, str]) -> str:
    """Return the list of all runbooks, with the alerts of each."""
    rows = "".join(
        f'<tr><td><a href="/runbooks/{cause.slug}">{html.escape(cause.title)}</a></td>'
        f"<td>{', '.join(_alerts(cause.slug, runbooks[cause.slug]))}</td></tr>\n"
        for cause in CAUSES
        if cause.slug in runbooks
    )
    return f"<h1>Runbooks</h1>\n<table><tr><th>what it is</th><th>alerts</th></tr>\n{rows}</table>\n"


def rendered() -> dict[str, str]:
    """Return the HTML by file name of every runbook that there is, and of their index."""
    found = {file.stem: file.read_text(encoding="utf-8") for file in sorted(SOURCE.glob("*.md"))}
    made = {}
    for slug, markdown in found.items():
        try:
            made[f"{slug}.html"] = render(markdown)
        except RunbookError as error:
            raise RunbookError(f"{FOLDER}/{slug}.md: {error}") from error
    return made | {f"{INDEX}.html": index(found)}


def _is_shown(token: Token) -> bool:
    if not token.type.startswith("html_"):
        return True
    if not re.fullmatch(r"(<!--.*?-->\s*)+", token.content, re.DOTALL):
        raise RunbookError(
            f"HTML, which GitHub hides or changes: {token.content.strip()!r}; quote it as code"
        )
    return False


def _text(inline: Token) -> str:
    return "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))


def anchor(title: str, seen: Counter[str]) -> str:
    """Return a heading's id as GitHub makes it; a second one of the same words gets `-1`."""
    anchor = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
    seen[anchor] += 1
    return anchor if seen[anchor] == 1 else f"{anchor}-{seen[anchor] - 1}"


def _alerts(slug: str, markdown: str) -> Iterator[str]:
    for name in re.findall(r"^### (Mlflow\w+|Watchdog)\s*$", markdown, re.MULTILINE):
        yield f'<a href="/runbooks/{slug}#{name.lower()}">{name}</a>'


def main() -> None:
    """Write the pages beside this file, and remove those that have no runbook any more."""
    made = rendered()
    for file in TARGET.glob("*.html"):
        if file.name not in made:
            file.unlink()
    for name, text in made.items():
        (TARGET / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
