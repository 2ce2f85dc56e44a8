"""The settings file: a corpus of one bad file a rule, good files, and random damage."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from exporter.secret import Secret
from exporter.settings import Settings, SettingsError, load

pytestmark = pytest.mark.unit

CORPUS = Path(__file__).parents[1] / "golden" / "settings"
COLLECTORS = ("statements", "tables")
HIDDEN = ("hunter2", "xyzzy")


def faults(config: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load(config, {}, {}, COLLECTORS)
    return raised.value.faults


def written(tmp_path: Path, content: str | bytes) -> Path:
    config = tmp_path / "exporter.yml"
    config.write_bytes(content.encode() if isinstance(content, str) else content)
    return config


@pytest.mark.parametrize("name", sorted(path.stem for path in CORPUS.glob("*.yaml")))
def test_a_bad_file_gives_exactly_its_faults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CORPUS)
    told = faults(Path(f"{name}.yaml"))
    assert list(told) == (CORPUS / f"{name}.txt").read_text().splitlines()
    assert all(line.startswith(f"{name}.yaml") for line in told)
    assert not any(secret in line for secret in HIDDEN for line in told)


def test_every_expectation_has_its_file() -> None:
    assert {path.stem for path in CORPUS.glob("*.txt")} == {path.stem for path in CORPUS.glob("*.yaml")}


@pytest.mark.parametrize("name", ["comments-only", "sections-only"])
def test_a_file_without_values_is_the_defaults(name: str) -> None:
    assert load(CORPUS / "good" / f"{name}.yaml", {}, {}) == Settings()


def test_every_key_is_read() -> None:
    settings = load(CORPUS / "good" / "full.yaml", {}, {}, COLLECTORS)
    assert settings.web.address == ("::1", 10500)
    assert settings.log.level == "debug"
    assert (settings.server.port, settings.server.user) == (5000, "mlflow")
    assert settings.server.password == Secret("12345")
    assert settings.server.ca_file == str(CORPUS / "good" / "full.yaml")
    assert settings.database.dsn == Secret("postgresql://exporter@db/mlflow?sslmode=require")
    assert settings.database.password_command == ("pass", "show", "mlflow/exporter", "5")
    assert (settings.probes.interval, settings.probes.timeout) == (30.0, 2.5)
    assert (settings.probes.version, settings.probes.api, settings.probes.database) == (True, False, False)
    assert settings.probes.urls == {
        "login": "https://mlflow.example.com/login?next=/",
        "on": "http://[::1]:5000",
    }
    assert (settings.statements.slowest, settings.statements.texts) == (0, False)
    assert settings.collectors == COLLECTORS


def test_aliases_stand_for_what_they_name() -> None:
    settings = load(CORPUS / "good" / "aliases.yaml", {}, {})
    assert settings.server.password_file == settings.database.password_file
    assert settings.server.password_file.endswith("aliases.yaml")


def test_aliases_of_aliases_cost_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    start = time.process_time()
    told = faults(written(tmp_path, "\n".join([*lines, "probes: {urls: *a59}", "server: *a59"])))
    assert time.process_time() - start < 1
    assert len(told) == 62


def test_a_file_that_is_not_there_or_a_directory(tmp_path: Path) -> None:
    assert faults(tmp_path / "absent.yml") == (f"{tmp_path}/absent.yml: No such file or directory",)
    assert faults(tmp_path) == (f"{tmp_path}: Is a directory",)


def test_a_huge_file_is_not_parsed(tmp_path: Path) -> None:
    (told,) = faults(written(tmp_path, b"#" * (2 << 20)))
    assert told.endswith("found more than 131072 bytes, allowed a settings file")


def test_windows_line_ends_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    config = written(tmp_path, b"\xef\xbb\xbfserver:\r\n  port: 5000\r\n  user: mlflow\r\n")
    assert load(config, {}, {}).server.user == "mlflow"


def test_random_damage_is_always_told_and_never_shows_a_secret(tmp_path: Path) -> None:
    good = (
        "database:\n  dsn: postgresql://u:hunter2@h/db\nserver:\n  username: u\n  password: xyzzy\n"
        "  url: http://h:5000\nprobes:\n  urls: {ui: 'http://h/'}\n  interval: 15\n"
    )
    # Not letters or digits: these may make a secret the name of something.
    pieces = [*"\n\t :-[]{}&*!%@`'\"|>?,#\\\0\x07\ufeff~=<é", "\n  ", ": ", " #", "\\x", "---\n", "<<: "]
    chance = random.Random(20)
    refused = 0
    for _ in range(400):
        text = good
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(pieces) + text[at + chance.randint(0, 3) :]
        try:
            shown = repr(load(written(tmp_path, text), {}, {}))
        except SettingsError as error:
            refused += 1
            shown = str(error)
        assert "hunter2" not in shown, text
        assert "xyzzy" not in shown, text
    assert 200 < refused < 400
