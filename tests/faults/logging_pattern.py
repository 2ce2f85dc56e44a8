"""Jobs log inefficiently: a call for each point or parameter, or far more points than a chart can show.

The fix is in the jobs' code: the same values again, those of a step or a run in one call.
"""

from __future__ import annotations

from functools import partial

from tests.faults import Fault, Lab
from tests.lab.load import Load
from tests.lab.shapes import OneBusyRun, Params, PointsOneByOne, PointsTogether


def points_one_by_one(lab: Lab) -> None:
    """Log forty points a second, each in a call, beside ordinary jobs.

    Twice the calls that are too many, by eight clients: on a machine with much else to do four came to 26 to 42.
    """
    lab.begin(Load(lab.url, 8, rate=40, client=PointsOneByOne))


def points_together(lab: Lab) -> None:
    """Log as many points a second, the ten of a step in one call."""
    lab.end()
    lab.begin(Load(lab.url, 4, rate=4, client=PointsTogether))


def params_one_by_one(lab: Lab) -> None:
    """Log sixty parameters a run, each in a call: of a rate of 30 a machine with much else to do made 19 to 26."""
    lab.begin(Load(lab.url, 6, rate=40, client=Params))


def params_together(lab: Lab) -> None:
    """Log as many parameters a second, those of a run in one call."""
    lab.end()
    lab.begin(Load(lab.url, 4, rate=1.5, client=partial(Params, together=True)))


def every_step(lab: Lab) -> None:
    """Log three hundred points a second of one key, well batched."""
    lab.begin(Load(lab.url, 1, rate=3, client=OneBusyRun))


def every_hundredth_step(lab: Lab) -> None:
    """Log the mean of each hundred instead."""
    lab.end()
    lab.begin(Load(lab.url, 1, rate=3, client=partial(OneBusyRun, points=1)))


FAULTS = (
    Fault(
        "logging-pattern",
        "points one by one",
        frozenset({"MlflowPointsLoggedOneByOne"}),
        points_one_by_one,
        points_together,
        ci=True,
    ),
    Fault(
        "logging-pattern",
        "parameters one by one",
        frozenset({"MlflowParamsLoggedOneByOne"}),
        params_one_by_one,
        params_together,
    ),
    Fault(
        "logging-pattern",
        "a run logs too often",
        frozenset({"MlflowRunLogsTooOften"}),
        every_step,
        every_hundredth_step,
        within=540,  # the rate of a run is read every 300 s, time-lapse or not
    ),
)
