from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from exporter.statements import FAMILIES, KNOWN, OPERATIONS, RULES, TABLES, Statement, classify

pytestmark = pytest.mark.unit

CORPUS = sorted((Path(__file__).parents[1] / "golden/statements").glob("*.tsv"))
HISTORY = "SELECT metrics.key AS metrics_key FROM metrics WHERE metrics.run_uuid = {} AND metrics.key = {}"


def corpus(file: Path) -> list[tuple[str, bool, Statement]]:
    lines = [line.split("\t") for line in file.read_text().splitlines() if not line.startswith("#")]
    return [
        (text, level == "top", Statement(operation, table.removeprefix("-"), access == "write"))
        for operation, table, access, level, text in lines
    ]


def keys(number: int, cast: str) -> str:
    return ", ".join(f"${position}{cast}" for position in range(2, number + 2))


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_every_statement_of_a_real_server_has_its_class(file: Path) -> None:
    statements = corpus(file)
    wrong = [
        (classify(text, toplevel), expected, text)
        for text, toplevel, expected in statements
        if classify(text, toplevel) != expected
    ]
    assert not wrong
    assert len(statements) > 50


def test_the_corpus_has_every_operation_of_a_tracking_server() -> None:
    seen = {expected.operation for file in CORPUS for _, _, expected in corpus(file)}
    assert seen == OPERATIONS.keys() - {"exporter", "nested", "other"}


@pytest.mark.parametrize("cast", ["", "::VARCHAR"])
@pytest.mark.parametrize("cut", [100_000, 1_024])
def test_a_logging_call_is_told_from_the_lock_after_it_whatever_the_number_of_keys(
    cast: str, cut: int
) -> None:
    where = f"WHERE latest_metrics.run_uuid = $1{cast} AND latest_metrics.key IN ({keys(500, cast)})"
    asked = f"SELECT latest_metrics.key AS latest_metrics_key \nFROM latest_metrics \n{where}"
    locked = (
        "SELECT latest_metrics.key AS latest_metrics_key, latest_metrics.value AS latest_metrics_value, "
        f"latest_metrics.run_uuid AS latest_metrics_run_uuid \nFROM latest_metrics \n{where}"
        " ORDER BY latest_metrics.run_uuid, latest_metrics.key FOR UPDATE"
    )
    assert classify(asked[:cut]) == Statement("log_metrics", "latest_metrics", False)
    assert classify(locked[:cut]) == Statement("log_metrics", "latest_metrics", True)


def test_an_insert_of_a_thousand_rows_is_one_of_metrics() -> None:
    rows = ", ".join(f"(${n}, ${n + 1}, ${n + 2})" for n in range(1, 3000, 3))
    text = f"INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES {rows}"
    assert classify(text) == Statement("log_metrics", "metrics", True)


@pytest.mark.parametrize("constant", ["$1", "$1::VARCHAR", "'abc'", "E'a\\\\b'", "'it''s'", "''"])
def test_constants_and_parameters_give_the_same_class(constant: str) -> None:
    assert classify(HISTORY.format(constant, constant)) == Statement("metric_history", "metrics", False)


def test_what_a_constant_holds_is_not_read() -> None:
    hostile = (
        "' FROM latest_metrics FOR UPDATE mlflow_db_x metrics.is_nan = ONLY OPERATOR(pg_catalog.=) /* --'"
    )
    assert classify(HISTORY.format("'a'", hostile)) == Statement("metric_history", "metrics", False)
    assert classify(HISTORY.format("'a'", hostile[:-1])) == Statement("metric_history", "metrics", False)


@pytest.mark.parametrize("value", ["'mlflow-exporter'", "'mlflow_db_x'", "'-- mlflow-exporter'"])
def test_a_users_value_cannot_make_a_statement_ours(value: str) -> None:
    assert classify(f"INSERT INTO params (key) VALUES ({value})").operation == "log_params"


@pytest.mark.parametrize(
    "comment",
    ["/* app='x',route='/api' */ ", "-- one\n  -- two\n", "/* it's * ** */\n\t", "-- don't\n", "  \n"],
)
def test_comments_and_blanks_before_a_statement_are_skipped(comment: str) -> None:
    assert (
        classify(f"{comment}UPDATE  runs\n SET status=$1 WHERE runs.run_uuid = $2").operation == "update_run"
    )


