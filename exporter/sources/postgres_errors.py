"""What an error of Postgres means for an operator: a reason, and the statement or setting that mends it."""

from __future__ import annotations

import re

from exporter.collector import Reason, SourceError
from exporter.exhausted import without_descriptor
from exporter.rights import GRANTS, MONITOR, STORE

UPDATE = "ALTER EXTENSION pg_stat_statements UPDATE;  -- pg_upgrade leaves the old version's columns"
FORGET = (
    "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE pg_encoding_to_char(encoding) = 'SQL_ASCII';"
    "  -- forgets the statements of databases without an encoding, where a text is no UTF-8"
)
PRELOAD = (
    "shared_preload_libraries = 'pg_stat_statements'  -- postgresql.conf or parameter group, then restart"
)

# SQLSTATE, or its class, to a reason; the longest match wins.
REASONS = {
    "08": Reason.UNREACHABLE,
    "42501": Reason.PERMISSION,
    "28": Reason.PERMISSION,
    "42": Reason.UNSUPPORTED,  # a table, column or function that this server does not have
    "0A": Reason.UNSUPPORTED,
    "55000": Reason.UNSUPPORTED,  # pg_stat_statements installed but not preloaded
    "55P03": Reason.BUSY,  # lock_timeout: somebody has locked the table
    "57014": Reason.TIMEOUT,  # statement_timeout
    "57P": Reason.UNREACHABLE,  # shutting down, starting up, killed by an administrator
    "53": Reason.UNREACHABLE,  # out of connections, memory or disk
    "58": Reason.UNREACHABLE,
    "40001": Reason.BUSY,  # a standby cancelled us in favour of recovery
}


def query_error(query: str, sqlstate: str, message: str) -> SourceError:
    """Translate the error of one query of ours; the messages of our own statements hold no user's data."""
    matches = [prefix for prefix in REASONS if sqlstate.startswith(prefix)]
    reason = REASONS[max(matches, key=len)] if matches else Reason.BAD_ANSWER
    state = f" (SQLSTATE {sqlstate})" if sqlstate else ""
    return SourceError(reason, f"{query}: {message}{state}", _remedy(query, reason, sqlstate, message))


def _remedy(query: str, reason: Reason, sqlstate: str, message: str) -> str:
    """Return what mends it; `{role}` and `{store}` stand for names that the session knows."""
    if query.startswith("statement"):
        if sqlstate in ("55000", "42704"):  # not prerequisite, or its parameters are unknown
            return PRELOAD
        if reason is Reason.UNSUPPORTED:
            return UPDATE
        if sqlstate == "22021":  # the view checks the texts of all databases before it gives those of one
            return FORGET
    if reason is Reason.PERMISSION and query.startswith(("store", "schema", "writers")):
        return STORE  # whole, or the next one of these tables would be refused five minutes later
    if reason is Reason.PERMISSION:
        # A name that is one word, or it is no statement to be copied.
        table = re.search(r"(?:table|relation) (\w+)\Z", message)
        return f"GRANT SELECT ON {table[1]} TO {{role}};" if table else MONITOR
    return ""


# The server's own words, for libpq gives no SQLSTATE of a failed connect. In another language than English the
# reason is `unreachable`, which is true as well.
CONNECT = (
    (r"too many connections for role", Reason.UNREACHABLE,
     "ALTER ROLE {role} CONNECTION LIMIT …;  -- 4 more than it has: that many for each exporter"),
    (r"too many connections for database", Reason.UNREACHABLE, "ALTER DATABASE … CONNECTION LIMIT …;"),
    (r"too many clients|remaining connection slots", Reason.UNREACHABLE,
     "Free connections or raise max_connections; once connected the exporter keeps its connection."),
    (r"password authentication failed|no password supplied|fe_sendauth", Reason.PERMISSION,
     "Set database.password_file or database.dsn to a role and password that may log in."),
    (r"no pg_hba\.conf entry", Reason.PERMISSION, "Add a line for the exporter's host and role to pg_hba.conf."),
    (r'role ".*" does not exist', Reason.PERMISSION, f"CREATE ROLE {{role}} LOGIN;  -- {GRANTS}"),
    (r'role ".*" is not permitted', Reason.PERMISSION, "ALTER ROLE {role} LOGIN;"),
    (r'database ".*" does not exist', Reason.UNSUPPORTED, "Name MLflow's database in database.dsn."),
    (r'permission denied for database "(.*?)"', Reason.PERMISSION, r'GRANT CONNECT ON DATABASE "\1" TO {role};'),
    (r"certificate|SSL", Reason.PERMISSION, "Check sslmode and sslrootcert of database.dsn."),
    (r"timeout expired|timed out", Reason.TIMEOUT, ""),
)  # fmt: skip


# libpq quotes an option's value that it cannot take, and that may be a password in the wrong place.
QUOTED = re.compile(r'(invalid (?:[^"]*value|port number):?) "(?:.*"( for connection option "\w+")|.*"?)')


def connect_error(message: str) -> SourceError:
    """Translate libpq's message about a connect that failed; it names host, port and role, never a password."""
    lines = (QUOTED.sub(r'\1 "***"\2', line.strip()) for line in message.splitlines())
    flat = "; ".join(line for line in lines if line)
    for pattern, reason, remedy in CONNECT:
        if found := re.search(pattern, flat):
            return SourceError(reason, flat, found.expand(remedy) if found.groups() else remedy)
    return without_descriptor() or SourceError(Reason.UNREACHABLE, flat)  # libpq says nothing at all of that
