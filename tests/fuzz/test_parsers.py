"""What else is taken apart: plans, matchers, expressions, the environment of a process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from exporter.backend import DIALECTS, SSL_MODES, backend_of, with_libpq_environment
from exporter.collector import Reason, SourceError
from exporter.pack.matchers import parsed
from exporter.pack.thresholds import places
from exporter.plans import Index, Scan, Table, advise, answers
from exporter.sources.conninfo import Target
from tests.fuzz.cases import holds
from tests.fuzz.inputs import anything, joined, mutated

pytestmark = pytest.mark.fuzz

GOLDEN = Path(__file__).parents[1] / "golden/plans"
PLANS = tuple(file.read_text(encoding="utf-8") for file in sorted(GOLDEN.glob("*.json")))
CONDITIONS = (
    "(",
    ")",
    " AND ",
    " OR ",
    " = ",
    "$1",
    "runs.",
    "experiment_id",
    "::text",
    "'x'",
    "'",
    '"',
    " <> ",
    "((a)::text = $1)",
)
# What Postgres itself puts into a plan, at which text anybody may have had a part: names, and constants in conditions.
nodes: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.fixed_dictionaries(
        {
            "Node Type": st.sampled_from(
                ("Seq Scan", "Index Scan", "Bitmap Heap Scan", "BitmapAnd", "Gather", "CTE Scan")
            )
        },
        optional={
            "Relation Name": st.one_of(st.sampled_from(("runs", "metrics")), anything),
            "Index Name": anything,
            "Filter": joined(CONDITIONS, 12),
            "Workers Planned": st.integers(0, 1024),
            "Parallel Aware": st.booleans(),
        },
    ).map(lambda node: node | {"Plan Rows": 5.0}),
    lambda inner: st.tuples(inner, st.lists(inner, min_size=1, max_size=3)).map(
        lambda two: two[0] | {"Plans": two[1]}
    ),
    max_leaves=8,
)


@holds(plan=nodes, index=st.lists(st.sampled_from(("experiment_id", "", "key")), min_size=1, max_size=3))
def test_any_plan_has_its_scans_and_each_its_advice(plan: dict[str, Any], index: list[str]) -> None:
    (scans,) = answers(json.dumps([[{"Plan": plan}]]))
    assert isinstance(scans, tuple)
    for scan in scans:
        assert isinstance(scan, Scan)
        table = Table(scan.table, 1e6, 1e9, (Index("i", tuple(index), False, True, 0),))
        if told := advise(scan, table):
            assert told.says


@holds(
    share=0.3,
    was_wrong={"an object without its message": {"text": '[{"sqlstate": "42501"}]'}},
    text=mutated(PLANS, ('"', "{", "}", "null", "[", "]", ",", "1e999", "Plan")),
)
def test_an_answer_that_is_no_plan_is_a_failure_with_a_name(text: str) -> None:
    try:
        found = answers(text)
    except SourceError as error:
        assert error.reason is Reason.BAD_ANSWER
    else:
        assert all(isinstance(one, tuple | SourceError) for one in found)


MATCHERS = ('cause="open-files"', 'severity =~ "critical|warning"', 'a!="b"', "a!~''")


@holds(text=st.one_of(mutated(MATCHERS, ('"', "=", "~", "\\", "{", "\n")), anything))
def test_any_matcher_is_taken_apart_into_what_it_says_or_refused(text: str) -> None:
    try:
        ((name, how, value),) = parsed([text])
    except ValueError as error:
        assert "is no matcher" in str(error)
    else:
        assert "".join(f'{name}{how}"{value}"'.split()) == "".join(text.split())


EXPRESSIONS = (
    "sum by (job) (rate(x_total[5m])) / 0.3 > 1",
    'mlflow:x{a="1.5"} > 2e-3 # 4',
    "max_over_time(a[1h30m] offset 5m) * .5",
)


@holds(
    text=st.one_of(
        mutated(EXPRESSIONS, ('"', "1", ".", "e", "#", "\n", "[")), joined((*'"\\1.e#[]\n mh', "a1"), 30)
    )
)
def test_the_numbers_of_any_expression_stand_where_they_are_said_to(text: str) -> None:
    for start, end in places(text):
        assert float(text[start:end]) >= 0


URIS = (
    "postgresql+psycopg2://mlflow:hunter2@db.example:5432/mlflow?sslmode=require&host=/run/x",
    "postgresql://u@[::1]:5432/d?host=a:1,b:2&port=3,4&user=x&password=y&passfile=/root/.pgpass&sslkey=/k&service=s",
    "sqlite:////srv/mlflow.db",
    "mysql://u:p@h/d?ssl_ca=/x",
)
PARTS = (
    *"@:/?#%&=[],\0\n'\" \\",
    "%00",
    "%40",
    "..",
    "://",
    "host=",
    "options=",
    "passfile=/x",
    "hostaddr=",
    "²",
)
LIBPQ = (
    "PGHOST",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGSSLMODE",
    "PGPASSFILE",
    "PGSERVICE",
    "PGOPTIONS",
)


@holds(
    share=2,
    uri=st.one_of(mutated(URIS, PARTS), mutated(URIS, PARTS), joined(PARTS, 20), anything),
    environ=st.dictionaries(st.sampled_from(LIBPQ), anything, max_size=4),
    cwd=st.sampled_from(("", "/srv", "relative")),
)
def test_of_any_uri_of_a_process_only_what_a_client_needs_is_taken(
    uri: str, environ: Mapping[str, str], cwd: str
) -> None:
    backend = backend_of(uri, cwd)
    assert backend.dialect in {*DIALECTS.values(), "other"}
    assert 0 <= backend.port < 65536
    assert backend.sslmode in (*SSL_MODES, "")
    assert backend.path == "" or backend.path.startswith("/")
    backend = with_libpq_environment(backend, environ, "mlflow")
    if backend.dialect == "postgresql":
        options = dict(Target.from_backend(backend).options)
        assert options.keys() <= {
            "host",
            "port",
            "dbname",
            "user",
            "sslmode",
            "passfile",
            "sslcertmode",
            "gssencmode",
            "require_auth",
        }
        assert options["passfile"] == "/dev/null/none"
