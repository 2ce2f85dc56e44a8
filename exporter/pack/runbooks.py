"""The runbooks of a site whose thresholds are others: with its numbers, and the shipped ones, of which they reason."""

from __future__ import annotations

import re

from exporter.pack import alerts as directory
from exporter.pack.rules import number
from exporter.pack.shipped import alerts
from exporter.pack.site import Site, named

SCALES = {"": 1, " %": 100, " ms": 1000}
# `more than 80 % <!-- threshold MlflowX 0.8 -->`, and words between such as `0.8 sessions`.
MARKED = re.compile(
    r"(?P<said>\d[\d.]*)(?P<unit> %| ms)?(?P<words>(?: \w+)?) <!-- threshold (?P<alert>\w+) (?P<value>[\d.e+-]+) -->"
)


def of(site: Site) -> dict[str, str]:
    """Return each runbook by its file's name; nothing where all thresholds are those that are shipped."""
    if not site.thresholds:
        return {}
    texts = {
        file.name: file.read_text(encoding="utf-8") for file in sorted(directory().glob("runbooks/*.md"))
    }
    return {name: told(text, site) for name, text in texts.items()}


def told(text: str, site: Site) -> str:
    """Return a runbook's text with the site's thresholds."""
    return MARKED.sub(lambda found: _told(found, site), text)


def _told(found: re.Match[str], site: Site) -> str:
    for name, signal in named(alerts()[found["alert"]]):
        if name in site.thresholds and signal.threshold == float(found["value"]):
            value, unit = site.thresholds[name], found["unit"] or ""
            shown = number(value * SCALES[unit])
            marker = f"<!-- threshold {found['alert']} {number(value)} -->"
            return f"{shown}{unit}{found['words']} (as shipped: {found['said']}{unit}) {marker}"
    return found[0]
