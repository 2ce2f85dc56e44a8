"""The README as data: its sections, its shell commands, the commands of ours that it quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parents[2] / "README.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = {"sh", "bash", "shell", "console"}
HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)")


@dataclass(frozen=True, slots=True)
class Command:
    """One command, whole: with its continuation lines and here-document."""

    line: int
    text: str


def section(title: str) -> str:
    """Return the text below a heading; empty where there is no such heading."""
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", FILE.read_text(), re.MULTILINE | re.DOTALL
    )
    return found[1] if found else ""


def commands(text: str | None = None) -> list[Command]:
    """Return the commands of the fenced shell blocks, in their order."""
    text = FILE.read_text(encoding="utf-8") if text is None else text
    found = []
    for block in FENCE.finditer(text):
        if block[1] in SHELLS:
            first = text.count("\n", 0, block.start(2)) + 1
            found += list(_commands(first, block[2].splitlines(), block[1] == "console"))
    return found


def quoted_commands() -> list[str]:
    """Return what stands between backticks in prose and begins with our program's name."""
    prose = FENCE.sub("", FILE.read_text(encoding="utf-8"))
    return [" ".join(span.split()) for span in re.findall(r"`(mlflow-exporter\s[^`]+)`", prose)]


def _commands(number: int, lines: list[str], console: bool) -> Iterator[Command]:
    rest = iter(enumerate(lines, number))
    for start, line in rest:
        if console and not line.startswith("$ "):
            continue  # what a command prints
        text = line.removeprefix("$ ").rstrip()
        while text.endswith("\\"):
            text += "\n" + next(rest)[1].rstrip()
        if document := HEREDOC.search(text):
            for _, more in rest:
                text += "\n" + more
                if more.strip() == document[1]:
                    break
        if text.strip() and not text.lstrip().startswith("#"):
            yield Command(start, text)
