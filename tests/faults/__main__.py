"""`python -m tests.faults`: make each cause happen, and write the matrix of what was delivered."""

from __future__ import annotations

import argparse
import datetime
import difflib
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from exporter.causes import CAUSES
from tests.faults import Fault, matrix, soak
from tests.faults.trial import BRIEF, FULL, Result, attempt
from tests.lab.tools import ROOT

MATRIX = ROOT / "tests/faults/MATRIX.md"
LONGEST = 1800.0  # seconds; a fault that takes longer is ended and has failed
TIDYING = (
    300.0  # seconds: five servers, each with 20 s to end, and loads whose last call is answered after 120 s
)
APART = 20.0  # seconds between starts: a stack takes as long to start, and three at once twice that


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
            near = difflib.get_close_matches(
                name, {str(one) for one in faults} | {one.cause for one in faults}, 1
            )
            hint = f"; did you mean {near[0]!r}?" if near else ""
            sys.exit("\n  ".join([f"there is no fault {name!r}{hint} There are:", *map(str, faults)]))
    return [fault for fault in faults if not only or {fault.cause, str(fault)} & set(only)]


def alone(fault: Fault, brief: bool, report: Path, series: Path | None) -> int:
    """Make one fault in this process and write its result; returns the exit status."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{fault}: {time.monotonic() - began:4.0f} s: {text}", file=sys.stderr, flush=True)

    result = attempt(fault, BRIEF if brief else FULL, say, series)
    if result.failure:
        say(result.failure)
    report.write_text(json.dumps(result.json()))
    return 0 if result.passed else 1


class Runs:
    """Faults, each made in a process of its own, so that what it breaks there stays there."""

    def __init__(self, brief: bool, jobs: int, keep: Path | None) -> None:
        self.brief, self.jobs, self.keep = brief, jobs, keep
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._children: set[subprocess.Popen[bytes]] = set()

    def all(self, faults: Sequence[Fault]) -> list[Result]:
        """Make these, `jobs` side by side; prints each result as it comes, and returns them in order.

        Those with much data begin, since they take longest, and none is to run alone at the end.
        """
        with ThreadPoolExecutor(self.jobs) as pool:
            first = sorted(faults, key=lambda fault: fault.needs.data == "small")
            running = {str(fault): pool.submit(self._one, fault) for fault in first}
            try:
                for one in as_completed(running.values()):
                    print(matrix.line(one.result()), flush=True)
            except KeyboardInterrupt:
                self._stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                children = list(self._children)
                for child in children:
                    child.send_signal(signal.SIGINT)
                for child in children:
                    ended(child)
                raise
        return [running[str(fault)].result() for fault in faults]

    def _one(self, fault: Fault) -> Result:
        series = kept(self.keep, fault).with_suffix("") if self.keep else None
        if series:
            shutil.rmtree(series, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch, "result")
            status = self._made(fault, report, series)
            if report.exists():
                result = Result.of(json.loads(report.read_text()))
            else:
                result = Result(fault.cause, fault.name, failure=f"ended with status {status}")
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        result = replace(result, pace="brief" if self.brief else "full", jobs=self.jobs, date=today)
        if self.keep and not self._stopping.is_set():
            kept(self.keep, fault).write_text(json.dumps(result.json(), indent=2) + "\n")
        return result

    def _made(self, fault: Fault, report: Path, series: Path | None) -> int:
        command = [sys.executable, "-m", "tests.faults", "--alone", str(report), "--only", str(fault)]
        command += ["--brief"] if self.brief else []
        command += ["--series", str(series)] if series else []
        with self._starting:  # one after the other, and no more once all are being ended
            if self._stopping.is_set():
                return 0
            # In a session of its own: Ctrl-C is handed on once, or the second would cut the first's tidying short.
            child = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
            self._children.add(child)
            if self.jobs > 1:
                self._stopping.wait(APART)
        try:
            return child.wait(LONGEST)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)  # it ends its servers itself
            return ended(child)
        finally:
            self._children.discard(child)


def ended(child: subprocess.Popen[bytes]) -> int:
    """Wait while it tidies up; what hangs even then is killed with all that it has started."""
    try:
        return child.wait(TIDYING)
    except subprocess.TimeoutExpired:
        family = psutil.Process(child.pid).children(recursive=True)
        child.kill()  # first, so that it starts no more
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        return child.wait()


def kept(folder: Path, fault: Fault) -> Path:
    """Return the file of a fault's last result in that folder."""
    return folder / f"{re.sub('[^a-z0-9]+', '-', str(fault).lower())}.json"


def merged(results: Sequence[Result], folder: Path | None) -> list[Result]:
    """Return these results, or those of all faults that the folder has; in the order of the faults."""
    if folder is None:
        return list(results)
    files = [kept(folder, fault) for fault in known()]
    return [Result.of(json.loads(file.read_text())) for file in files if file.exists()]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--ci", action="store_true", help="the subset of each commit, --brief")
    parser.add_argument("--brief", action="store_true", help="wait less for what should not come")
    parser.add_argument("--only", nargs="+", default=[], metavar="CAUSE[/NAME]")
    parser.add_argument("--jobs", type=int, metavar="N", help="stacks side by side (1, or 3 with --ci)")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"instead of {MATRIX.relative_to(ROOT)}")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep results and series; the page is of all there"
    )
    parser.add_argument(
        "--allow-not-made", action="store_true", help="pass though this machine cannot have some of them"
    )
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument(
        "--healthy", type=float, metavar="MINUTES", help="no fault: a healthy site's busy day"
    )
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--series", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    asked = arguments()
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
        return alone(faults[0], brief, asked.alone, asked.series)
    if asked.keep:
        asked.keep = asked.keep.resolve()  # each fault is made from the project's own directory
        asked.keep.mkdir(parents=True, exist_ok=True)
    results = Runs(brief, asked.jobs or (3 if asked.ci else 1), asked.keep).all(faults)
    page = merged(results, asked.keep)
    text = matrix.matrix(page, matrix.versions())
    whole = len(page) == len(known()) and all(one.pace == "full" for one in page)
    if target := asked.out or (MATRIX if whole else None):
        target.write_text(text)
    print(f"\n{text}")
    allowed = [one for one in results if not one.made] if asked.allow_not_made else []
    return 0 if all(one.passed or one in allowed for one in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
