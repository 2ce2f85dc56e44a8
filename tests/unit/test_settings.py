"""Levels, alternatives, secrets and flags of the settings."""

from __future__ import annotations

import argparse
import copy
import logging
import re
import shlex
import traceback
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from exporter.secret import Secret
from exporter.settings import Leaf, Settings, SettingsError, Web, add_flags, flags_of, leaves, load

pytestmark = pytest.mark.unit

HIDDEN = "hunter2"


def faults(
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    config: Path | None = None,
    collectors: tuple[str, ...] | None = None,
) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load(config, environ or {}, flags or {}, collectors)
    assert HIDDEN not in str(raised.value)
    assert HIDDEN not in "".join(traceback.format_exception(raised.value))
    return raised.value.faults


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_flags(made)
    return made


def test_nothing_given_is_the_defaults() -> None:
    assert load(None, {}, {}) == Settings()


def test_flags_go_before_the_environment_before_the_file_before_the_default(tmp_path: Path) -> None:
    config = tmp_path / "exporter.yml"
    config.write_text("log: {level: debug}\nserver: {port: 1, user: file}\nstatements: {slowest: 1}\n")
    environ = {"MLFLOW_EXPORTER_SERVER_PORT": "2", "MLFLOW_EXPORTER_STATEMENTS_SLOWEST": "2"}
    settings = load(config, environ, {"statements.slowest": "3"})
    assert settings.statements.slowest == 3
    assert settings.server.port == 2
    assert settings.server.user == "file"
    assert settings.log.level == "debug"
    assert settings.probes.interval == 15.0


def test_the_environment_names_the_file_unless_the_caller_does(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"server: {{user: {name}}}")
    environ = {"MLFLOW_EXPORTER_CONFIG": str(tmp_path / "a")}
    assert load(None, environ, {}).server.user == "a"
    assert load(tmp_path / "b", environ, {}).server.user == "b"


def test_every_leaf_can_be_set_in_the_environment_but_a_map() -> None:
    named = [leaf.environment for leaf in leaves() if leaf.environment]
    assert len(set(named)) == len(named) == len(leaves()) - 1
    assert all(re.fullmatch("MLFLOW_EXPORTER_[A-Z_]+", name) for name in named)
    assert [leaf.path for leaf in leaves() if not leaf.environment] == ["probes.urls"]


def test_every_kind_of_value_is_read_from_a_text() -> None:
    settings = load(
        None,
        {
            "MLFLOW_EXPORTER_DATABASE_DSN": "postgresql://u:p@h/db",
            "MLFLOW_EXPORTER_DATABASE_PASSWORD_COMMAND": shlex.join(["pass", "show", "a b"]),
            "MLFLOW_EXPORTER_COLLECTORS": "tables, statements,",
            "MLFLOW_EXPORTER_PROBES_TIMEOUT": "2.5",
            "MLFLOW_EXPORTER_PROBES_HEALTH": "False",
            "MLFLOW_EXPORTER_SERVER_PORT": "5000",
            "MLFLOW_EXPORTER_LOG_LEVEL": "warning",
            "MLFLOW_EXPORTER_SERVER_USER": "yes",
        },
        {},
        ("tables", "statements"),
    )
    assert settings.database.dsn == Secret("postgresql://u:p@h/db")
    assert settings.database.password_command == ("pass", "show", "a b")
    assert settings.collectors == ("tables", "statements")
    assert settings.probes.timeout == 2.5
    assert settings.probes.health is False
    assert settings.server.port == 5000
    assert settings.log.level == "warning"
    assert settings.server.user == "yes"


def test_an_empty_variable_counts_as_not_set() -> None:
    environ = {leaf.environment: "" for leaf in leaves() if leaf.environment}
    assert load(None, {**environ, "MLFLOW_EXPORTER_CONFIG": ""}, {}) == Settings()


def test_an_empty_flag_undoes_a_lower_level() -> None:
    environ = {"MLFLOW_EXPORTER_SERVER_USER": "mlflow", "MLFLOW_EXPORTER_COLLECTORS": "tables"}
    settings = load(None, environ, {"server.user": "", "collectors": ""})
    assert (settings.server.user, settings.collectors) == ("", ())


