"""The database's load: what a sample adds, and what the sampler does with answers that come late or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.collector import Reason, SourceError
from exporter.metric import check
from exporter.samplers.load import Load, LoadSampler, LoadSpec
from exporter.samplers.wait_classes import CLASSES, RULES, wait_class
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.pipeline import Limits, Link, Row, Ticket
from exporter.statements import classify

pytestmark = pytest.mark.unit

TARGET = Target.from_dsn(Secret("postgresql://exporter@db/mlflow"), Secret(""), "", ())
SEARCH = "SELECT DISTINCT runs.run_uuid AS runs_run_uuid FROM runs"


def session(
    query: str | None = SEARCH, wait: str = "", mlflow: bool = True, **more: object
) -> dict[str, object]:
    kind, _, event = wait.partition(":")
    row = {
        "sees_all": True,
        "mlflow": mlflow,
        "hidden": False,
        "untracked": False,
        "query": query,
        "sessions": 1,
    }
    return row | {"wait_event_type": kind or None, "wait_event": event or None} | more


NOBODY: Row = dict.fromkeys(session()) | {"sees_all": True, "sessions": 0}


def seconds(load: Load) -> dict[tuple[str, ...], float]:
    """Return what is not zero, by labels."""
    return {
        (sample.metric.labels[0], *sample.labels): float(str(sample.value))
        for sample in load.samples()
        if sample.value and sample.labels
    }


class Fake(Link):
    """A link whose answers the test gives: rows, an error, or None for none before the deadline."""

    def __init__(self, *answers: list[Row] | SourceError | None) -> None:
        self.heard = 1000.0  # and no connection: what would use one is below
        self.answers = list(answers)
        self.asked = 0
        self.is_open = True

    @property
    def open(self) -> bool:
        return self.is_open

    def submit(self, name: str, sql: bytes, params: object, limits: Limits) -> Ticket:
        self.asked += 1
        return Ticket(name, 0.0)

    def wait(self, ticket: Ticket, deadline: float) -> list[Row]:
        answer = self.answers.pop(0) if self.answers else [NOBODY]
        if answer is None:
            raise SourceError(Reason.TIMEOUT, "no answer before the deadline")
        ticket.done = True
        if isinstance(answer, SourceError):
            self.is_open = answer.reason is not Reason.UNREACHABLE
            raise answer
        return answer

    def close(self) -> None:
        self.is_open = False


class Bench:
    """A sampler, its clock, and the links that it is given one after the other; None is a refused connection."""

    def __init__(self, *links: Link | None) -> None:
        self.now = 1000.0
        self.links = list(links)
        self.tries: list[float] = []
        self.sampler = LoadSampler(LoadSpec(TARGET), self.connect, lambda: self.now)

    def connect(self, conninfo: bytes, deadline: float) -> Link:
        self.tries.append(self.now - 1000)
        link = self.links.pop(0) if self.links else None
        if link is None:
            raise SourceError(Reason.UNREACHABLE, "refused")
        return link

    def tick(self, after: float = 1.0) -> None:
        self.now += after
        self.sampler.tick()

    def values(self) -> dict[tuple[str, ...], float]:
        samples = check(self.sampler.samples(), frozenset(self.sampler.metrics))
        return {(one.metric.name, *one.labels): float(str(one.value)) for one in samples if one.value}


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        ("", "cpu"),
        ("IO:DataFileRead", "data_io"),
        ("IO:SLRURead", "data_io"),
        ("IO:SlruRead", "data_io"),
        ("IO:AioIoCompletion", "data_io"),
        ("IO:BufFileWrite", "temp_io"),
        ("IO:BuffileWrite", "temp_io"),
        ("IO:WALSync", "wal_io"),
        ("IO:WalSync", "wal_io"),
        ("IO:BasebackupRead", "other"),
        ("LWLock:WALWrite", "wal_io"),
        ("LWLock:WALInsert", "lwlock"),
        ("LWLock:BufferIO", "data_io"),
        ("IPC:BufferIo", "data_io"),
        ("IPC:ExecuteGather", "ipc"),
        ("Lock:transactionid", "lock"),
        ("BufferPin:BufferPin", "lock"),
        ("Client:ClientRead", "client"),
        ("Timeout:PgSleep", "other"),
        ("Timeout:SpinDelay", "lwlock"),
        ("Extension:Extension", "other"),
        ("Unheard:Of", "other"),
    ],
)
def test_a_wait_has_its_class_however_the_version_spells_it(wait: str, expected: str) -> None:
    kind, _, event = wait.partition(":")
    assert wait_class(kind or None, event or None) == expected


def test_every_rule_gives_a_class() -> None:
    assert {found for _, _, found in RULES} | {"cpu"} == set(CLASSES)


def test_seconds_go_to_each_session_by_what_it_waits_for_and_by_what_it_does() -> None:
    load = Load()
    load.add([session(sessions=2), session("COMMIT", "IO:WALSync")], 1.5)
    assert seconds(load) == {
        ("wait_class", "cpu", "mlflow"): 3.0,
        ("wait_class", "wal_io", "mlflow"): 1.5,
        ("operation", "search_runs", "mlflow"): 3.0,
        ("operation", "commit", "mlflow"): 1.5,
    }


def test_a_session_that_waits_for_its_client_is_no_work_of_an_operation() -> None:
    load = Load()
    load.add([session(wait="Client:ClientRead")], 1.0)
    assert seconds(load) == {("wait_class", "client", "mlflow"): 1.0}


def test_a_neighbour_is_named_without_its_text() -> None:
    load = Load()
    load.add([session(None, "IO:DataFileRead", mlflow=False)], 1.0)
    assert seconds(load) == {
        ("wait_class", "data_io", "other"): 1.0,
        ("operation", "other", "other"): 1.0,
    }


def test_a_neighbour_is_not_said_to_be_idle_where_it_cannot_be_seen() -> None:
    load = Load()
    load.add([session(None, mlflow=False, hidden=True, sees_all=False), session(sees_all=False)], 1.0)
    assert {sample.labels[-1] for sample in load.samples() if sample.labels} == {"mlflow"}
    assert seconds(load)["wait_class", "cpu", "mlflow"] == 1.0


@pytest.mark.parametrize("text", ["-- mlflow-exporter: x\nselect 1", "select 1 as mlflow_db_commits_total"])
def test_the_exporters_own_sessions_are_left_out_whatever_they_call_themselves(text: str) -> None:
    load = Load()
    load.add([session(text), session(text, mlflow=False)], 1.0)
    assert seconds(load) == {}


@pytest.mark.parametrize(
    ("unseen", "reason"), [({"hidden": True}, "permission"), ({"untracked": True}, "unsupported")]
)
def test_sessions_of_mlflow_that_do_not_show_what_they_do_make_the_whole_sample_fail(
    unseen: dict[str, object], reason: str
) -> None:
    load = Load()
    with pytest.raises(SourceError) as raised:
        load.add([session(), session(None) | unseen], 1.0)
    assert raised.value.reason == reason
    assert raised.value.remedy
    assert (load.seconds, seconds(load)) == (0.0, {})


def test_every_class_and_usual_operation_starts_at_0() -> None:
    load = Load()
    load.add([NOBODY], 0.0)
    labels = {sample.labels for sample in load.samples() if sample.value == 0}
    assert {(name, where) for name in CLASSES for where in ("mlflow", "other")} <= labels
    assert {("search_runs", "mlflow"), ("commit", "mlflow"), ("other", "other")} <= labels
    assert len(list(load.samples())) <= 40


def test_texts_cut_by_postgres_keep_their_operation() -> None:
    """track_activity_query_size is 1024 bytes, one of them for the end."""
    changed = []
    for file in (Path(__file__).parents[1] / "golden" / "statements").glob("*.tsv"):
        for line in file.read_text().splitlines():
            text = line.rpartition("\t")[2]
            if not line.startswith("#") and classify(text) != classify(text[:1023]):
                changed.append(text)
    assert [text[:80] for text in changed if "evaluation_dataset_records" not in text] == []


def test_the_first_sample_only_says_from_when_on_the_load_is_known() -> None:
    bench = Bench(Fake([session()], [session()]))
    assert bench.values() == {}
    bench.tick()
    assert ("mlflow_db_load_seconds_total", "cpu", "mlflow") not in bench.values()
    bench.tick(1.25)
    assert bench.values()["mlflow_db_load_seconds_total", "cpu", "mlflow"] == 1.25


def test_a_gap_is_missed_and_not_invented() -> None:
    bench = Bench(Fake([session()], [session()]))
    bench.tick()
    bench.tick(60)
    assert bench.values()["mlflow_db_load_seconds_total", "cpu", "mlflow"] == 2.0
    assert bench.values()["mlflow_db_load_sampled_seconds_total",] == 2.0


def test_connecting_is_tried_again_after_1_2_4_8_and_then_every_15_seconds() -> None:
    bench = Bench()
    for _ in range(60):
        bench.tick()
    assert bench.tries == [1, 2, 4, 8, 16, 31, 46]
    assert bench.values()["mlflow_exporter_collector_errors_total", "load", "unreachable"] == 60


def test_a_lost_connection_is_replaced_and_the_counters_go_on() -> None:
    lost = SourceError(Reason.UNREACHABLE, "gone")
    bench = Bench(Fake([session()], [session()], lost), Fake([session()]))
    for _ in range(5):
        bench.tick()
    assert bench.tries == [1, 4]
    # Of the three seconds between the second and the next good sample two are taken as known.
    assert bench.values()["mlflow_db_load_seconds_total", "cpu", "mlflow"] == 3.0
    assert bench.values()["mlflow_exporter_collector_success", "load"] == 1.0


def test_a_late_answer_is_dropped_and_nothing_is_asked_before_it_has_come() -> None:
    link = Fake([NOBODY], None, None, [session(sessions=50)], [session()])
    bench = Bench(link)
    for _ in range(3):
        bench.tick()
    assert link.asked == 2
    bench.tick()
    assert link.asked == 3
    assert bench.values()["mlflow_db_load_seconds_total", "cpu", "mlflow"] == 2.0
    assert bench.values()["mlflow_exporter_collector_errors_total", "load", "timeout"] == 2
    assert bench.tries == [1]


def test_a_look_that_fails_late_is_not_counted_twice() -> None:
    link = Fake([NOBODY], None, SourceError(Reason.TIMEOUT, "cancelled"), [session()])
    bench = Bench(link)
    for _ in range(3):
        bench.tick()
    assert bench.values()["mlflow_exporter_collector_errors_total", "load", "timeout"] == 1
    assert bench.values()["mlflow_exporter_collector_success", "load"] == 1.0


def test_a_connection_that_is_long_silent_is_given_up_as_soon_as_another_can_be_had() -> None:
    link = Fake([NOBODY], *[None] * 60)
    bench = Bench(link, None, Fake())
    for _ in range(17):
        bench.tick()
    assert link.is_open
    bench.tick()
    assert not link.is_open
    assert bench.tries == [1, 9, 18]
    assert bench.values()["mlflow_exporter_collector_success", "load"] == 1.0


def test_whether_it_works_is_not_said_when_no_tick_has_ended_for_three_intervals() -> None:
    bench = Bench(Fake())
    bench.tick()
    assert bench.values()["mlflow_exporter_collector_success", "load"] == 1.0
    bench.now += 3
    assert ("mlflow_exporter_collector_success", "load") not in bench.values()


def test_a_permission_is_logged_once_with_its_remedy(caplog: pytest.LogCaptureFixture) -> None:
    unseen: list[Row] = [session(None, hidden=True)]
    bench = Bench(Fake(unseen, unseen, unseen))
    for _ in range(3):
        bench.tick()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "GRANT pg_read_all_stats" in caplog.text
    assert bench.values() == {("mlflow_exporter_collector_errors_total", "load", "permission"): 3.0}


def test_close_gives_the_connection_back() -> None:
    link = Fake()
    bench = Bench(link)
    bench.tick()
    bench.sampler.close()
    assert not link.is_open


class Slow(Fake):
    """A link that is asked while the test does something else."""

    during: Callable[[], None]

    def wait(self, ticket: Ticket, deadline: float) -> list[Row]:
        self.during()
        return super().wait(ticket, deadline)


def test_close_and_samples_wait_for_no_tick_and_the_tick_gives_the_connection_back() -> None:
    link = Slow()
    bench = Bench(link)
    still_open: list[bool] = []

    def look_and_close() -> None:
        list(bench.sampler.samples())
        bench.sampler.close()

    def meanwhile() -> None:
        other = threading.Thread(target=look_and_close)
        other.start()
        other.join(5)
        still_open.append(link.is_open and not other.is_alive())

    link.during = meanwhile
    bench.tick()
    assert still_open == [True]
    assert not link.is_open


def test_a_tick_that_begins_after_close_opens_no_connection() -> None:
    bench = Bench(Fake())
    bench.sampler.close()
    bench.tick()
    assert bench.tries == []
