"""The unit: its commands are ours, it takes no right that the exporter lacks, and hides nothing that it reads."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from exporter.cli import _parser, main
from exporter.plan import NAMES
from exporter.settings import SettingsError, load
from exporter.systemd import PROGRAM, unit

pytestmark = pytest.mark.contract

# The rest of the hardening is what a release must not lose by accident.
HARDENING = {
    "CapabilityBoundingSet=",
    "LimitCORE=0",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "ProtectHome=read-only",
    "ProtectSystem=strict",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "UMask=0077",
}
# Each would hide the server, Postgres or its socket, or take from MLflow, which has the same user.
HIDING = {
    "DynamicUser",
    "PrivateIPC",
    "PrivateNetwork",
    "PrivateTmp",
    "PrivateUsers",
    "ProcSubset",
    "ProtectProc",
    "RemoveIPC",
}


def directives(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith(("#", "["))]


def test_the_unit_is_hardened_and_sees_what_it_watches() -> None:
    found = directives(unit("mlflow"))
    assert set(found) >= HARDENING
    assert not {line.partition("=")[0] for line in found} & HIDING


def test_it_says_that_the_group_counts_too() -> None:
    comments = unit("mlflow").partition("[Service]\n")[0] + unit("mlflow").partition("\nUser=")[0]
    assert comments.count("Group=") >= 2


def test_its_commands_are_ours_and_a_failing_check_keeps_it_from_starting(tmp_path: Path) -> None:
    # A check fails for faulty settings alone, so nothing else keeps it from starting, and no `-` is needed.
    commands = dict(
        line.split("=", 1)
        for line in directives(unit("mlflow", tmp_path / "none"))
        if line.startswith("ExecStart")
    )
    assert commands.keys() == {"ExecStartPre", "ExecStart"}
    for command in commands.values():
        program, *arguments = shlex.split(command)
        assert program == PROGRAM
        _parser().parse_args(arguments or ["serve"])


def test_it_comes_up_before_what_it_watches_and_always_again() -> None:
    found = directives(unit("mlflow"))
    assert {"Restart=always", "StartLimitIntervalSec=0"} <= set(found)
    assert not any(re.match("(Requires|BindsTo|Requisite)=", line) for line in found)
    assert "After=network.target" in found


def test_it_is_started_when_it_says_so() -> None:
    # With another type a reload may come before it takes the signal, and end it.
    assert "Type=notify" in directives(unit("mlflow"))


def test_the_settings_that_its_comments_name_exist() -> None:
    named = set(re.findall(r"MLFLOW_EXPORTER_\w+", unit("mlflow")))
    assert named == {
        "MLFLOW_EXPORTER_CONFIG",
        "MLFLOW_EXPORTER_DATABASE_DSN_FILE",
        "MLFLOW_EXPORTER_SERVER_PORT",
    }
    with pytest.raises(SettingsError) as refused:  # each for its value, none as unknown
        load(None, dict.fromkeys(named, "/"), {}, NAMES)
    assert len(refused.value.faults) == len(named)
    assert "unknown" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "word"), [("in/a place/100%", '"{}/in/a place/100%%"'), ("in/a-place", "{}/in/a-place")]
)
def test_it_runs_the_program_of_this_installation_as_the_user_given(
    tmp_path: Path, path: str, word: str
) -> None:
    program = tmp_path / path
    program.parent.mkdir(parents=True)
    program.touch()
    text = unit("ml-flow", program)
    assert f"ExecStart={word.format(tmp_path)}\n" in text
    assert f"ExecStartPre={word.format(tmp_path)} check\n" in text
    assert "\nUser=ml-flow\n" in text
    assert PROGRAM not in text


def test_a_user_that_would_be_a_line_of_its_own_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["systemd", "--user", "mlflow\nExecStart=/bin/sh"])
    assert "is not a user" in capsys.readouterr().err
