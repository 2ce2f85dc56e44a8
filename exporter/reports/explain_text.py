"""The report of `explain` for people: plain text of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.collector import Reason
from exporter.reports import writers
from exporter.reports.explained import Explained, Problem, Read, Report
from exporter.reports.terminal import duration, paragraph, printable, size, statement

PLANNED_SO = (
    "Plans are generic: made without the values of a call, so for an experiment that holds a large part of all runs "
    "Postgres may choose another."
)
# Statements that are shown in any case, and the share from which others are; --json has all.
SHOWN, WORTH, MOST = 3, 0.01, 8
# Where a newer average is that much lower, the older one still holds what is over.
BETTER = 2.0


def text(report: Report) -> str:
    return "\n".join(_lines(report)) + "\n"


def failed(why: Problem) -> str:
    """Return the report where nothing could be read."""
    return "\n".join(("NOTHING COULD BE READ", *problem(why))) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"WHERE THE TIME GOES, watched for {report.seconds:.0f} s (Postgres {report.version})"
    where = report.where
    if where.sql_seconds is not None:
        workers = "" if where.cpu_seconds is None else f", CPU of the workers {duration(where.cpu_seconds)}"
        yield f"  SQL of MLflow {duration(where.sql_seconds)}{workers}"
    yield from paragraph(where.says)
    yield ""
    if report.missing:
        yield "MISSING INDEXES, which MLflow's own migrations make for this schema"
        for make in report.missing:
            yield from statement(make)
        yield from paragraph("Each builds beside the server's work, and reads its table twice.")
        yield ""
    planned = list(_worth([one for one in report.statements if one.reads is not None]))
    if planned:
        yield "SLOWEST SELECTS, by their share of MLflow's SQL since statistics began"
        for number, one in enumerate(planned, 1):
            yield ""
            yield from _statement(number, one, report)
        yield ""
        yield from paragraph(PLANNED_SO)
        yield ""
    elif not any(problem.subject in ("statements", "plans") for problem in report.problems):
        yield from paragraph("No SELECT of MLflow is in pg_stat_statements yet: repeat it after some use.")
        yield ""
    yield from _not_planned(
        [one for one in report.statements if one.reason and one.reason is not Reason.BUSY]
    )
    if report.writers:
        yield from writers.lines(report.writers, report.seconds)
    for why in report.problems:
        yield ""
        yield from problem(why)


def _worth(planned: list[Explained]) -> Iterator[Explained]:
    """Yield what is worth a look: the first, what takes time, and what there is something to say about."""
    for number, one in enumerate(planned):
        if number < SHOWN or one.share >= WORTH or any(read.says for read in one.reads or ()):
            yield one


def _statement(number: int, one: Explained, report: Report) -> Iterator[str]:
    mean = one.seconds / one.calls if one.calls else 0.0
    yield (
        f"{number}. {one.operation} on {one.table}: {one.share:.0%}, {one.calls:,} calls of {duration(mean)}"
    )
    if one.recent_calls:
        recent = one.recent_seconds / one.recent_calls
        older = ": the average above still holds slower calls of before" if mean > BETTER * recent else ""
        yield from paragraph(f"while watched {one.recent_calls:,} calls of {duration(recent)}{older}", 3)
    start = one.text.find(" FROM ")
    yield from paragraph(printable(one.text[max(start + 1, 0) :], 200), 3)
    for read in one.reads or ():
        yield from _read(read, "" if report.where.helps else duration(mean))


def _read(read: Read, at_best: str) -> Iterator[str]:
    how = f"by {read.index}" if read.index else "WHOLLY" if read.says else "wholly"
    if read.rows is None:
        what = f"never analysed, so its size is not known: ANALYZE {read.table};"
    else:
        small = "" if read.index or read.says else "small: "
        what = f"{small}{read.rows:,.0f} rows, {size(read.bytes)}"
    yield from paragraph(f"reads {read.table} {how}, {what}", 3)
    if read.says:
        yield from paragraph(read.says, 5)
    if read.statement:
        yield from statement(read.statement, 5)
        if at_best:
            says = f"But SQL is not where the time goes: at best each of these calls takes {at_best} less."
            yield from paragraph(says, 5)


def _not_planned(others: list[Explained]) -> Iterator[str]:
    if not others:
        return
    yield "NOT PLANNED"
    said: dict[tuple[str, str], list[str]] = {}
    for one in others:
        said.setdefault((f"{one.reason}: {one.detail}", one.remedy), []).append(
            f"{one.operation} on {one.table} {one.share:.0%}"
        )
    for (why, remedy), names in said.items():
        yield from paragraph(f"{', '.join(dict.fromkeys(names))}", 2)
        yield from paragraph(why, 4)
        yield from statement(remedy)
    yield ""


def problem(why: Problem) -> Iterator[str]:
    """Give what could not be read, why, and what mends it."""
    yield f"NOT READ: {why.subject}"
    yield from paragraph(f"{why.reason}: {why.detail}")
    yield from statement(why.remedy)