@pytest.mark.parametrize(
    "text",
    [
        "select * from runs",
        "SELECT * FROM metrics WHERE key = $1",
        "SELECT r.run_uuid FROM runs r JOIN metrics m ON m.run_uuid = r.run_uuid",
        "select count(*) from latest_metrics where latest_metrics.key = $1",
        "SELECT orders.id FROM orders WHERE orders.id = $1",
        "FETCH 100 FROM c1",
        "<insufficient privilege>",
        "",
    ],
)
def test_what_mlflow_did_not_write_is_other(text: str) -> None:
    assert classify(text) == Statement("other", "", False)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO orders VALUES ($1)",
        "COPY orders FROM STDIN",
        "SELECT o.id FROM orders o FOR UPDATE",
        "VACUUM metrics",
        "merge into orders using x on true when matched then delete",
    ],
)
def test_other_statements_that_write_say_so(text: str) -> None:
    assert classify(text) == Statement("other", "", True)


@pytest.mark.parametrize(
    "text",
    [
        "-- mlflow-exporter: texts\nselect queryid, left(query, $1) from pg_stat_statements",
        "select sum(numbackends) as mlflow_db_connections from pg_stat_database",
        "select count(*) as mlflow_store_runs from runs where runs.status = $1",
        "-- the server's limit isn't ours\nselect 1 as mlflow_db_statements_limit",
        "select set_config($1, $2, $3), set_config($4, $5, $6)",
    ],
)
def test_our_own_statements_are_the_exporters(text: str) -> None:
    assert classify(text) == Statement("exporter", "", False)


@pytest.mark.parametrize("text", [";", "SELECT 1", "SELECT $1", "select 1;"])
def test_a_check_of_a_connection_is_a_ping(text: str) -> None:
    assert classify(text) == Statement("ping", "", False)


@pytest.mark.parametrize("text", ["COMMIT", "commit;", "END", "COMMIT AND CHAIN"])
def test_a_commit_writes(text: str) -> None:
    assert classify(text) == Statement("commit", "", True)


@pytest.mark.parametrize(
    "text", ["BEGIN", "begin;", "ROLLBACK", "ROLLBACK TO SAVEPOINT a", 'RELEASE "_pg3_1"']
)
def test_the_rest_of_a_transaction_does_not_write(text: str) -> None:
    assert classify(text) == Statement("transaction", "", False)


def test_a_statement_inside_a_function_is_nested_but_a_foreign_keys_check_is_known_at_any_level() -> None:
    check = (
        'SELECT $2 FROM ONLY "public"."runs" x WHERE "run_uuid" OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF x'
    )
    insert = "INSERT INTO metrics (key) VALUES ($1)"
    assert classify(insert, toplevel=False) == Statement("nested", "", True)
    assert classify(HISTORY.format("$1", "$2"), toplevel=False) == Statement("nested", "", False)
    assert classify(check, toplevel=False) == classify(check) == Statement("fk_check", "", True)


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "'",
            "''",
            "/*",
            "/* ",
            "*/",
            "--",
            "(",
            "((SELECT ",
            " FROM a",
            " FROM (",
            " JOIN x.",
            "$1, ",
            "é'",
            "\x00",
        ),
        *(
            "SELECT DISTINCT ",
            "SELECT metrics.",
            " metrics.is_nan =",
            "set_config(",
            " FOR ",
            "\n",
            "SELECT a FROM ONLY ",
        ),
    ],
)
def test_any_text_has_a_class_with_known_labels(piece: str) -> None:
    for start, toplevel in itertools.product(
        ["", "SELECT ", "/*", "SELECT metrics.key", "DELETE FROM "], [True, False]
    ):
        found = classify(start + piece * 50_000, toplevel)
        assert found.operation in OPERATIONS
        assert found.table in TABLES | {"", "other"}


def test_only_the_first_two_thousand_characters_count() -> None:
    text = f"SELECT {'x' * 2_000} FROM runs"
    assert classify(text) == classify(text[:2_000]) == Statement("other", "", False)


def test_rules_name_known_operations_and_tables_of_a_family() -> None:
    ruled = {operation for rules in RULES.values() for operation, _ in rules}
    families = {operation for operation, _ in FAMILIES} | {known.operation for known in KNOWN}
    assert ruled | families <= OPERATIONS.keys()
    for table in RULES.keys() | TABLES | {known.table for known in KNOWN if known.table}:
        assert any(tables.fullmatch(table) for _, tables in FAMILIES), table
