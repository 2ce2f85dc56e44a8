"""A password in any form of DSN, whole or broken: neither it nor six characters of it are ever shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn

from exporter.backend import backend_of
from exporter.collector import Reason, SourceError
from exporter.logs import Formatter
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres_errors import connect_error
from tests.fuzz.cases import holds
from tests.fuzz.inputs import fragments, secrets

pytestmark = pytest.mark.fuzz


def escaped(password: str) -> str:
    return password.replace("\\", "\\\\").replace("'", "\\'")


# Of libpq, of SQLAlchemy and of Prometheus' postgres_exporter, as they should be, encoded as each needs.
URIS = (
    "postgresql://mlflow:{}@db.example:5432/mlflow",
    "postgres://mlflow:{}@db.example/mlflow?sslmode=require&connect_timeout=3",
    "postgresql+psycopg2://mlflow:{}@/mlflow?host=/run/postgresql",
    "postgresql://mlflow:{}@a:5432,b:5433,[::1]:5434/mlflow?target_session_attrs=primary",
    "postgresql://db.example/mlflow?user=mlflow&password={}",
    "postgresql://db.example/mlflow?password={}&sslmode=disable",
    "postgresql://db.example/mlflow?sslkey=k&sslpassword={}",
    "postgresql://:{}@db.example",
)
PAIRS = (
    "host=db.example port=5432 dbname=mlflow user=mlflow password='{}'",
    "password = '{}' host=db.example",
    "host=a,b port=5432,5433 user='ml flow' password='{}' dbname='ml flow'",
    "host=db.example sslpassword='{}' user=x",
    "PASSWORD='{}' host=db.example",
)
UNQUOTED = (
    "host=db.example password={} user=mlflow",
    "password={}",
    "user=mlflow password={} host=db.example",
)


@st.composite
def dsns(draw: st.DrawFn, secret: str) -> str:
    """Return a DSN with this password, as it should be."""
    match draw(st.integers(0, 2)):
        case 0:
            return draw(st.sampled_from(URIS)).format(quote(secret, safe=""))
        case 1:
            return draw(st.sampled_from(PAIRS)).format(escaped(secret))
        case _:
            flat = escaped(secret).replace(" ", "\\ ")
            return draw(st.sampled_from(UNQUOTED)).format(flat)


@st.composite
def broken(draw: st.DrawFn, secret: str) -> str:
    """Return a DSN with this password in it as it is, not encoded, with what is around it changed.

    What follows a URI's password stays: `//u:one@two` is one, of a host that is called `two`.
    """
    before, _, after = draw(st.sampled_from((*URIS, *PAIRS, *UNQUOTED))).partition("{}")
    sign = draw(st.sampled_from(("", "'", '"', " ", "@", "/", ":", "?", "%", "\\", "&", "\n")))
    changed = [(before, after), (before + sign, after), (before[draw(st.integers(0, 6)) :], after)]
    if "@" not in after:
        changed += [(before, sign + after), (before, after[draw(st.integers(0, 6)) :]), (before, "")]
    return secret.join(draw(st.sampled_from(changed)))


@st.composite
def told(draw: st.DrawFn) -> tuple[str, str, str]:
    """Return a password, a DSN that has it and the same as it should be."""
    secret = draw(secrets)
    return secret, draw(broken(secret)), draw(dsns(secret))


def spoken(dsn: str) -> Iterator[str]:
    """Yield all that the exporter says of a DSN."""
    try:
        target = Target.from_dsn(Secret(dsn), Secret(""), "", ())
    except SourceError as error:
        assert error.__cause__ is error.__context__ is None
        yield from (str(error), repr(error), error.detail, error.remedy)
    else:
        yield from (repr(target), str(target), target.place, f"{target}")
        yield target.exact(SourceError(Reason.PERMISSION, "no", "ALTER ROLE {role}")).remedy
    backend = backend_of(dsn)
    yield repr(backend)
    if backend.dialect == "postgresql":
        found = Target.from_backend(backend)
        yield from (repr(found), found.place)


GOOD = "host=db.example"


@holds(
    share=2,
    was_wrong={
        "an option beside the password is one too": {
            "given": ("QZ5755557Z", GOOD, PAIRS[3].format("QZ5755557Z"))
        },
        "a ? after the @ in a password began what libpq ignores": {
            "given": ("QZ57@55555?57Z", "postgresql://mlflow:QZ57@55555?57Z@db.example:5432/mlflow", GOOD)
        },
        "an @ in the database was the rest of a password": {
            "given": ("QZ57@h/5557Z", "postgresql://mlflow:QZ57@h/5557Z@db.example:5432/mlflow", GOOD)
        },
        "several hosts, which SQLAlchemy cannot read, hid the @": {
            "given": ("QZ5755?57Z", "postgresql://mlflow:/QZ5755?57Z@a:5432,b:5433/mlflow", GOOD)
        },
    },
    given=told(),
)
def test_what_is_said_of_a_dsn_has_nothing_of_its_password(given: tuple[str, str, str]) -> None:
    secret, bad, good = given
    for dsn in (bad, good):
        for text in spoken(dsn):
            assert fragments(secret, text) == [], (dsn, text)


def logged(message: str, *args: object, error: Exception | None = None) -> str:
    info: Any = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("exporter", logging.ERROR, "f", 1, message, args, info)
    return Formatter("%(asctime)s level=%(levelname)s %(message)s").format(record)


AROUND = (
    *(
        "%s",
        "cannot parse %s",
        'bad DSN "%s", see the manual',
        "dsn '%s'",
        "[%s]",
        "cannot use %r",
        "{'dsn': %r}",
    ),
    *("connection to <%s> failed", "%s\n%s"),
)


@holds(
    share=2,
    was_wrong={
        "without quotes a value goes on after & and quotes": {
            "given": ("QZ57&'5557Z", "", "host=db.example password=QZ57&'5557Z user=mlflow"),
            "around": "%s",
        },
    },
    given=told(),
    around=st.sampled_from(AROUND),
)
def test_no_log_line_has_anything_of_a_password_in_a_dsn(given: tuple[str, str, str], around: str) -> None:
    secret, _, dsn = given
    text = around % ((dsn,) * (around.count("%s") + around.count("%r")))
    assert fragments(secret, logged("%s", text)) == [], text
    try:
        raise ValueError(text)
    except ValueError as error:
        assert fragments(secret, logged("failed", error=error)) == [], text


@holds(given=told())
def test_what_libpq_says_of_a_connect_that_fails_has_nothing_of_a_password(
    given: tuple[str, str, str],
) -> None:
    secret, bad, good = given
    for dsn in (bad, good):
        try:
            conninfo = Target.from_dsn(Secret(dsn), Secret(""), "", ()).conninfo().decode()
        except SourceError:
            continue
        nowhere = make_conninfo(conninfo, host="127.0.0.1", hostaddr="127.0.0.1", port=1)
        connection = PGconn.connect(nowhere.encode())
        error = connect_error(connection.get_error_message())
        connection.finish()
        for text in (error.detail, error.remedy, logged("%s", error)):
            assert fragments(secret, text) == [], (dsn, text)
