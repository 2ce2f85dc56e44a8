"""Settings that are meant so are taken so, from each place; files made to be slow are not."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from exporter.secret import Secret
from exporter.settings import SettingsError, leaves, load
from exporter.settings.leaf import Kind, Leaf
from exporter.settings.rules import EXCLUSIVE, LOGINS
from tests.fuzz.cases import holds

pytestmark = pytest.mark.fuzz

HERE = str(Path(__file__))
HOSTS = st.from_regex(r"[a-z0-9._-]{1,20}", fullmatch=True)
PORTS = st.integers(1, 65535)
text = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
urls = st.builds(
    "{}://{}:{}{}".format,
    st.sampled_from(("http", "https")),
    HOSTS,
    PORTS,
    st.sampled_from(("", "/x", "/é/ü")),
)
places = st.builds(
    "{}:{}".format, st.sampled_from(("", "localhost", "[::1]", "0.0.0.0")), st.integers(0, 65535)
)
OF_PATH: Mapping[str, st.SearchStrategy[Any]] = {
    "web.listen": places,
    "server.port": PORTS,
    "server.url": urls,
    "prometheus.url": urls,
    "database.cores": st.floats(0.1, 4096),
    "database.memory": st.integers(1 << 20, 1 << 58),
    "database.storage": st.integers(1 << 20, 1 << 58),
    "probes.interval": st.floats(60, 3600),
    "probes.timeout": st.floats(0.1, 15),
    "probes.vantage": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True),
    "probes.urls": st.dictionaries(st.from_regex(r"x[a-z0-9_-]{0,30}", fullmatch=True), urls, max_size=4),
    "statements.slowest": st.integers(0, 50),
    "collectors": st.lists(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), unique=True, max_size=4).map(
        tuple
    ),
    "database.password_command": st.lists(text, min_size=1, max_size=4).map(tuple),
}


def value(leaf: Leaf) -> st.SearchStrategy[Any]:
    """Return values that the key takes."""
    if leaf.path in OF_PATH:
        return OF_PATH[leaf.path]
    if leaf.is_path:
        return st.just(HERE)
    return {Kind.BOOLEAN: st.booleans(), Kind.CHOICE: st.sampled_from(leaf.choices or ("",))}.get(
        leaf.kind, text
    )


def together(given: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of keys that exclude each other all but the first, and logins that are not whole."""
    kept = dict(given)
    for first, second in EXCLUSIVE:
        if first in kept:
            kept.pop(second, None)
    for basic, _ in LOGINS:
        if basic[0] not in kept or not kept.keys() & set(basic[1:]):
            for path in basic:
                kept.pop(path, None)
    return kept


meant = st.fixed_dictionaries({}, optional={leaf.path: value(leaf) for leaf in leaves()}).map(together)


class Quoting(yaml.SafeDumper):
    """Quote all texts, as some would be numbers to other readers of YAML."""


Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'")
)


@holds(given=meant, flow=st.sampled_from((None, True, False)), unicode=st.booleans())
def test_what_a_file_means_is_what_is_set(
    given: Mapping[str, Any], flow: bool, unicode: bool, tmp_path: Path
) -> None:
    tree: dict[str, Any] = {}
    for path, one in given.items():
        section, _, key = path.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[key] = (
            list(one) if isinstance(one, tuple) else one
        )
    file = tmp_path / "exporter.yml"
    file.write_text(
        yaml.dump(tree, Dumper=Quoting, default_flow_style=flow, allow_unicode=unicode), encoding="utf-8"
    )
    assert_set(given, load(file, {}, {}))


@holds(given=meant)
def test_what_environment_and_flags_mean_is_what_is_set(given: Mapping[str, Any]) -> None:
    texts = {
        leaf: written(leaf, given[leaf.path])
        for leaf in leaves()
        if leaf.environment and given.get(leaf.path)
    }
    named = {leaf.path: given[leaf.path] for leaf in texts}
    assert_set(named, load(None, {leaf.environment or "": text for leaf, text in texts.items()}, {}))
    flags = {leaf.path: text for leaf, text in texts.items() if leaf.flag}
    secret = {leaf.environment or "": text for leaf, text in texts.items() if not leaf.flag}
    assert_set(named, load(None, secret, flags))


def written(leaf: Leaf, value: Any) -> str:
    if leaf.kind is Kind.LIST:
        return shlex.join(value) if leaf.shell else ",".join(value)
    return str(value).lower() if leaf.kind is Kind.BOOLEAN else str(value)


def assert_set(given: Mapping[str, Any], settings: object) -> None:
    for leaf in leaves():
        found = reduce(getattr, leaf.path.split("."), settings)
        found = found.reveal() if isinstance(found, Secret) else found
        assert found == given.get(leaf.path, leaf.default), leaf.path


PIECES = (
    *(
        "[",
        "{",
        "- ",
        "? ",
        "&a ",
        "*a,",
        "*a: ",
        "a: ",
        "a,",
        "'",
        '"',
        "\n",
        " ",
        "#",
        ":",
        "\\x41",
        "|\n ",
        "!x ",
    ),
    *("a: &a [*a,*a]\n", "web: {", "collectors: [", "probes: {urls: {", "<<: "),
)


@holds(
    share=0.02,
    was_wrong={
        "each collector was looked for among all before it": {"start": "collectors: [", "piece": "a,"}
    },
    start=st.sampled_from(("", *PIECES)),
    piece=st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join),
)
def test_a_file_sixteen_times_as_long_takes_no_more_than_that_much_longer(
    start: str, piece: str, tmp_path: Path
) -> None:
    file, seconds = tmp_path / "exporter.yml", []
    for size in (1 << 10, 1 << 14):
        file.write_text(start + piece * (size // len(piece)), encoding="utf-8")
        seconds.append(taken(file))
    assert seconds[1] < 64 * max(seconds[0], 0.001)  # 256 times where it were quadratic


@pytest.mark.parametrize("depth", [10, 100, 1000])
def test_aliases_of_aliases_are_not_unfolded(depth: int, tmp_path: Path) -> None:
    file = tmp_path / "exporter.yml"
    laughs = "".join(f"a{at}: &a{at} [{','.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, depth))
    file.write_text("a0: &a0 [x]\n" + laughs + f"collectors: *a{depth - 1}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file, {}, {})
    assert len(caught.value.faults) == depth + 9


def taken(file: Path) -> float:
    started = time.thread_time()
    with suppress(SettingsError):
        load(file, {}, {}, ("wal",))
    return time.thread_time() - started
