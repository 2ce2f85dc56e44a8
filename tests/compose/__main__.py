"""docker-compose.yml run on a Docker Engine: `python -m tests.compose`, as root.

After `python -m tests.compose.install`. Builds the images, starts all but Grafana, stops MLflow, and waits for the
notification; edits the receivers; restarts the engine as a machine's restart does; makes the demo's fault; ends and
removes all of it. Network and mounts are namespaces of its own. A quarter of an hour, most of it waiting as long as the
alerts do. `--keep` leaves all of it running where something failed, until Enter.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable

import requests

from tests.compose import standins
from tests.compose.engine import Engine, EngineError
from tests.compose.install import ENGINE
from tests.compose.site import EXPORTER, SERVICES, Site, page, routes
from tests.lab.process import wait_for

BUILT = ("setup", "mlflow", "demo")  # by setup the exporter's image
INSIDE = "MLFLOW_EXPORTER_COMPOSE_TEST_INSIDE"


def main(keep: bool) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    say = _clock()
    with Engine() as engine:
        site = Site(engine)
        try:
            say("making images that stand in for the public ones")
            standins.make(engine, site.images())
            for step in (build, up, hardened, notified, edited, restarted, demonstrated):
                for line in step(site):
                    say(f"{step.__name__}: {line}")
        except (EngineError, TimeoutError, AssertionError, requests.RequestException) as error:
            print(f"{site.logs()}\nFAILED: {error}", file=sys.stderr)
            if keep:
                input(f"DOCKER_HOST={engine.environment()['DOCKER_HOST']} is kept until Enter")
            return 1
        site.compose("--profile", "demo", "down", "--volumes")
    return 0


def build(site: Site) -> Iterable[str]:
    for service in BUILT:
        site.compose("--profile", "demo", "build", service)
        yield f"the image of {service}"
    yield site.engine.docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}").replace("\n", "; ")


def up(site: Site) -> Iterable[str]:
    site.compose("up", "--detach", "--no-build", *SERVICES)
    wait_for(site.healthy, "all containers are healthy", 240, every=1)
    yield "all containers are healthy"
    wait_for(site.reads, "everything is scraped and each collector reads", 120, every=1)
    series = site.value('sum(scrape_samples_scraped{job="mlflow"})')
    yield f"everything is scraped and each collector reads: {series:.0f} series"


def hardened(site: Site) -> Iterable[str]:
    """Each container does its work as a user without rights, on a root file system that it cannot write."""
    for service in SERVICES:
        found = site.inspect(service)
        config, host = found["Config"], found["HostConfig"]
        assert isinstance(config, dict) and isinstance(host, dict)
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"], service
        user = site.run(service, "id", "-u").strip()
        assert user != "0", f"{service} runs as root"
        written = site.engine.docker(
            "exec", f"site_{service}_1", "sh", "-c", "echo > /etc/written && echo yes", check=False
        )
        assert not written, f"{service} can write to its root"
    password = site.run("exporter", "cat", "/run/secrets/exporter")
    inspected = site.engine.docker("inspect", *(f"site_{service}_1" for service in SERVICES))
    said = site.compose("logs") + requests.get(f"{EXPORTER}/metrics", timeout=10).text
    assert len(password) >= 32 and password not in inspected + said, "a password is shown"
    for service, secret in (("exporter", "postgres"), ("mlflow", "postgres"), ("mlflow", "grafana")):
        assert not site.engine.docker(
            "exec", f"site_{service}_1", "cat", f"/run/secrets/{secret}", check=False
        )
    yield "no root, no capability, nothing written to a root file system, no password shown or within reach"
    checked = site.run("exporter", "mlflow-exporter", "check")
    assert not re.search(r"GRANT|^problem", checked, re.MULTILINE), checked
    yield "check: " + " | ".join(line.strip() for line in checked.splitlines() if line.strip())[:1500]


def notified(site: Site) -> Iterable[str]:
    found = [alert for alert in site.firing() if "(firing)" in alert]
    assert not found and "<article" not in page(), f"a site in good health raises {found}"
    began = time.monotonic()
    site.compose("stop", "mlflow")
    wait_for(lambda: "MlflowServerDown" in page(), "the receiver shows MlflowServerDown", 420, every=1)
    yield f"MLflow stopped; {time.monotonic() - began:.0f} s later the receiver shows:"
    yield from site.engine.docker("logs", "site_receiver_1").splitlines()
    assert f'href="{EXPORTER.replace("127.0.0.1", "localhost")}/runbooks/availability#' in page()
    assert requests.get(f"{EXPORTER}/runbooks/availability", timeout=10).ok
    site.compose("start", "mlflow")
    wait_for(site.reads, "MLflow is watched again", 180, every=1)
    yield "MLflow started, and is watched again"


def edited(site: Site) -> Iterable[str]:
    """Edit a route and add a receiver's key, then do as the compose file says."""
    key = site.keys / "slack-webhook-url"
    key.write_text("https://chat.example.org/key")
    key.chmod(0o444)
    assert site.run("alertmanager", "cat", "/etc/alertmanager/slack-webhook-url") == key.read_text()
    site.routes.write_text(site.routes.read_text().replace("repeat_interval: 12h", "repeat_interval: 11h"))
    for command in re.findall(r"^#   docker compose (.+)$", site.text, re.MULTILINE):
        verb, *words = shlex.split(command)
        if "amtool --alertmanager.url" in command:  # it has been restarted by then
            wait_for(lambda: "11h" in routes(), "Alertmanager has the edited file", 60, every=1)
        site.compose(verb, *(["-T"] if verb in ("run", "exec") else []), *words)
    wait_for(lambda: "MlflowTest" in page(), "the receiver shows the test", 90, every=1)
    yield "an edited route and a key are taken over, and a test notification arrives"


def restarted(site: Site) -> Iterable[str]:
    """Restart the engine as a restart of the machine does; all comes back by itself."""
    site.engine.stop()
    site.engine.start()
    wait_for(site.healthy, "all containers are healthy again", 240, every=1)
    wait_for(site.reads, "all is watched again", 180, every=1)
    yield "the engine was restarted, and all containers came back by themselves"


def demonstrated(site: Site) -> Iterable[str]:
    """Have the profile `demo` load the site and make what it is asked for."""
    profile = ("--profile", "demo")
    site.compose(
        *profile,
        "up",
        "--detach",
        "--no-build",
        *SERVICES,
        "demo",
        FAULT="connections/table locked",
        FAULT_AFTER="20",
    )
    wait_for(
        lambda: "The cause happens" in site.engine.docker("logs", "site_demo_1"),
        "the demo makes its fault",
        90,
    )
    wait_for(lambda: "MlflowLockWaits" in page(), "the receiver shows MlflowLockWaits", 600, every=1)
    site.compose(*profile, "stop", "demo")
    yield from site.engine.docker("logs", "site_demo_1").splitlines()[-6:]
    assert "fix is applied" in site.engine.docker("logs", "site_demo_1")


def _clock() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: print(f"{time.monotonic() - began:4.0f} s  {text}", flush=True)


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("a Docker Engine needs root: run it with sudo")
    if not (ENGINE / "root").exists():
        sys.exit("first: python -m tests.compose.install")
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp(
            "unshare", ["unshare", "--net", "--mount", sys.executable, "-m", "tests.compose", *sys.argv[1:]]
        )
    try:
        sys.exit(main("--keep" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(130)
