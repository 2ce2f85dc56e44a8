"""Names of database hosts, resolved before libpq gets them."""

from __future__ import annotations

import pytest
from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict

from exporter.sources.names import resolved

pytestmark = pytest.mark.unit

NAMELESS = "x" * 64  # no name service is asked for a label of more than 63


def test_a_name_stays_beside_its_addresses() -> None:
    found = conninfo_to_dict(resolved(b"host=localhost port=6432 dbname=mlflow").decode())
    assert str(found["host"]).split(",")[0] == "localhost"
    assert "127.0.0.1" in str(found["hostaddr"]).split(",")
    assert set(str(found["port"]).split(",")) == {"6432"}
    assert found["dbname"] == "mlflow"


@pytest.mark.parametrize(
    "conninfo",
    [
        "host=/run/postgresql dbname=mlflow",
        "dbname=mlflow",
        "host=db hostaddr=192.0.2.1",
        "host=a,b,c port=1,2",
        "host=fe80::1%lo dbname=mlflow",
        "host=192.0.2.1,fe80::1%lo,/run/postgresql",
        f"host={NAMELESS} service=mlflow",
    ],
)
def test_what_needs_no_name_service_is_left_as_it_is(conninfo: str) -> None:
    assert resolved(conninfo.encode()) == conninfo.encode()


@pytest.mark.parametrize(
    ("variable", "value"), [("PGSERVICE", "mlflow"), ("PGHOSTADDR", "192.0.2.1"), ("PGPORT", "6432,6433")]
)
def test_hosts_of_which_the_environment_knows_more_are_left_to_libpq(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    conninfo = b"host=localhost,localhost dbname=mlflow"
    assert resolved(conninfo) == conninfo


def test_a_port_that_is_not_given_is_the_one_that_libpq_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6432")
    found = conninfo_to_dict(resolved(b"host=localhost dbname=mlflow").decode())
    assert "127.0.0.1" in str(found["hostaddr"]).split(",")
    assert "port" not in found


def test_an_address_of_a_link_keeps_its_link_beside_a_name() -> None:
    found = conninfo_to_dict(resolved(b"host=fe80::1%lo,localhost port=1,2").decode())
    assert str(found["hostaddr"]).split(",")[0] == "fe80::1%lo"


def test_each_host_of_several_keeps_its_port_and_one_that_is_unknown_is_left_out() -> None:
    several = f"host=127.0.0.1,{NAMELESS},/run/postgresql port=1,2,3"
    found = conninfo_to_dict(resolved(several.encode()).decode())
    assert (found["host"], found["hostaddr"], found["port"]) == (
        "127.0.0.1,/run/postgresql",
        "127.0.0.1,",
        "1,3",
    )


def test_an_unknown_name_fails_as_libpq_says_it() -> None:
    with pytest.raises(OperationalError, match=f'could not translate host name "{NAMELESS}" to address'):
        resolved(f"host={NAMELESS}".encode())
