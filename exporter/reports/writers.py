"""Who causes the load: runs that logged in a while, by experiment, user, source and commit; clients by address."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.reports.terminal import paragraph, printable, table
from exporter.reports.watch import Watch

SHOWN = 10
# As many as the query gives; more running runs than that are not all seen.
LISTED = 500

UNSEEN = (
    "Steps are counted over all metrics of a run: points, where each step is logged. Not seen: points without a step "
    "of their own (they count as 0), writes to runs that had ended, and who searches or reads, of which MLflow keeps "
    "no trace but its access log. User, source and commit are what the client says of itself."
)
MANY = f"More than {LISTED} runs are RUNNING: only the newest of them are looked at."


@dataclass(frozen=True, slots=True)
class Run:
    """One run that logged: `steps` and `keys` are what it has gained."""

    run: str
    experiment: str
    user: str
    source: str
    commit: str
    started: bool
    steps: float
    keys: int


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one experiment, user, source and commit."""

    experiment: str
    user: str
    source: str
    commit: str
    runs: int
    started: int
    steps_per_second: float
    new_keys: int


@dataclass(frozen=True, slots=True)
class Writers:
    """Most active first. `clients` and `sessions` are the most open connections at once by address.

    Everything that a client has chosen is printable and cut.
    """

    running: int
    groups: tuple[Group, ...]
    runs: tuple[Run, ...]
    clients: dict[str, int]
    sessions: dict[str, int]


def writers(seen: Watch) -> Writers:
    """Compare what the runs had logged at the two ends of a watch."""
    before, after = seen.writers
    old = {row["run"]: row for row in before}
    active = sorted(
        (run for row in after if (run := _gain(old.get(row["run"]), row, seen.began))),
        key=lambda run: (run.steps, run.keys, run.started),
        reverse=True,
    )
    most: Counter[str] = Counter()
    for sample in seen.sessions:
        for row in sample:
            place = " ".join(
                printable(row[name], 40) for name in ("address", "user", "application") if row[name]
            )
            most[place] = max(most[place], int(str(row["mlflow_db_sessions"])))
    return Writers(
        sum(row["status"] == "RUNNING" for row in after),
        tuple(_groups(active, seen.seconds)[:SHOWN]),
        tuple(active[:SHOWN]),
        dict(seen.clients.most_common(SHOWN)),
        dict(most.most_common(SHOWN)),
    )


def lines(found: Writers, seconds: float) -> Iterator[str]:
    yield f"TOP WRITERS in {seconds:.0f} s ({found.running} runs are RUNNING)"
    if found.groups:
        yield ""
        yield from groups(found)
        yield ""
        yield from table(
            ("run", "experiment", "steps/s", "new keys"),
            (32, 22, -8, -8),
            ((one.run, one.experiment, f"{one.steps / seconds:.1f}", one.keys) for one in found.runs),
        )
    else:
        yield "  No run has logged a metric or was started."
    for what, places in (("to the server", found.clients), ("to the database", found.sessions)):
        if places:
            yield ""
            yield from table(
                (f"connections {what}, from", "most"),
                (60, -6),
                places.items(),
            )
    yield ""
    if found.running >= LISTED:
        yield from paragraph(MANY)
    yield from paragraph(UNSEEN)


def groups(found: Writers) -> Iterator[str]:
    """Give the table of who writes."""
    yield from table(
        ("experiment", "user", "source", "commit", "runs", "new", "steps/s"),
        (17, 11, 18, 8, -5, -4, -8),
        (_cells(one) for one in found.groups),
    )


def _cells(one: Group) -> tuple[object, ...]:
    rate = f"{one.steps_per_second:.1f}"
    return one.experiment, one.user, one.source, one.commit[:8], one.runs, one.started, rate


def _gain(old: Mapping[str, object] | None, row: Mapping[str, object], began: int) -> Run | None:
    """Return what a run has gained; None where it has not moved, or nothing is known of it from before."""
    started = old is None
    if started and _number(row["started"]) < began:
        return None  # it came among the newest when others ended
    was = old or {}
    steps = _number(row["mlflow_db_writer_steps"]) - _number(was.get("mlflow_db_writer_steps"))
    keys = _number(row["keys"]) - _number(was.get("keys"))
    if not (started or steps or keys or row["last"] != was.get("last")):
        return None
    return Run(
        run=printable(row["run"], 80),
        experiment=printable(row["experiment"], 80),
        user=printable(row["user"], 80),
        source=printable(row["source"], 80),
        commit=printable(row["commit"], 80),
        started=started,
        # A key that starts again from step 0 makes it less than before.
        steps=max(0.0, steps),
        keys=max(0, int(keys)),
    )


def _groups(runs: Iterable[Run], seconds: float) -> list[Group]:
    found: defaultdict[tuple[str, str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        found[run.experiment, run.user, run.source, run.commit].append(run)
    return sorted(
        (
            Group(
                *key,
                len(members),
                sum(one.started for one in members),
                sum(one.steps for one in members) / seconds,
                sum(one.keys for one in members),
            )
            for key, members in found.items()
        ),
        key=lambda group: (group.steps_per_second, group.new_keys, group.runs),
        reverse=True,
    )


def _number(value: object) -> float:
    return 0.0 if value is None else float(str(value))
