"""Runbooks taken apart: sections, threshold markers, blocks of code, links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporter.runbooks.build import anchor
from tests.contract.rules import RUNBOOKS

KINDS = frozenset(
    ("promql", "promql event", "sql", "sql admin", "sql template", "sh", "python", "text", "yaml", "ini")
)
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
THRESHOLD = re.compile(r"<!-- threshold (\w+) ([\d.e+-]+) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code; `info` is all that follows the fence, `kind` its first word."""

    info: str
    text: str
    section: str

    @property
    def kind(self) -> str:
        return self.info.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Runbook:
    file: Path
    text: str
    title: str
    opening: str
    sections: dict[str, str]
    blocks: tuple[Block, ...]

    @property
    def slug(self) -> str:
        return self.file.stem

    @staticmethod
    def of(file: Path, text: str) -> Runbook:
        # A line of a block may begin with ##, which is no heading.
        masked = FENCE.sub(lambda found: re.sub(r"(?m)^#", "\0", found[0]), text)
        head, *parts = re.split(r"^## ", masked, flags=re.MULTILINE)
        first, _, opening = head.partition("\n")
        sections = {}
        for part in parts:
            title, _, body = part.partition("\n")
            sections[title.strip()] = body.replace("\0", "#")
        blocks = tuple(
            Block(found["info"].strip(), found["text"], title)
            for title, body in sections.items()
            for found in FENCE.finditer(body)
        )
        return Runbook(
            file,
            text,
            first.removeprefix("# ") if first.startswith("# ") else "",
            opening.strip(),
            sections,
            blocks,
        )

    def thresholds(self) -> Iterator[tuple[str, str]]:
        """Give alert and number of each marker."""
        return ((found[1], found[2]) for found in THRESHOLD.finditer(self.text))

    def __str__(self) -> str:
        return self.slug


def runbooks() -> tuple[Runbook, ...]:
    return tuple(Runbook.of(file, file.read_text(encoding="utf-8")) for file in sorted(RUNBOOKS.glob("*.md")))


def links(text: str) -> list[str]:
    """Return the targets of a text's links, those in code excepted."""
    prose = re.sub(r"`[^`\n]+`", "", FENCE.sub("", text))
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    seen: Counter[str] = Counter()
    return {anchor(heading, seen) for heading in headings}


def blocks(*infos: str) -> list[Any]:
    """Return the blocks of these kinds of all runbooks, as a test's parameters."""
    found = [(page.slug, block) for page in runbooks() for block in page.blocks if block.info in infos]
    return [
        pytest.param(block, id=f"{slug}-{block.section.lower().replace(' ', '-')}-{number}")
        for number, (slug, block) in enumerate(found)
    ]
