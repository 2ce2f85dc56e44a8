"""The settings file: walked on YAML's own tree, so that each fault has its line and all come at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from exporter.settings.leaf import (
    NUMBER,
    Given,
    Kind,
    Leaf,
    Reading,
    RefusedError,
    did_you_mean,
    fault,
    near,
)

# More is no settings file, and would be read for minutes.
MOST_BYTES = 1 << 17
NULLS = ("", "~", "null", "Null", "NULL")
SPEAKABLE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,40}")
UNTAGGED = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
KINDS: dict[type[Node], str] = {
    MappingNode: "a mapping",
    SequenceNode: "a list",
    ScalarNode: "a single value",
}
QUOTES = re.compile("['\"]")
MARKS = ": # & * ! % @ ` { or ["
UNQUOTED = "without quotes that YAML may read as a number, boolean or date"


def read(path: Path, leaves: Iterable[Leaf]) -> Reading:
    """Read the file; relative paths of files in it start at its directory."""
    walk = _Walk(path, leaves)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        return Reading({}, [f"{path}: {error.strerror}"])
    if len(content) > MOST_BYTES:
        return Reading({}, [fault(str(path), f"more than {MOST_BYTES} bytes", "a settings file")])
    walk.document(content)
    return Reading(walk.given, walk.faults)


class _Walk:
    def __init__(self, path: Path, leaves: Iterable[Leaf]) -> None:
        self.path = path
        self.leaves = {leaf.path: leaf for leaf in leaves}
        self.sections = {path.rpartition(".")[0] for path in self.leaves} - {""}
        self.given: dict[str, Given] = {}
        self.faults: list[str] = []

    def document(self, content: bytes) -> None:
        try:
            # BaseLoader resolves no scalar, so YAML 1.1's readings of `on`, `10:30` and dates never happen;
            # the pure Python one, because libyaml words its errors differently.
            root = yaml.compose(content.decode("utf-8-sig"), yaml.BaseLoader)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.faults.append(fault(f"{self.path}:{line}", "bytes that are not UTF-8", "UTF-8"))
        except RecursionError:
            self.faults.append(fault(str(self.path), "hundreds of nested levels", "two levels"))
        except yaml.YAMLError as error:
            self.faults.append(_syntax_fault(self.path, content, error))
        except (ValueError, OverflowError):  # PyYAML lets these through for "\\UFFFFFFFF"
            self.faults.append(fault(str(self.path), "a character that does not exist", "text"))
        else:
            if root is not None:
                self.section(root, "", f"{self.path}:{root.start_mark.line + 1}")

    def section(self, node: Node, path: str, where: str) -> None:
        if isinstance(node, ScalarNode) and node.style is None and node.value in NULLS:
            return  # all its keys are commented out
        below = self.names(path)
        allowed = f"a mapping of {', '.join(below)}" if "." in path else "a mapping of keys"
        for name, value, where_key in self.entries(node, path, where, allowed):
            child = f"{path}.{name}" if path else name
            if child in self.sections:
                self.section(value, child, where_key)
            elif child in self.leaves:
                self.leaf(self.leaves[child], value, where_key)
            else:
                hint = did_you_mean(near(name, below) or self.namesakes(name))
                self.faults.append(fault(where_key, "an unknown key", ", ".join(below), hint))

    def entries(self, node: Node, path: str, where: str, allowed: str) -> Iterator[tuple[str, Node, str]]:
        """Yield name, value and place of each key that can be one, at its first occurrence."""
        if not isinstance(node, MappingNode) or node.tag not in UNTAGGED:
            self.faults.append(fault(where, _kind(node), allowed))
            return
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, ScalarNode) and key.tag in UNTAGGED else None
            place = f"{self.path}:{line}: {self.spoken(path, name, value, flow=bool(node.flow_style))}"
            if name is None:
                self.faults.append(fault(place, f"{_kind(key)} as a key", "a name"))
            elif name == "<<" and key.style is None:
                self.faults.append(fault(place, "a merge key", "keys", "write them out"))
            elif key.style is None and _ambiguous(name):
                self.faults.append(fault(place, f"a key {UNQUOTED}", "a name", "quote it"))
            elif name in lines:
                self.faults.append(fault(place, "the key again", f"one, and line {lines[name]} has it"))
            else:
                lines[name] = line
                yield name, value, place

    def leaf(self, leaf: Leaf, node: Node, where: str) -> None:
        before = len(self.faults)
        value: object
        match leaf.kind:
            case Kind.LIST:
                value = self.list_of(leaf, node, where)
            case Kind.MAP:
                value = self.map_of(leaf, node, where)
            case _:
                value = self.scalar(leaf, node, where)
        if isinstance(value, str) and value and leaf.is_path:
            value = str(self.path.parent / value)
        self.given[leaf.path] = Given(where, value if len(self.faults) == before else None)

    def list_of(self, leaf: Leaf, node: Node, where: str) -> object:
        assert leaf.element is not None
        if not isinstance(node, SequenceNode) or node.tag not in UNTAGGED:
            self.faults.append(fault(where, _kind(node), leaf.allowed))
            return None
        return tuple(
            self.scalar(leaf.element, item, f"{self.path}:{item.start_mark.line + 1}: {leaf.path}[{index}]")
            for index, item in enumerate(node.value)
        )

    def map_of(self, leaf: Leaf, node: Node, where: str) -> object:
        assert leaf.element is not None and leaf.name is not None
        values: dict[object, object] = {}
        for name, value, where_key in self.entries(node, leaf.path, where, leaf.allowed):
            try:
                values[leaf.name.parse(name)] = self.scalar(leaf.element, value, where_key)
            except RefusedError:
                self.faults.append(fault(where_key, "this name", leaf.name.allowed))
        try:
            leaf.check({name: value for name, value in values.items() if value is not None})
            return values
        except msgspec.ValidationError:
            self.faults.append(fault(where, f"{len(values)} names", leaf.allowed))
            return None

    def scalar(self, leaf: Leaf, node: Node, where: str) -> object:
        try:
            return leaf.parse(_text(leaf, node))
        except RefusedError as refused:
            self.faults.append(fault(where, refused.found, leaf.allowed, refused.hint))
            return None

    def spoken(self, path: str, name: str | None, value: Node, *, flow: bool) -> str:
        """Return a key's path as faults may show it; a key of the user's own only where it cannot be a secret.

        To YAML the `b` of `{password: a,b}` is a key without a value, and that of `{password: a, b: c}` one with.
        """
        start = f"{path}." if path else ""
        if name and (start + name in self.leaves or start + name in self.sections or name == "<<"):
            return start + name
        empty = isinstance(value, ScalarNode) and value.style is None and value.value == ""
        if not name or empty or not SPEAKABLE.fullmatch(name):
            return start + "?"
        below = self.names(path)
        return start + (name if not (flow and below) or near(name, below) else "?")

    def names(self, path: str) -> list[str]:
        """Return the keys that a section may have."""
        start = f"{path}." if path else ""
        below = (*self.sections, *self.leaves)
        return sorted({key.removeprefix(start).partition(".")[0] for key in below if key.startswith(start)})

    def namesakes(self, name: str) -> list[str]:
        """Return the keys that are called so in other sections."""
        return [path for path in self.leaves if path.rpartition(".")[2] == name]


def _text(leaf: Leaf, node: Node) -> str:
    """Return the text that a leaf is to parse; raises RefusedError where YAML itself says another type."""
    if not isinstance(node, ScalarNode) or node.tag not in UNTAGGED:
        raise RefusedError(_kind(node))
    text = str(node.value)
    if node.style is not None:
        if not leaf.textual:
            raise RefusedError("a value in quotes", "take the quotes away")
    elif text in NULLS:
        raise RefusedError("nothing", "leave the key out for its default")
    elif leaf.kind in (Kind.TEXT, Kind.SECRET) and _ambiguous(text):
        leaf.parse(text)  # where quotes would not help either, that fault is the better one
        raise RefusedError(f"a value {UNQUOTED}", "quote it")
    return text


def _ambiguous(text: str) -> bool:
    """Tell a plain scalar that YAML 1.1 or 1.2 reads as something else than a string."""
    # types-pyyaml leaves the method untyped.
    tag = yaml.resolver.Resolver().resolve(ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag not in UNTAGGED or NUMBER.fullmatch(text) is not None


def _kind(node: Node) -> str:
    if node.tag not in UNTAGGED:
        return "a YAML tag"
    if isinstance(node, ScalarNode) and node.style is None and node.value in NULLS:
        return "nothing"
    return KINDS[type(node)]


def _syntax_fault(path: Path, content: bytes, error: yaml.YAMLError) -> str:
    """Say what YAML says, without its excerpts: they would show the secret that needed quotes."""
    if isinstance(error, yaml.reader.ReaderError):
        line = content.decode("utf-8-sig")[: error.position].count("\n") + 1
        return fault(f"{path}:{line}", "a control character", "text")
    assert isinstance(error, yaml.MarkedYAMLError)
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}" if mark else str(path)
    problem = error.problem or ""
    if "'\\t'" in problem:
        return fault(place, "a tab", "spaces to indent")
    if isinstance(error, yaml.composer.ComposerError) and "single document" in str(error.context):
        return fault(place, "a second document", "one")
    # Tokens such as '<scalar>' may stay; any other quotation is a piece of the file.
    unquoted = re.sub(r"""'(<[a-z ]+>)'|'[^']*'|"[^"]*\"""", r"\1", problem)
    spoken = " ".join(re.split(QUOTES, unquoted)[0].split())
    return f"{place}: not YAML ({spoken}), quote text that holds {MARKS}"
