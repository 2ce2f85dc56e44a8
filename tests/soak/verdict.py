"""What the record says: whether the exporter's memory has a slope, and whether all else stayed as it was."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

# Samples of so many seconds count as one, their median: neighbours are no news of each other, and a moment's peak none.
SLICE = 5.0
# More would be longer ones, of an hour's run about a day each. What is resident stays for a minute what it was: slices
# of 7 s were alike by 0.7 to the next, 0.5 to the second, 0.2 to the fifth, and 400 of them said an interval that was
# half as wide as a day's do, which are alike by 0.3.
MOST_SLICES = 40
SURE = 1.96  # standard deviations: 95 of 100 intervals hold the slope
# MiB that a run may gain though nothing leaks. For ten minutes an allocator still finds its size, by steps of one (a
# pool of Python's) and up to two; later by the quarter. An answer that is kept is 200 KiB and more: three minutes see
# 20 KiB lost at each scrape, an hour 0.3.
SETTLING, SETTLED = 3.0, 1.0
SETTLES = 600.0  # seconds
# Probes, two scrapers and new connections may fall into one moment; what is lost shows in what a count rests at.
AT_ONCE = 6
OURS = {"bug", "bad_answer"}  # reasons of errors that nobody has made


@dataclass(frozen=True)
class Slope:
    """The median of all slopes between two points (Theil and Sen), and between what it is for sure; an hour's."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Finding:
    """One line of the verdict."""

    what: str
    found: str
    passed: bool


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """Return how values grow in an hour of their times, which are seconds."""
    sliced = medians(points)
    count = len(sliced)
    if count < 4:
        raise ValueError(f"{count} slices of {SLICE:g} s are too few for a slope")
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) * 3600 for a, b in combinations(sliced, 2))
    # Sen's interval: by how much Kendall's count of rising pairs may differ from none by chance.
    chance = SURE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    outside = max(0, math.floor((len(slopes) - chance) / 2))
    return Slope(statistics.median(slopes), slopes[outside], slopes[-1 - outside])


def medians(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the medians of each slice of time."""
    start = points[0][0]
    width = max(SLICE, (points[-1][0] - start) / MOST_SLICES)
    slices: dict[int, list[tuple[float, float]]] = {}
    for at, value in points:
        slices.setdefault(int((at - start) // width), []).append((at - start, value))
    return [
        (statistics.median(at for at, _ in one), statistics.median(value for _, value in one))
        for one in slices.values()
    ]


def memory(points: Sequence[tuple[float, float]], scrapes: int, warm: float) -> Finding:
    """Judge resident memory in MiB, of a process that ran `warm` seconds before, over so many scrapes."""
    seconds = points[-1][0] - points[0][0]
    found = slope(points)
    gain = found.value * seconds / 3600
    bound = SETTLED if warm >= SETTLES else SETTLING
    thousand = 1000 * gain / max(1, scrapes)
    text = (
        f"{found.value:+.2f} MiB/h ({found.low:+.2f} to {found.high:+.2f}), {thousand:+.3f} MiB per 1,000 scrapes; "
        f"{gain:+.2f} MiB in {seconds / 60:.0f} min, at most {bound:g} of them noise"
    )
    return Finding("memory", text, gain <= bound)  # however wide the interval: it is for who reads


def flat(
    what: str, first: Sequence[int], last: Sequence[int], early: Sequence[int], late: Sequence[int]
) -> Finding:
    """Judge a count by what it rests at in the first nights and the last, and by its peaks early and late."""
    rests, peaks = (min(first), min(last)), (max(early), max(late))
    text = f"at rest {rests[0]}, then {rests[1]}; peak {peaks[0]}, then {peaks[1]}"
    return Finding(what, text, rests[1] <= rests[0] and peaks[1] <= peaks[0] + AT_ONCE)


def none(what: str, of: str, found: Sequence[str]) -> Finding:
    """Judge what must not have happened."""
    examples = "".join(f"\n      {one}" for one in found[:5])
    return Finding(what, f"{len(found)} {of}{examples}", not found)


def made(errors: Mapping[str, int], evictions: int) -> Finding:
    """Judge whether the days were any: what was not disturbed has withstood nothing."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(errors.items())) or "none"
    text = f"statements pushed out {evictions} times; collectors' errors: {reasons}"
    return Finding("disturbed", text, evictions > 0 and "unreachable" in errors and not OURS & errors.keys())


def table(findings: Sequence[Finding]) -> str:
    width = max(len(one.what) for one in findings)
    return "\n".join(f"{'ok' if one.passed else 'NO':3} {one.what:{width}}  {one.found}" for one in findings)
