"""A property: a statement that must hold for any input, tried with many, each of them counted.

Each case ends within a bound; a sample of the cases is then tried over and over, after which no block of memory, no
descriptor and no thread may have been added.
"""

from __future__ import annotations

import functools
import gc
import inspect
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis.strategies import SearchStrategy

# By hand (`make fuzz`) random and many, else few and always the same ones.
FULL = os.environ.get("FUZZ") == "full"
CASES = 2_600 if FULL else 100

# No case needs a tenth of it, on a machine as busy as this may be: what takes longer does not end at all.
CASE_SECONDS = 20.0

# A sample of that many at most, and of each twentieth case, is tried anew until a round leaves nothing behind.
SAMPLE = 60
ROUNDS = 20

tried = 0
mended = 0


def holds(
    share: float = 1.0,
    was_wrong: Mapping[str, Mapping[str, Any]] | None = None,
    **inputs: SearchStrategy[Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test of a function that asserts what must hold for its inputs; its other parameters are fixtures.

    `share` is of the usual number of cases, for what costs more or less than others. `was_wrong` are inputs
    for which it once did not hold, by what was wrong: they are tried each time.
    """

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        fixtures = [one for one in inspect.signature(check).parameters.values() if one.name not in inputs]

        def test(**given_fixtures: Any) -> None:
            global mended  # noqa: PLW0603 - what conftest reports
            mended += len(was_wrong or {})
            run = functools.partial(check, **given_fixtures)
            _try(run, check.__name__, inputs, share, (was_wrong or {}).values())

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        test.__signature__ = inspect.Signature(fixtures)  # type: ignore[attr-defined] # what pytest looks at
        return test

    return decorate


def count(cases: int) -> None:
    """Count cases that one call tried together."""
    global tried  # noqa: PLW0603 - what conftest reports
    tried += cases


def _try(
    check: Callable[..., None],
    name: str,
    inputs: Mapping[str, SearchStrategy[Any]],
    share: float,
    examples: Iterable[Mapping[str, Any]],
) -> None:
    most = max(int(CASES * share), 5)
    sample: list[Mapping[str, Any]] = []

    def case(**values: Any) -> None:
        if len(sample) < min(SAMPLE, most / 20):
            sample.append(values)
        count(1)
        with bounded():
            check(**values)

    # hypothesis derives its seed from these.
    case.__name__ = case.__qualname__ = name
    wanted: Any = given(**inputs)(case)
    wanted = settings(
        max_examples=most,
        derandomize=not FULL,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=FULL,
    )(wanted)
    for values in examples:
        wanted = example(**values)(wanted)
    wanted()
    logging.disable()  # pytest keeps what is logged
    try:
        leaks_nothing(check, sample)
    finally:
        logging.disable(logging.NOTSET)


def leaks_nothing(check: Callable[..., None], sample: Sequence[Mapping[str, Any]]) -> None:
    """Try the sample again and again; raises AssertionError where each round leaves something behind.

    The first rounds may: they fill caches, and the allocator's free lists.
    """
    threads = threading.active_count()
    held = [_held(threads)]
    for _ in range(ROUNDS):
        for values in sample:
            check(**values)
        held.append(_held(threads))
        blocks, descriptors, alive = (
            after - before for after, before in zip(held[-1], held[-2], strict=True)
        )
        # Some blocks are those of this list.
        if blocks <= 20 and descriptors <= 0 and alive <= 0 and len(held) > 3:
            return
    pytest.fail(f"rounds of {len(sample)} cases have left blocks of memory, descriptors, threads: {held}")


def _held(threads: int) -> tuple[int, int, int]:
    """Return what this process holds, once the threads have ended that it had not at first."""
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    gc.collect()
    return sys.getallocatedblocks(), psutil.Process().num_fds(), threading.active_count()


@contextmanager
def bounded() -> Iterator[None]:
    """Fail what does not end; a regular expression that runs on and on asks for signals as well."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"not done after {CASE_SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, CASE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