def test_all_faults_of_all_levels_come_at_once(tmp_path: Path) -> None:
    config = tmp_path / "exporter.yml"
    config.write_text("log: {level: loud}\nserver: {ca_file: absent.pem}\n")
    environ = {
        "MLFLOW_EXPORTER_SERVER_PORTT": "5000",
        "MLFLOW_EXPORTER_PROBES_API": "1",
        "MLFLOW_EXPORTER_PROBES_URLS": "a=http://a",
        "MLFLOW_EXPORTER_DATABASE_PASSWORD_COMMAND": f"pass '{HIDDEN}",
    }
    assert faults(environ, {"statements.slowest": "99", "collectors": "tabels"}, config, ("tables",)) == (
        f"{config}:1: log.level: found 'loud', allowed debug, error, info or warning",
        "environment: MLFLOW_EXPORTER_DATABASE_PASSWORD_COMMAND: found a quotation mark or backslash without"
        " its end, allowed a command as a list of strings, quote as for a shell",
        "environment: MLFLOW_EXPORTER_PROBES_API: found '1', allowed true or false, did you mean true?",
        "environment: MLFLOW_EXPORTER_PROBES_URLS: found a mapping of names, allowed in the settings file only",
        "environment: MLFLOW_EXPORTER_SERVER_PORTT: found an unknown variable, allowed"
        " MLFLOW_EXPORTER_<SECTION>_<KEY>, did you mean MLFLOW_EXPORTER_SERVER_PORT?",
        "flags: --statements.slowest: found '99', allowed a whole number from 0 to 50",
        "flags: --collectors: found 'tabels', allowed tables, did you mean tables?",
        f"{config}:2: server.ca_file: found '{tmp_path}/absent.pem', which does not exist, allowed a file",
    )


def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_not_ours() -> None:
    environ = {
        "MLFLOW_EXPORTER_SERVICE_HOST": "10.0.0.1",
        "MLFLOW_EXPORTER_SERVICE_PORT": "10500",
        "MLFLOW_EXPORTER_SERVICE_PORT_METRICS": "10500",
        "MLFLOW_EXPORTER_PORT": "tcp://10.0.0.1:10500",
        "MLFLOW_EXPORTER_PORT_10500_TCP_ADDR": "10.0.0.1",
    }
    assert load(None, environ, {}) == Settings()
    del environ["MLFLOW_EXPORTER_SERVICE_HOST"]
    assert len(faults(environ)) == 4


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("DATABASE_DSN_FILE", "DATABASE_DSN"),
        ("DATABASE_PASSWORD_FILE", "DATABASE_PASSWORD"),
        ("DATABASE_PASSWORD_COMMAND", "DATABASE_PASSWORD"),
        ("SERVER_TOKEN_FILE", "SERVER_TOKEN"),
    ],
)
def test_a_key_ousts_its_alternative_of_a_lower_level_but_not_of_its_own(
    tmp_path: Path, low: str, high: str
) -> None:
    section, _, key = low.lower().partition("_")
    config = tmp_path / "exporter.yml"
    value = "[absent]" if "command" in key else "absent"
    config.write_text(f"{section}: {{{key}: {value}}}")
    settings = load(config, {f"MLFLOW_EXPORTER_{high}": HIDDEN}, {})
    written = msgspec.structs.asdict(getattr(settings, section))
    assert not written[key]
    assert written[high.lower().partition("_")[2]].reveal() == HIDDEN

    both = faults({f"MLFLOW_EXPORTER_{low}": __file__, f"MLFLOW_EXPORTER_{high}": HIDDEN})
    assert len(both) == 1
    assert "allowed one of the two" in both[0]


def test_a_token_ousts_user_and_password_of_a_lower_level(tmp_path: Path) -> None:
    config = tmp_path / "exporter.yml"
    config.write_text("server: {username: u, password: p}")
    server = load(config, {"MLFLOW_EXPORTER_SERVER_TOKEN": HIDDEN}, {}).server
    assert (server.username, server.password, server.token) == ("", None, Secret(HIDDEN))


def test_user_and_password_may_come_from_two_levels(tmp_path: Path) -> None:
    config = tmp_path / "exporter.yml"
    config.write_text("server: {username: u}")
    server = load(config, {"MLFLOW_EXPORTER_SERVER_PASSWORD": HIDDEN}, {}).server
    assert (server.username, server.password) == ("u", Secret(HIDDEN))


def test_a_timeout_is_held_against_the_interval_of_another_level() -> None:
    assert faults({"MLFLOW_EXPORTER_PROBES_TIMEOUT": "20"}) == (
        "environment: MLFLOW_EXPORTER_PROBES_TIMEOUT: found a timeout of 20 and an interval of 15 seconds,"
        " allowed a timeout of at most the interval",
    )
    assert load(None, {"MLFLOW_EXPORTER_PROBES_TIMEOUT": "20"}, {"probes.interval": "20"})


def test_files_are_found_from_the_settings_file_and_from_here_for_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "token").write_text(HIDDEN)
    config = tmp_path / "etc" / "exporter.yml"
    config.write_text("server: {token_file: token}")
    assert load(config, {}, {}).server.token_file == str(tmp_path / "etc" / "token")
    monkeypatch.chdir(tmp_path)
    assert load(None, {}, {"server.token_file": "etc/token"}).server.token_file == "etc/token"
    assert len(faults(flags={"server.token_file": "token"})) == 1


def test_a_file_that_we_may_not_read_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read anything
    (told,) = faults(flags={"server.ca_file": __file__})
    assert "which we may not read" in told


