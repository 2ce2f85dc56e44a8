"""`python -m tests.faults`: make each cause happen, and write the matrix of what was delivered."""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from exporter.causes import CAUSES
from tests.faults import Fault, matrix, soak
from tests.faults.trial import BRIEF, FULL, Result, attempt
from tests.lab.tools import ROOT

MATRIX = ROOT / "tests/faults/MATRIX.md"
CHILDREN: set[subprocess.Popen[bytes]] = set()  # one a fault that is under way
LONGEST = 1800.0  # seconds; a fault that takes longer is ended and has failed


def known() -> list[Fault]:
    """Return the faults of all causes in the guide's order, the pairs last."""
    found = []
    for name in (*(cause.slug.replace("-", "_") for cause in CAUSES), "pairs"):
        found += importlib.import_module(f"tests.faults.{name}").FAULTS
    return found


def chosen(only: Sequence[str], ci: bool) -> list[Fault]:
    """Return the faults whose cause, or cause/name, is among those named; exits on a name that is none."""
    faults = [fault for fault in known() if fault.ci or not ci]
    for name in only:
        if not any(name in (fault.cause, str(fault)) for fault in faults):
            sys.exit(f"no fault {name}; there are: {', '.join(map(str, faults))}")
    return [fault for fault in faults if not only or {fault.cause, str(fault)} & set(only)]


def alone(fault: Fault, brief: bool, report: Path) -> int:
    """Make one fault in this process and write its result; returns the exit status."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{fault}: {time.monotonic() - began:4.0f} s: {text}", file=sys.stderr, flush=True)

    result = attempt(fault, BRIEF if brief else FULL, say)
    if result.failure:
        say(result.failure)
    report.write_text(json.dumps(result.json()))
    return 0 if result.passed else 1


def apart(fault: Fault, brief: bool) -> Result:
    """Make one fault in a process of its own, so that what it breaks there stays there."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "result")
        command = [sys.executable, "-m", "tests.faults", "--alone", str(report), "--only", str(fault)]
        # In a session of its own: Ctrl-C is handed on once, or the second would cut the first one's tidying short.
        options = ["--brief"] if brief else []
        child = subprocess.Popen([*command, *options], cwd=ROOT, start_new_session=True)
        CHILDREN.add(child)
        try:
            child.wait(LONGEST)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)  # it ends its servers itself
            child.wait()
        CHILDREN.remove(child)
        if not report.exists():
            return Result(fault.cause, fault.name, failure=f"ended with status {child.returncode}")
        return Result.of(json.loads(report.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--ci", action="store_true", help="the subset of each commit, --brief")
    parser.add_argument("--brief", action="store_true", help="wait less for what should not come")
    parser.add_argument("--only", nargs="+", default=[], metavar="CAUSE[/NAME]")
    parser.add_argument("--jobs", type=int, metavar="N", help="stacks side by side (1, or 3 with --ci)")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"instead of {MATRIX.relative_to(ROOT)}")
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument(
        "--healthy", type=float, metavar="MINUTES", help="no fault: a healthy site's busy day"
    )
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    brief = asked.brief or asked.ci
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if asked.healthy:
        return soak.main(asked.healthy)
    faults = chosen(asked.only, asked.ci)
    if asked.list:
        print(*faults, sep="\n")
        return 0
    if asked.alone:
        return alone(faults[0], brief, asked.alone)
    with ThreadPoolExecutor(asked.jobs or (3 if asked.ci else 1)) as pool:
        running = [pool.submit(apart, fault, brief) for fault in faults]
        try:
            for one in as_completed(running):
                print(matrix.line(one.result()), flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in list(CHILDREN):
                child.send_signal(signal.SIGINT)
            raise
    results = [one.result() for one in running]
    text = matrix.matrix(results)
    whole = not asked.only and not brief
    if target := asked.out or (MATRIX if whole else None):
        target.write_text(text)
    print(f"\n{text}")
    return 0 if all(result.passed or not result.made for result in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
