"""Settings of any content: they are taken as meant, or refused line by line without a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st

from exporter.settings import Settings, SettingsError, leaves, load
from exporter.settings.leaf import ENVIRONMENT, Leaf
from tests.fuzz.cases import holds
from tests.fuzz.inputs import anything, fragments, joined, mutated, secrets

pytestmark = pytest.mark.fuzz

GOLDEN = Path(__file__).parents[1] / "golden/settings"
REAL = tuple(file.read_bytes().decode("latin-1") for file in sorted(GOLDEN.rglob("*.yaml")))
NAMES = tuple({part for leaf in leaves() for part in leaf.path.split(".")})
SIGNS = (
    *(
        ": ",
        "\n",
        "\n  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "'",
        '"',
        "#",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "|",
        ">",
        "? ",
    ),
    *("<<: ", "%", "\t", "~", "\\U", "---\n", "...\n", "\x85", "\ufeff", "\u2028", "\0"),
)
PRIVATE = tuple(leaf.path for leaf in leaves() if leaf.private)


def scalars() -> st.SearchStrategy[object]:
    real = ("true", "yes", "0x1f", "1e3", "15s", "1:30", "", "localhost:1", "http://h/x", "/etc/hosts")
    return st.one_of(st.sampled_from(real), st.none(), st.booleans(), st.integers(), st.floats(), anything)


trees = st.recursive(
    scalars(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
        st.dictionaries(st.text(max_size=6), inner, max_size=2),
    ),
    max_leaves=15,
)
documents = st.one_of(
    st.binary(max_size=200),
    mutated(REAL, (*NAMES, *SIGNS)).map(lambda text: text.encode("latin-1", "replace")),
    joined((*NAMES, *SIGNS), 40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    trees.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exporter.yml"


@holds(
    share=2,
    was_wrong={"a file's name may have a control character": {"content": b'database: {dsn_file: "\\x80"}'}},
    content=documents,
)
def test_any_file_is_taken_or_refused_by_lines_that_say_where(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    for line in refused(file, {}):
        assert re.match(rf"{re.escape(str(file))}(:\d+)?: ", line)
        assert re.search(": (found .*, allowed |not YAML )", line)


names = st.one_of(
    st.sampled_from([leaf.environment or "" for leaf in leaves()]),
    anything.map(lambda text: ENVIRONMENT + text),
    mutated([leaf.environment or "" for leaf in leaves()]),
)
values = st.one_of(anything, scalars().map(str), joined(SIGNS, 8))


@holds(
    was_wrong={"a variable's name may have a line break": {"environ": {ENVIRONMENT + "\n\x1b": ""}}},
    environ=st.dictionaries(names.filter(lambda name: name != ENVIRONMENT + "CONFIG"), values, max_size=8),
)
def test_any_environment_is_taken_or_refused_by_lines_that_say_where(environ: Mapping[str, str]) -> None:
    for line in refused(None, environ):
        assert re.match(rf"environment: {ENVIRONMENT}.*: found ", line)


@holds(
    flags=st.dictionaries(st.sampled_from([leaf.path for leaf in leaves() if leaf.flag]), values, max_size=8)
)
def test_any_flags_are_taken_or_refused_by_lines_that_say_where(flags: Mapping[str, str]) -> None:
    for line in refused(None, {}, flags):
        assert re.match(r"flags: --[a-z_.]+: found ", line)


def refused(
    file: Path | None, environ: Mapping[str, str], flags: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the faults, each one line that a terminal shows as it is; none where the settings are taken."""
    try:
        assert isinstance(load(file, environ, flags or {}, ("wal", "tables")), Settings)
    except SettingsError as error:
        assert error.faults
        assert [line for line in error.faults if not line.isprintable()] == []
        return error.faults
    return ()


# A password as people write it, with what means something to YAML, in or without quotes, at a key misspelt or not.
WRITTEN = (
    *("{}: {}", "{}: '{}'", '{}: "{}"', "{}:{}", "{} {}", "{} = {}", "{}: [{}]", "{}: {{{}}}", "{}: !x {}"),
    *(
        "{}: |\n    {}",
        "{}: &a {}",
        "{}: '{}",
        '{}: "{}',
        "? {}: {}",
        "- {}: {}",
        "{}: x{}\n  {}",
        "{}:\n    - {}",
    ),
)
SECTIONS = (
    "{section}:\n  {entry}\n",
    "{section}: {{{entry}}}\n",
    "{section}: {entry}\n",
    "- {entry}\n",
    "{entry}\n",
)


@holds(
    share=2,
    was_wrong={
        "to YAML what follows a comma is a key": {
            "secret": "QZ57, Q5Z7Q5Z7: Q",
            "path": "database.password",
            "written": "{}: {}",
            "around": "{section}: {{{entry}}}\n",
            "typo": "",
        }
    },
    secret=secrets,
    path=st.sampled_from(PRIVATE),
    written=st.sampled_from(WRITTEN),
    around=st.sampled_from(SECTIONS),
    typo=st.sampled_from(("", "", "x", "s", "_")),
)
def test_no_fault_of_a_file_quotes_a_secret(
    secret: str, path: str, written: str, around: str, typo: str, file: Path
) -> None:
    section, _, key = path.rpartition(".")
    entry = written.format(key + typo, secret, secret)
    file.write_text(around.format(section=section, entry=entry), encoding="utf-8")
    assert fragments(secret, "\n".join(refused(file, {}))) == []


@holds(
    secret=st.one_of(
        secrets, secrets.map(lambda one: one + "\x00"), anything.map(lambda one: "QZ57QZ57\n" + one)
    ),
    leaf=st.sampled_from([leaf for leaf in leaves() if leaf.private]),
)
def test_no_fault_of_environment_or_flags_quotes_a_secret(secret: str, leaf: Leaf) -> None:
    said = refused(None, {leaf.environment: secret} if leaf.environment else {})
    if leaf.flag:
        said += refused(None, {}, {leaf.path: secret})
    assert fragments(secret, "\n".join(said)) == []
