"""The exporter without any right but those of its user, and what it says of each that it lacks."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.integration.test_hostile_processes import marked
from tests.lab.postgres import Postgres
from tests.lab.pretender import pretending
from tests.lab.process import UNPRIVILEGED, free_port, wait_for
from tests.lab.tools import ROOT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0,
        reason="only root can be several users and have a mount namespace",
    ),
]

ENTRY = pwd.getpwnam(UNPRIVILEGED)
# Where an unprivileged user finds Python, the exporter and its packages, whatever lies below /root.
PLACES = {"python": sys.base_prefix, "code": str(ROOT), "packages": sysconfig.get_path("platlib")}
PYTHON = f"python/bin/python{sys.version_info[0]}.{sys.version_info[1]}"

CONFINED = """
set -e
mount --make-rprivate /
for one in python code packages; do
    eval "mount --bind \\"\\$$one\\" \\"$PWD/$one\\""
done
$MORE
while read -r _ target _; do mount -o remount,bind,ro "$target" 2>/dev/null || :; done < /proc/self/mounts
! touch "$PWD/written" 2>/dev/null
exec setpriv --reuid=$ID --regid=$GROUP --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \\
    env -i PATH=/usr/bin:/bin LD_LIBRARY_PATH="$PWD/python/lib" \\
    PYTHONPATH="$PWD/code:$PWD/packages" $VARIABLES "$@"
"""


@contextmanager
def confined(
    *command: str, more: str = ":", user: int = ENTRY.pw_uid, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """Run the exporter without capabilities, where all file systems can only be read, and without HOME.

    `more` is done by root before, in the same mount namespace.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in PLACES:
            Path(folder, name).mkdir()
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            **PLACES,
            "ID": str(user),
            "GROUP": str(ENTRY.pw_gid),
        }
        script = CONFINED.replace("$MORE", more).replace(
            "$VARIABLES", " ".join(f"{k}={v}" for k, v in variables.items())
        )
        arguments = [
            "unshare",
            "-m",
            "sh",
            "-c",
            script,
            "sh",
            f"{folder}/{PYTHON}",
            "-B",
            "-m",
            "exporter",
            *command,
        ]
        with subprocess.Popen(
            arguments,
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def told(*command: str, more: str = ":", user: int = ENTRY.pw_uid) -> str:
    """Return what the command prints in such a place."""
    with confined(*command, more=more, user=user) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    return " ".join(out.split())


def test_its_user_and_a_role_that_may_look_are_all_it_needs(postgres: Callable[[int], Postgres]) -> None:
    server = postgres(17)
    server.create_mlflow("unprivileged")
    port = free_port()
    try:
        with (
            pretending(marked(server.dsn("exporter", "unprivileged"))) as one,
            confined(
                "serve", "--web.listen", f"127.0.0.1:{port}", "--server.port", str(one.port)
            ) as exporter,
        ):
            url = f"http://127.0.0.1:{port}"

            def up() -> bool:
                assert exporter.poll() is None, exporter.communicate()
                try:
                    return requests.get(f"{url}/-/ready", timeout=2).ok
                except requests.ConnectionError:
                    return False

            wait_for(up, "an exporter that serves")
            text = requests.get(f"{url}/metrics", timeout=15).text
            page = requests.get(f"{url}/", timeout=15).text
            status = Path(f"/proc/{exporter.pid}/status").read_text()
            exporter.send_signal(signal.SIGTERM)
            out, _ = exporter.communicate(timeout=10)
        assert exporter.returncode == 0
    finally:
        server.drop("unprivileged")
    assert re.findall(r"^Cap(?:Eff|Prm|Bnd|Amb):\s+(\w+)$", status, re.MULTILINE) == ["0" * 16] * 4
    failed = re.findall(r'^mlflow_exporter_collector_success\{collector="(\w+)"\} 0.0$', text, re.MULTILINE)
    assert failed == []
    assert text.count("mlflow_exporter_collector_success{") > 15
    assert "mlflow_server_worker_open_fds" in text
    assert "process_open_fds" in text
    assert "Traceback" not in out
    assert 'class="bad">permission' not in page


def test_what_is_broken_into_beside_it_reads_neither_its_memory_nor_its_environment() -> None:
    port = str(free_port())
    dsn = "postgresql://u:secret-Zq94@127.0.0.1:1/d"
    spy = (
        f"import os; os.setgroups([]); os.setresgid(*[{ENTRY.pw_gid}] * 3); os.setresuid(*[{ENTRY.pw_uid}] * 3)\n"
        "for pid in os.sys.argv[1:]:\n"
        "    for name in ('environ', 'mem', 'maps'):\n"
        "        try: print(pid, name, len(os.read(os.open(f'/proc/{pid}/{name}', os.O_RDONLY), 1)))\n"
        "        except OSError as error: print(pid, name, type(error).__name__)\n"
    )
    # What another program of that user lets be read shows that the spy can.
    other = subprocess.Popen(["sleep", "60"], user=UNPRIVILEGED, group=ENTRY.pw_gid, extra_groups=[])
    try:
        with confined(
            "serve", "--web.listen", f"127.0.0.1:{port}", MLFLOW_EXPORTER_DATABASE_DSN=dsn
        ) as exporter:
            wait_for(lambda: b"serve" in Path(f"/proc/{exporter.pid}/cmdline").read_bytes(), "its start")
            wait_for(lambda: _answers(port), "an exporter that serves")
            command = [sys.executable, "-c", spy, str(other.pid), str(exporter.pid)]
            seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            owner = Path(f"/proc/{exporter.pid}/environ").stat().st_uid
    finally:
        other.kill()
        other.wait()
    assert f"{other.pid} environ 1" in seen
    for name in ("environ", "mem", "maps"):
        assert f"{exporter.pid} {name} PermissionError" in seen
    assert owner == 0  # nor is a core dumped of such a process


def _answers(port: str) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=2).ok
    except requests.ConnectionError:
        return False


def test_check_says_what_another_user_s_right_would_show() -> None:
    with pretending(marked("postgresql://u:p@127.0.0.1:1/d")) as one:
        report = told("check", "--server.port", str(one.port), user=ENTRY.pw_uid - 1)
    assert (
        f"belongs to {UNPRIVILEGED} and this exporter runs as {ENTRY.pw_uid - 1}, which cannot read" in report
    )
    assert "connections per worker, pool capacity and MLflow's version are missing" in report
    assert f"run the exporter as {UNPRIVILEGED} or as root" in report


def test_check_says_what_hidden_processes_and_unreadable_control_groups_cost() -> None:
    with pretending(marked("postgresql://u:p@127.0.0.1:1/d")) as one:
        port = str(one.port)
        user = ENTRY.pw_uid - 1
        hidden = told("check", "--server.port", port, more="mount -t proc -o hidepid=2 proc /proc", user=user)
        covered = told("check", "--server.port", port, more="mount -t tmpfs none /sys/fs/cgroup", user=user)
    assert "/proc is mounted with hidepid=" in hidden
    assert "Run the exporter as its user, or in the group that the mount's option gid= names" in hidden
    assert "hidepid" not in covered
    assert "The files of its control group cannot be read: memory and CPU limits, throttling" in covered
    assert f"uvicorn on http://127.0.0.1:{port}" in covered
