"""`make demo FAULT=<cause>`: one cause happens while you watch, and its fix is applied."""

from __future__ import annotations

import select
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence

from exporter.pack.formats import addressed
from exporter.pack.site import Site
from tests.faults import Fault, Lab
from tests.faults.trial import firing, within
from tests.lab.cgroup import NotMadeError
from tests.lab.process import ServerError
from tests.lab.receiver import Delivery
from tests.lab.stack import FACTOR, healthy
from tests.lab.tools import MissingToolError

QUIET = 20.0  # seconds in which nothing is delivered, so that what comes then is seen to come of the fault
TEXTS = ("description", "diagnosis", "fix", "runbook_url")


def show(faults: Sequence[Fault]) -> int:
    """Show the first of these that this machine can have; returns the exit status."""
    for fault in faults:
        try:
            return _on_a_stack(fault)
        except NotMadeError as error:
            print(f"This machine cannot have {fault}: {error}", file=sys.stderr)
    return 1


def _on_a_stack(fault: Fault) -> int:
    """Make the fault, print the notifications as they come, undo it by its fix; returns the exit status."""
    say = _clock()
    try:
        say("starting a tracking server, its database, clients, the exporter, Prometheus and Alertmanager")
        with Lab(fault.needs) as lab:
            return _show(fault, lab, say)
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
        return 0
    except (ServerError, MissingToolError, TimeoutError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
    return 1


def _show(fault: Fault, lab: Lab, say: Callable[[str], None]) -> int:
    told: set[tuple[bool, frozenset[tuple[str, str]]]] = set()

    def printed() -> set[str]:
        """Print what has been delivered meanwhile; returns the alerts that people know of."""
        for one in lab.receiver.deliveries(began):
            if (one.firing, one.key) not in told:
                told.add((one.firing, one.key))
                for line in lines(one, f"{lab.exporter.url}/runbooks"):
                    say(line)
        return {dict(key)["alertname"] for firing, key in told if firing}

    say(f"MLflow {lab.mlflow.url}   exporter {lab.exporter.url}")
    say(f"Prometheus {lab.prometheus.url}   Alertmanager {lab.alertmanager.url}")
    say(
        f"Alerts see time pass {FACTOR:g} times as fast here: what takes them 5 minutes takes 30 seconds, and a\n"
        "       restart looks that much longer. Queries of the runbooks look back as far as anywhere."
    )
    healthy(lab)
    time.sleep(QUIET)
    say(f"All is well. Now the cause happens: {fault}. What people are told of it comes within minutes.")
    began = time.monotonic()
    fault.make(lab)
    if not within(lambda: fault.delivers <= printed(), fault.within):
        say(f"not delivered within {fault.within:g} s: {', '.join(sorted(fault.delivers))}")
        return 1

    def over() -> bool:
        return bool(printed()) and not firing(lab)

    if not _mended_by_hand(lab, say, over):
        say(
            f"The runbook's fix is applied: {fault.fix.__name__.replace('_', ' ')}. The alerts end minutes later."
        )
        fault.fix(lab)
    if not within(over, fault.within):
        say(f"still firing: {', '.join(sorted(firing(lab)))}")
        return 1
    say("All resolved.")
    return 0


def _mended_by_hand(lab: Lab, say: Callable[[str], None], over: Callable[[], bool]) -> bool:
    """Leave the fault there until Enter or until it is over, where somebody sits before it; returns which it was."""
    if not sys.stdin.isatty():
        return False
    say("The fault stays until you mend it or press Enter. Meanwhile, in another terminal:")
    port = f"--server.port {lab.mlflow.port}"
    print(f"       {sys.executable} -m exporter diagnose --prometheus {lab.prometheus.url} {port}")
    print(f"       {sys.executable} -m exporter explain {port}")
    if not lab.needs.sqlite:
        print(f"       psql '{lab.postgres.dsn('postgres', 'mlflow')}'")
    while not select.select([sys.stdin], [], [], 1.0)[0]:
        if over():
            return True
    sys.stdin.readline()
    return False


def lines(one: Delivery, runbooks: str) -> Iterable[str]:
    """Yield a notification as a person reads it, its link to where these runbooks are."""
    if not one.firing:
        yield f"RESOLVED {one.alert}"
        return
    yield f"{one.labels.get('severity', '').upper()} {one.alert}: {one.annotations.get('summary', '')}"
    for name in TEXTS:
        text = addressed(" ".join(one.annotations.get(name, "").split()), Site(runbook_url=runbooks))
        yield from textwrap.wrap(
            text,
            100,
            initial_indent=f"  {name.removesuffix('_url'):<12} ",
            subsequent_indent=" " * 15,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _clock() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: print(f"{time.monotonic() - began:4.0f} s  {text}", flush=True)