def test_a_file_that_cannot_even_be_looked_for_is_a_fault(tmp_path: Path) -> None:
    # As below a directory that is closed to us, which a test run as root has none of.
    (told,) = faults(flags={"server.ca_file": str(tmp_path / ("x" * 300))})
    assert "File name too long, allowed a file that our user can read" in told


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    (told,) = faults({"MLFLOW_EXPORTER_SERVER_USER": "a\udcff"})
    assert "not UTF-8" in told


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "9" * 5000, "", " 5", "٣", "0x5", "5."])
def test_numbers_are_plain_and_finite(text: str) -> None:
    assert len(faults(flags={"probes.interval": text})) == 1
    assert len(faults(flags={"server.port": text})) == 1


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:10500", ("127.0.0.1", 10500)),
        ("[::1]:10500", ("::1", 10500)),
        (":10500", ("", 10500)),
        ("exporter.example.com:0", ("exporter.example.com", 0)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_listen_addresses(listen: str, address: tuple[str, int]) -> None:
    assert load(None, {}, {"web.listen": listen}).web == Web(listen=listen)
    assert Web(listen=listen).address == address


@pytest.mark.parametrize("listen", ["::1:10500", "h", "h:", "h:65536", "h:-1", "h:1:2", "http://h:1", "h :1"])
def test_listen_addresses_that_are_none(listen: str) -> None:
    assert len(faults(flags={"web.listen": listen})) == 1


@pytest.mark.parametrize(
    "url", ["http://mlflow", "https://h:443/mlflow/", "http://[::1]:5000", "http://my_svc:5000/a%20b"]
)
def test_base_urls(url: str) -> None:
    assert load(None, {}, {"server.url": url}).server.url == url


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{HIDDEN}@h",
        f"http://{HIDDEN}@h",
        "h:5000",
        "ftp://h",
        "http://",
        "http:///x",
        "http://h:0",
        "http://h:70000",
        f"http://h/?token={HIDDEN}",
        "http://h/ x",
    ],
)
def test_base_urls_that_are_none_are_refused_unquoted(url: str) -> None:
    (told,) = faults(flags={"server.url": url})
    assert "found a string" in told


def test_collectors_are_not_checked_without_a_list() -> None:
    assert load(None, {}, {"collectors": "anything"}).collectors == ("anything",)


def test_a_flag_for_every_leaf_but_secrets_and_maps() -> None:
    without = [leaf.path for leaf in leaves() if leaf.flag is None]
    assert without == [
        "server.password",
        "server.token",
        "database.dsn",
        "database.password",
        "probes.urls",
        "prometheus.password",
        "prometheus.token",
    ]


@pytest.mark.parametrize("leaf", [leaf for leaf in leaves() if leaf.secret], ids=lambda leaf: leaf.path)
@pytest.mark.parametrize("form", ["--{} {}", "--{}={}"])
def test_a_secret_as_a_flag_is_refused_without_repeating_it(
    leaf: Leaf, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args(form.format(leaf.path, HIDDEN).split())
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert f"--{leaf.path}_file, {leaf.environment} or the settings file" in told
    assert HIDDEN not in told


def test_only_flags_that_were_given_are_returned() -> None:
    namespace = parser().parse_args(["--server.port", "5000", "--probes.health=false", "--collectors="])
    assert flags_of(namespace) == {"server.port": "5000", "probes.health": "false", "collectors": ""}
    assert flags_of(parser().parse_args([])) == {}


def test_help_shows_every_flag_with_its_default() -> None:
    shown = " ".join(parser().format_help().split())
    for leaf in leaves():
        assert leaf.flag is None or f"{leaf.flag} " in shown
    assert "(default: 127.0.0.1:10500)" in shown
    assert "(default: 15)" in shown
    assert "(default: true)" in shown


def test_every_leaf_is_described_by_a_sentence() -> None:
    assert all(re.fullmatch(r"[A-Z/].*\.", leaf.description) for leaf in leaves())


def test_a_secret_never_shows(caplog: pytest.LogCaptureFixture) -> None:
    settings = load(
        None,
        {
            "MLFLOW_EXPORTER_DATABASE_DSN": f"postgresql://u:{HIDDEN}@h/db",
            "MLFLOW_EXPORTER_DATABASE_PASSWORD": HIDDEN,
            "MLFLOW_EXPORTER_SERVER_TOKEN": HIDDEN,
        },
        {},
    )
    assert settings.database.password == Secret(HIDDEN)
    logging.getLogger("test").warning("%s %r", settings, settings)
    shown = [
        caplog.text,
        f"{settings} {settings!r}",
        str(msgspec.structs.asdict(settings.database)),
        str(msgspec.structs.astuple(settings.server)),
        repr(copy.deepcopy(settings)),
    ]
    assert HIDDEN not in "".join(shown)
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)
