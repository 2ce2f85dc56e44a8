"""One key of the settings: what it takes, how it is called in each place, how a text becomes its value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from exporter.secret import Secret

ENVIRONMENT = "MLFLOW_EXPORTER_"

# Keys that end so name a file.
OF_FILES = ("_file", ".file")

# What YAML 1.1, YAML 1.2 and people agree on: no octal, no 1_000, no yes.
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
BOOLEANS = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}

# The last range is what Python makes of bytes in the environment that are not UTF-8.
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
BOOLEAN_WORDS = {"true": ("yes", "on", "y", "1", "enabled"), "false": ("no", "off", "n", "0", "disabled")}
MEANT = {word: meant for meant, words in BOOLEAN_WORDS.items() for word in words}
DURATION = re.compile(r"((?:0|[1-9][0-9_]*)(?:\.[0-9]+)?) ?(ms|s|m|h|)")
UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


# As Go writes and reads it: 1s, 500ms, 1m30s; 0 needs no unit.
GO_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)"
GO_DURATION = re.compile(rf"({GO_PART})+|0")


class Kind(StrEnum):
    TEXT = "text"
    SECRET = "secret"  # noqa: S105 - the kind of a key, not a password
    CHOICE = "choice"
    INTEGER = "integer"
    SECONDS = "seconds"
    DURATION = "duration"
    BOOLEAN = "boolean"
    LIST = "list"
    MAP = "map"


class RefusedError(Exception):
    """Say what was found instead of what a key takes, quoting nothing that may be secret."""

    def __init__(self, found: str, hint: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Leaf:
    """A key that takes a value.

    `path` is `database.dsn`; `annotation` is what msgspec checks against; `allowed` says it to people.
    What stands under a `private` key is never quoted: a secret, or a URL or command that may hold one.
    `element` and `name` are what a list or map takes as its values and names, with the path of the whole.
    """

    path: str
    kind: Kind
    annotation: Any
    default: object
    description: str
    allowed: str
    private: bool = False
    choices: tuple[str, ...] = ()
    shell: bool = False
    multiline: bool = False
    element: Leaf | None = None
    name: Leaf | None = None

    @property
    def secret(self) -> bool:
        return self.kind is Kind.SECRET

    @property
    def is_path(self) -> bool:
        return self.path.endswith(OF_FILES)

    @property
    def textual(self) -> bool:
        return self.kind in (Kind.TEXT, Kind.SECRET, Kind.CHOICE, Kind.DURATION)

    @property
    def environment(self) -> str | None:
        """Its variable; None for a map, since names and values in one text need a syntax of their own."""
        return None if self.kind is Kind.MAP else ENVIRONMENT + self.path.upper().replace(".", "_")

    @property
    def flag(self) -> str | None:
        """Its flag; None for a map as above, and for a secret, since `ps` shows a command line to all."""
        return None if self.kind in (Kind.MAP, Kind.SECRET) else f"--{self.path}"

    @property
    def default_text(self) -> str:
        """The default as the file would have it; empty where there is none, or what is found is taken."""
        match self.default:
            case bool(value):
                return str(value).lower()
            case float(value):
                return f"{value:g}"
            case None | () | {}:
                return ""
            case value:
                return str(value)

    def quote(self, text: str) -> str:
        if self.private:
            return "a string"
        return repr(text if len(text) <= 60 else text[:57] + "...")

    def parse(self, text: str) -> object:
        """Return the value that a text means; raises RefusedError. Lists and maps are read by their elements."""
        if CONTROL.search(re.sub(r"[\r\n\t]", "", text) if self.multiline else text):
            raise RefusedError("a line break, a control character or a byte that is not UTF-8")
        try:
            return self.check(self._convert(text))
        except (KeyError, msgspec.ValidationError):
            pass  # its message tells neither the value nor all that is allowed
        raise RefusedError(self.quote(text), self._near(text))

    def check(self, value: object) -> object:
        """Return the value if it is within the key's limits; raises msgspec.ValidationError."""
        return msgspec.convert(value, self.annotation)

    def _convert(self, text: str) -> object:
        match self.kind:
            case Kind.SECRET:
                if not text:
                    raise RefusedError("an empty string", "leave the key out if there is none")
                return Secret(text)
            case Kind.INTEGER if INTEGER.fullmatch(text):
                return int(text)
            case Kind.SECONDS if NUMBER.fullmatch(text):
                return float(text)
            case Kind.DURATION if GO_DURATION.fullmatch(text):
                return sum(float(number) * UNITS[unit] for number, unit in re.findall(GO_PART, text))
            case Kind.BOOLEAN:
                return BOOLEANS[text]
        return text

    def _near(self, text: str) -> str:
        match self.kind:
            case Kind.CHOICE:
                spelled = {choice.lower(): choice for choice in self.choices}
                return did_you_mean(spelled[word] for word in near(text.lower(), spelled))
            case Kind.BOOLEAN:
                return did_you_mean([MEANT[text.lower()]] if text.lower() in MEANT else [])
            case Kind.INTEGER | Kind.SECONDS:
                return did_you_mean(self._numbers(text))
        return ""

    def _numbers(self, text: str) -> Iterator[str]:
        if match := DURATION.fullmatch(text.strip()):
            try:
                meant = f"{float(match[1]) * UNITS[match[2]]:g}"
                self.check(self._convert(meant))
            except (ValueError, msgspec.ValidationError):
                return
            yield meant


class Given(NamedTuple):
    """A key that somebody set. `where` names file and line, variable or flag; `value` is None if refused."""

    where: str
    value: object


class Reading(NamedTuple):
    """What one place gives, by key path, and every fault found there."""

    given: Mapping[str, Given]
    faults: Sequence[str]


def fault(where: str, found: str, allowed: str, hint: str = "") -> str:
    return f"{where}: found {found}, allowed {allowed}" + (f", {hint}" if hint else "")


def near(word: str, words: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415 - 0.2 MiB, for faults alone

    return get_close_matches(word, list(words), n=1)


def did_you_mean(words: Iterable[str]) -> str:
    meant = " or ".join(words)
    return f"did you mean {meant}?" if meant else ""
