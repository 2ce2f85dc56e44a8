"""The printed SQL of `grants`: its names, and that it says what `check` says."""

from __future__ import annotations

import re

import pytest

from exporter import queries
from exporter.cli import main
from exporter.reports.grants import SERVICES, grants
from exporter.rights import MONITOR, PLANNED, READ, STORE, filled

pytestmark = pytest.mark.unit


def statements(text: str) -> list[str]:
    """Return the SQL without its comments, one statement a line."""
    return [line.partition(";")[0] for line in text.splitlines() if line and not line.startswith("--")]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_an_option_and_gets_statements_with_their_reasons(
    service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grants", "--for", service]) == 0
    shown = capsys.readouterr().out
    assert shown == grants("exporter", "mlflow", "public", service)
    assert all(len(line) <= 120 for line in shown.splitlines() if line.startswith("--"))
    assert "PASSWORD" not in shown
    assert not any("pg_signal_backend" in statement for statement in statements(shown))


def test_what_check_advises_is_what_grants_prints() -> None:
    names = {"role": '"exporter"', "store": '"public"'}
    printed = statements(grants("exporter", "mlflow", "public", "postgres"))
    advised, _, remark = filled(MONITOR, names).partition(";")
    assert advised in printed
    for service in SERVICES.keys() - {"postgres"}:
        (managed,) = re.findall("GRANT (pg_.*) TO", grants("exporter", "mlflow", "public", service))
        assert managed in remark
    (listed,) = re.findall("GRANT SELECT ON (.*) TO", filled(STORE, names))
    tables = {line.split()[3] for line in printed if line.startswith("GRANT SELECT")}
    assert set(listed.split(", ")) == {f'"public".{table.name}' for table in READ}
    assert tables - set(listed.split(", ")) == {f'"public".{table.name}' for table in PLANNED}


def test_a_role_that_is_there_is_altered_and_all_else_is_the_same() -> None:
    new = statements(grants("exporter", "mlflow", "public", "postgres"))
    existing = statements(grants("exporter", "mlflow", "public", "postgres", existing=True))
    assert [one.replace("ALTER ROLE", "CREATE ROLE", 1) for one in existing[:1]] + existing[1:] == new
    assert existing[0].startswith("ALTER ROLE")


def test_every_table_that_our_queries_name_is_granted() -> None:
    named = {
        found
        for query, variants in queries.variants().items()
        for least, _ in variants
        for found in re.findall(rb"\{store\}\.(\w+)", queries.sql(query, least) or b"")
    }
    assert named == {table.name.encode() for table in READ}


def test_a_name_is_quoted_wherever_it_stands_and_is_never_broken() -> None:
    role, schema = """o'brien"x {schema}""", "two words " * 3
    text = grants(role, "db", schema, "rds")
    quoted = '''"o'brien""x {schema}"'''
    assert f"CREATE ROLE {quoted} LOGIN" in text
    assert f"\\password {quoted}\n" in text
    assert all(quoted in line or "EXTENSION" in line for line in statements(text))
    assert f'GRANT USAGE ON SCHEMA "{schema}" TO {quoted}' in text


@pytest.mark.parametrize("name", ["", "x" * 64, "a\nDROP TABLE runs;", "a\x00b"])
def test_a_name_that_postgres_or_a_comment_could_not_take_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["grants", "--role", name])
    assert ended.value.code == 2
    assert "is not a name in Postgres" in capsys.readouterr().err
