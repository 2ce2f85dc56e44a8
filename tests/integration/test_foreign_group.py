"""What Linux lets an exporter of the server's user see, with the server's group and with another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.pack.kubernetes import kubernetes
from exporter.pack.site import Kubernetes, Site
from tests.lab.process import free_port
from tests.lab.tools import ROOT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users"),
]

USER, GROUP, OTHER = 12345, 12346, 0

# Listens where its command line says, as that user and group; readable as one that was started so (a process that has
# changed its user is nobody's to read).
SERVER = f"""
import ctypes, os, socket, sys
os.setgroups([]); os.setresgid({GROUP}, {GROUP}, {GROUP}); os.setresuid({USER}, {USER}, {USER})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
listening = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])))
print("ready", flush=True)
sys.stdin.read()
"""
# Looks as the ids say.
READER = """
import json, os, sys
from exporter.discovery import Discovery
port, user, group = map(int, sys.argv[1:])
os.setgroups([]); os.setresgid(group, group, group); os.setresuid(user, user, user)
seen = Discovery(port).look()
json.dump({"port": seen.found and seen.found.port, "key": seen.key, "problems": seen.problems}, sys.stdout)
"""


@contextmanager
def served(folder: Path) -> Iterator[int]:
    (folder / "uvicorn.py").write_text(SERVER)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "mlflow.server.fastapi_app:app"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "_MLFLOW_SERVER_BOOT_ID": "b007"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout and server.stdin
        assert server.stdout.readline() == "ready\n"
        yield port
        server.stdin.close()


def seen(port: int, group: int) -> Any:
    """Return what is seen by the ids that the sidecar of such a site gets."""
    files = kubernetes(Site(kubernetes=Kubernetes(user=USER, group=group)))
    (container,) = yaml.safe_load(files["sidecar-patch.yaml"])["spec"]["template"]["spec"]["containers"]
    ids = [container["securityContext"].get(name, 0) for name in ("runAsUser", "runAsGroup")]
    done = subprocess.run(
        [sys.executable, "-c", READER, str(port), *map(str, ids)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_sidecar_of_the_server_s_user_and_group_reads_it_and_of_another_group_says_which(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as port:
        assert seen(port, GROUP) == {"port": port, "key": "b007", "problems": []}
        blind = seen(port, OTHER)
    assert blind["port"] == port
    assert blind["key"] != "b007"  # from its environment
    first, second = blind["problems"]
    assert (
        f"belongs to {USER} with group {GROUP} and this exporter runs as {USER} with group {OTHER}" in first
    )
    assert f"run the exporter with group {GROUP}" in first
    assert "another user" not in second
