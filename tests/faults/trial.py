"""One fault from a healthy stack to a healthy stack, and what was delivered meanwhile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import requests

from exporter.causes import CAUSES
from tests.faults import Fault, Lab
from tests.lab.cgroup import NotMadeError
from tests.lab.process import wait_for
from tests.lab.receiver import Delivery
from tests.lab.stack import FACTOR, healthy


@dataclass(frozen=True)
class Pace:
    """How long nothing may be delivered before the fault and after it, and how long others may come with it.

    In seconds of time-lapse. `before` and `beside` outlast the longest `for` of an alert that explains load, 8m,
    with its window of 5m.
    """

    before: float = 80.0
    beside: float = 60.0
    after: float = 15.0


FULL = Pace()
BRIEF = Pace(before=40.0, beside=15.0, after=5.0)


@dataclass(frozen=True)
class Result:
    """What came of one fault; times are seconds at real scale since the fault began, and since its fix.

    `failure` says why there is no result, empty when there is one; `made` is false where this machine cannot have
    the fault. `delivered` maps alerts to times, `causes` and `texts` to their cause and description; `missed` are
    those that should have been, `extras` those of other causes that should not, `shown` those that fired and went
    to nobody, `left` those that did not end. `pressures` are the highest `mlflow:pressure:ratio` of each
    "cause/signal" until the fix. `pace`, `jobs` stacks side by side and `date` are of the run.
    """

    cause: str
    name: str
    made: bool = True
    failure: str = ""
    delivered: Mapping[str, float] = field(default_factory=dict)
    causes: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    missed: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    resolved: float | None = None
    pressures: Mapping[str, float] = field(default_factory=dict)
    pace: str = ""
    jobs: int = 1
    date: str = ""

    @property
    def passed(self) -> bool:
        return not self.failure and not self.missed and not self.extras and self.resolved is not None

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, json: Mapping[str, Any]) -> Self:
        lists = {name: tuple(json[name]) for name in ("missed", "extras", "shown", "left")}
        return cls(**dict(json) | lists)


def attempt(
    fault: Fault, pace: Pace = FULL, say: Callable[[str], None] = print, series: Path | None = None
) -> Result:
    """Make the fault on a stack of its own, fix it, and return what was delivered.

    `series` is where all that Prometheus has then is kept, as its data directory; nothing may be there yet.
    """
    result = Result(fault.cause, fault.name)
    try:
        say("starting")
        with Lab(fault.needs) as lab:
            try:
                return _observe(fault, lab, pace, say)
            finally:
                if series:
                    lab.prometheus.stop()
                    shutil.copytree(lab.prometheus.data, series)
    except NotMadeError as error:
        return replace(result, made=False, failure=str(error))
    except Exception as error:  # noqa: BLE001  # one fault's trouble is its result, and no other's
        return replace(result, failure=f"{type(error).__name__}: {error}")


def _observe(fault: Fault, lab: Lab, pace: Pace, say: Callable[[str], None]) -> Result:
    healthy(lab)
    say("healthy")
    time.sleep(pace.before)
    if early := names(lab.receiver.deliveries()):
        texts = {one.alert: one.annotations.get("description", "") for one in lab.receiver.deliveries()}
        raise AssertionError(f"delivered while all was well: {', '.join(sorted(early))}\n{texts}")

    say("making it")
    began = time.monotonic()
    fault.make(lab)  # may be more than this machine can have: a limit is set only here
    expected = fault.delivers | fault.shows
    within(
        lambda: expected <= names(lab.receiver.deliveries(began)) | fired(lab, fault.delivers), fault.within
    )
    time.sleep(pace.beside)
    shown = fired(lab)
    pressures = highest(lab, time.monotonic() - began)
    say(f"delivered {sorted(names(lab.receiver.deliveries(began)))}, firing {sorted(shown)}; fixing it")
    mended = time.monotonic()
    try:
        fault.fix(lab)
    except NotMadeError as error:  # the fault has been made: what cannot be undone here is no excuse
        raise AssertionError(f"not fixed: {error}") from error
    resolved = None
    if within(lambda: not unresolved(fault, lab), fault.within):
        resolved = time.monotonic() - mended
        time.sleep(pace.after)
    left = unresolved(fault, lab)
    shown |= fired(lab)
    delivered = lab.receiver.deliveries(began)
    say(f"still firing: {sorted(left)}" if left else "resolved")
    result = judged(fault, delivered, shown, began, None if left else resolved)
    return replace(result, left=tuple(sorted(left)), pressures=pressures)


def judged(
    fault: Fault, delivered: Iterable[Delivery], shown: set[str], began: float, resolved: float | None
) -> Result:
    """Compare what was delivered and what only fired with what the fault declares."""
    first: dict[str, Delivery] = {}
    for one in delivered:
        if one.firing:
            first.setdefault(one.alert, one)
    rightly = {
        slug for cause in CAUSES if cause.slug in fault.causes for slug in (cause.slug, *cause.leads_to)
    }
    missed = (fault.delivers - first.keys()) | (fault.shows - shown - first.keys())
    return Result(
        fault.cause,
        fault.name,
        delivered={name: round((one.time - began) * FACTOR) for name, one in first.items()},
        causes={name: one.cause for name, one in first.items()},
        texts={name: " ".join(one.annotations.get("description", "").split()) for name, one in first.items()},
        missed=tuple(sorted(missed)),
        extras=tuple(sorted(name for name, one in first.items() if one.cause not in rightly)),
        shown=tuple(sorted(shown - first.keys())),
        resolved=None if resolved is None else round(resolved * FACTOR),
    )


def names(deliveries: Iterable[Delivery]) -> set[str]:
    """Return the alerts that were delivered firing."""
    return {one.alert for one in deliveries if one.firing}


def firing(lab: Lab) -> set[str]:
    """Return the alerts that those who were notified believe to fire."""
    return names(lab.receiver.firing().values())


def unresolved(fault: Fault, lab: Lab) -> set[str]:
    """Return what people believe to fire, and of what the fault only shows, what still does and should not."""
    ends = fault.shows - fault.stays
    with suppress(requests.RequestException):
        ends &= {name for name, state in lab.alerts().items() if state == "firing"}
    return firing(lab) | ends  # a Prometheus that does not answer says nothing of an end


def fired(lab: Lab, but: frozenset[str] = frozenset()) -> set[str]:
    """Return the alerts that have fired in Prometheus, delivered or not, other than these."""
    with suppress(requests.RequestException):
        found = lab.prometheus.query('count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1d]))')
        return {one["metric"]["alertname"] for one in found} - but
    return set()


def highest(lab: Lab, seconds: float) -> dict[str, float]:
    """Return the highest pressure of each cause/signal in the last seconds, highest first."""
    window = f"mlflow:pressure:ratio[{round(seconds)}s]"
    with suppress(requests.RequestException):
        found = lab.prometheus.query(f"sort_desc(max by (cause, signal) (max_over_time({window})))")
        return {
            f"{one['metric']['cause']}/{one['metric']['signal']}": round(float(one["value"][1]), 2)
            for one in found
        }
    return {}


def within(condition: Callable[[], bool], seconds: float) -> bool:
    """Say whether the condition came to hold in that time."""
    try:
        wait_for(condition, "", seconds, every=0.5)
    except TimeoutError:
        return False
    return True
