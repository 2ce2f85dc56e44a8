"""Backend URIs, as SQLAlchemy and libpq read them."""

from __future__ import annotations

import pytest

from exporter.backend import Backend, backend_of, with_libpq_environment
from exporter.secret import Secret

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "postgresql://mlflow:pw@db:5433/store",
            Backend("postgresql", "db", 5433, "store", "mlflow", Secret("pw")),
        ),
        ("postgres://u:p@db/store", Backend("postgresql", "db", 0, "store", "u", Secret("p"))),
        ("postgresql+psycopg2://u@[::1]:5432/s", Backend("postgresql", "::1", 5432, "s", "u")),
        (
            "postgresql+psycopg://a%40b:p%2Fw%25%40@db/s?sslmode=verify-full&application_name=mlflow",
            Backend("postgresql", "db", 0, "s", "a@b", Secret("p/w%@"), "verify-full"),
        ),
        (
            "postgresql://u@/s?host=/var/run/postgresql&port=6432",
            Backend("postgresql", "/var/run/postgresql", 6432, "s", "u"),
        ),
        (
            "postgresql://x/y?user=u&password=p%26q&dbname=s&host=h1:1,h2:2",
            Backend("postgresql", "h1", 1, "s", "u", Secret("p&q")),
        ),
        (
            "postgresql://db/s?sslrootcert=/etc/shadow&passfile=/etc/shadow",
            Backend("postgresql", "db", 0, "s"),
        ),
        ("postgresql://db:99999/s?sslmode=nonsense", Backend("postgresql", "db", 0, "s")),
        (
            "mysql+pymysql://u:p@db:3307/s?charset=utf8mb4",
            Backend("mysql", "db", 3307, "s", "u", Secret("p")),
        ),
        ("mariadb+mariadbconnector://u:p@db/s", Backend("mariadb", "db", 0, "s", "u", Secret("p"))),
        ("mssql+pyodbc://u:p@db:1433/s?driver=ODBC+18", Backend("mssql", "db", 1433, "s", "u", Secret("p"))),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dx", Backend("mssql")),
        ("sqlite:///mlflow.db", Backend("sqlite", path="/srv/ml/mlflow.db")),
        ("sqlite:////data/mlflow.db?timeout=5", Backend("sqlite", path="/data/mlflow.db")),
        ("sqlite://", Backend("sqlite")),
        ("sqlite:///:memory:", Backend("sqlite")),
        ("file:///srv/mlruns", Backend("file")),
        ("./mlruns", Backend("file")),
        ("databricks://profile", Backend("other")),
    ],
)
def test_uri_gives_what_a_client_needs_and_no_more(uri: str, expected: Backend) -> None:
    assert backend_of(uri, "/srv/ml") == expected


def test_relative_sqlite_file_of_an_unknown_directory_has_no_path() -> None:
    assert backend_of("sqlite:///mlflow.db") == Backend("sqlite")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "://:s3cret@",
        "postgresql://u:s3cret@host:port/db",
        "postgresql://u:s3cret@[::1/db",
        "postgresql://u:s3cret@a@b@c:/d?e=%zz&&=&password",
        "postgresql://u:s3cret%ff@\udcff\x00/\ud800",
        "\x00" * 100 + "://s3cret",
        "p" * 100_000 + "://s3cret",
    ],
)
def test_broken_uris_neither_raise_nor_show_their_password(uri: str) -> None:
    assert "s3cret" not in repr(backend_of(uri, "/srv"))


def test_libpq_environment_fills_only_what_the_uri_leaves_open() -> None:
    environ = {
        "PGHOST": "elsewhere",
        "PGPORT": "6000",
        "PGUSER": "someone",
        "PGPASSWORD": "pw",
        "PGSSLMODE": "require",
        "PGSSLCERT": "/etc/shadow",
    }
    assert with_libpq_environment(backend_of("postgresql://db/s"), environ, "owner") == Backend(
        "postgresql", "db", 6000, "s", "someone", Secret("pw"), "require"
    )
    assert with_libpq_environment(backend_of("postgresql://db/s"), {}, "owner").user == "owner"
    assert with_libpq_environment(backend_of("mysql://db/s"), environ, "owner") == backend_of("mysql://db/s")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:p@ssW0rd-tail@db/tracking",  # SQLAlchemy takes ssW0rd-tail@db as the host
        "postgresql://u%00:x@db/tracking",  # libpq would stop reading at the NUL, before the password
        "postgresql://u:x%00@db/tracking",
        "postgresql://u:x@db/tracking?host=evil%00",
    ],
)
def test_what_could_show_a_password_or_cut_what_libpq_is_told_is_no_backend(uri: str) -> None:
    assert backend_of(uri) == Backend("other")
