"""What the README quotes is there: commands of ours parse, and each message of Troubleshooting is one that we say."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache

import pytest

from exporter.cli import COMMANDS, _parser
from tests.contract import readme
from tests.lab.tools import ROOT

pytestmark = pytest.mark.contract

ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
PROBLEMS = 10
LONGEST = 45


def test_every_quoted_command_is_one_that_our_program_takes() -> None:
    found = readme.quoted_commands()
    assert found
    for command in found:
        arguments = shlex.split(command.partition(">")[0])[1:]
        if not arguments or arguments[0] not in COMMANDS:
            arguments.insert(0, "serve")
        try:
            _parser().parse_args(arguments)
        except SystemExit:
            pytest.fail(f"README.md quotes `{command}`, which mlflow-exporter does not take")


def test_troubleshooting_quotes_messages_that_the_code_has() -> None:
    messages = ROW.findall(readme.section("Troubleshooting"))
    assert len(messages) >= PROBLEMS
    for message in messages:
        assert said(message), (
            f"no text of exporter/ has {message!r}, which README.md's Troubleshooting quotes: quote what the code "
            "says now, with … for what varies"
        )


def test_troubleshooting_stays_short() -> None:
    assert readme.section("Troubleshooting").count("\n") <= LONGEST


@pytest.mark.parametrize("message", ["no such words anywhere in this program", "cannot listen on … at all"])
def test_a_message_that_nobody_says_is_noticed(message: str) -> None:
    assert not said(message)


def said(message: str) -> bool:
    parts = [part.strip() for part in message.split("…")]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return any(pattern.search(text) for text in texts())


@cache
def texts() -> frozenset[str]:
    """Return every string of the code, joined as Python joins it, with a space for what is filled in."""
    found = set()
    for file in (ROOT / "exporter").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.add("".join(_literal(part) for part in node.values))
    return frozenset(found)


def _literal(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else " "


def test_commands_of_a_block_are_read_whole() -> None:
    text = "\n".join(
        (
            "```sh",
            "# a comment",
            "one \\",
            "  more   # why",
            "cat > file <<'END'",
            "make nonsense",
            "END",
            "```",
            "```yaml",
            "no: command",
            "```",
            "```console",
            "$ two",
            "its output",
            "```",
        )
    )
    assert [(one.line, one.text) for one in readme.commands(text)] == [
        (3, "one \\\n  more   # why"),
        (5, "cat > file <<'END'\nmake nonsense\nEND"),
        (13, "two"),
    ]
