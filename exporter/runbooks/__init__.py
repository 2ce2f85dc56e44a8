"""The runbooks as pages of the exporter, for networks from which the repository cannot be reached.

The HTML beside this file is made from `alerts/runbooks/*.md` by `python -m exporter.runbooks.build` and committed, so
that it is there in a wheel, in an editable install and in a checkout, and needs no Markdown engine to be served.
"""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from exporter.causes import CAUSES
from exporter.page import HTML, page

if TYPE_CHECKING:
    from exporter.web import Page

INDEX = "index"
TITLES = {cause.slug: cause.title for cause in CAUSES} | {INDEX: "Runbooks"}


def pages() -> dict[str, Page]:
    """Return `/runbooks/<slug>` of every cause, and `/runbooks/`, which lists them."""
    found: dict[str, Page] = {f"/runbooks/{slug}": partial(_page, slug) for slug in TITLES}
    return found | dict.fromkeys(("/runbooks", "/runbooks/"), found[f"/runbooks/{INDEX}"])


def _page(slug: str) -> tuple[str, bytes]:
    body = files(__name__).joinpath(f"{slug}.html").read_text(encoding="utf-8")
    return HTML, page(f"{TITLES[slug]} - MLflow exporter", body)
