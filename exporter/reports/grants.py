"""`mlflow-exporter grants`: the SQL for a role that may read what the exporter reads, and nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.rights import MANAGED, PLANNED, READ, SETTINGS, STATISTICS, filled
from exporter.sources.facts import quoted

# Two kept connections, a third for the moment of the database probe, one for a report.
CONNECTIONS = 4
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Service:
    """Who runs Postgres: what differs from a server of one's own, as that service's documentation has it."""

    admin: str
    statements: str
    login: str
    own_machine: bool = False


SERVICES = {
    "postgres": Service(
        "a superuser",
        "shared_preload_libraries = 'pg_stat_statements' in postgresql.conf, and a restart.",
        "",
        own_machine=True,
    ),
    "rds": Service(
        "the master user, who has rds_superuser",
        "The default parameter group has pg_stat_statements in shared_preload_libraries; add it to one of your own, "
        "and reboot.",
        "IAM instead of a password: GRANT rds_iam TO {role}; and let the setting database.password_command run "
        "`aws rds generate-db-auth-token`, with sslmode=require or more in database.dsn. A token is good for 15 "
        "minutes; the exporter asks for one at each connect.",
    ),
    "cloudsql": Service(
        "`postgres`, who has cloudsqlsuperuser",
        "On the primary; a read replica gets the extension from there.",
        "IAM instead of a password: add the IAM user to the instance, which makes a role that can log in, and print "
        "this with --existing-role; let database.password_command run `gcloud sql generate-login-token`, "
        "which the exporter does at each connect.",
    ),
    "azure": Service(
        "the server's admin, who has azure_pg_admin",
        "First add pg_stat_statements to the server parameters azure.extensions and shared_preload_libraries (that "
        "one takes a restart), and set pg_stat_statements.track = TOP: on a flexible server it is NONE, so nothing "
        "is counted.",
        "Entra instead of a password: make the role with pgaadauth_create_principal as an Entra admin, print this "
        "with --existing-role, and let database.password_command give the token. The built-in PgBouncer listens on "
        "6432: use Postgres' own port.",
    ),
}


def grants(
    role: str, database: str, schema: str, service: str, *, plans: bool = True, existing: bool = False
) -> str:
    """Return the SQL, which may be run again where the role is `existing`.

    Without `plans` the role reads single columns, and MLflow's own SELECTs cannot be planned.
    """
    names = {"role": quoted(role), "database": quoted(database), "schema": quoted(schema)}
    where = SERVICES[service]
    lines = (*_administrators(where, existing), "", *_owners(plans), "", *_remarks(where))
    return "".join(f"{filled(line, names)}\n" for line in lines)


def _administrators(service: Service, existing: bool) -> Iterator[str]:
    yield from _said(
        f"What mlflow-exporter reads, for a role that can do nothing else. First, as {service.admin}, in database "
        "{database}:"
    )
    yield ""
    yield from _said(
        f"{CONNECTIONS} connections are for one exporter: {CONNECTIONS} more for each other one."
    )
    yield f"{'ALTER' if existing else 'CREATE'} ROLE {{role}} LOGIN CONNECTION LIMIT {CONNECTIONS};"
    yield from _said(
        "Whatever it may be granted one day, it writes nothing unasked. No timeouts here: the exporter sets its own in "
        "each transaction, and would not know the server's where its role has others."
    )
    yield "ALTER ROLE {role} SET default_transaction_read_only = on;"
    yield from _said("Sessions and statements of other roles, standbys, index builds.")
    if service.own_machine:
        yield f"GRANT {STATISTICS} TO {{role}};"
        yield from _said(
            "Where the data directory is: how full its disk is, where Postgres runs on the exporter's machine; "
            "elsewhere leave it out."
        )
        yield f"GRANT {SETTINGS} TO {{role}};"
    else:
        yield f"GRANT {MANAGED} TO {{role}};"
    yield from _said(f"Statement statistics, once in MLflow's database. {service.statements}")
    yield "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;"


def _owners(plans: bool) -> Iterator[str]:
    yield from _said("Then, as the owner of MLflow's tables or a superuser, in database {database}:")
    yield ""
    yield "GRANT CONNECT ON DATABASE {database} TO {role};"
    yield "GRANT USAGE ON SCHEMA {schema} TO {role};"
    if plans:
        yield from _said(
            "Whole tables, since to plan MLflow's slowest SELECTs (EXPLAIN, which reads no row) takes the right to "
            "read all that they name. --without-plans grants single columns."
        )
    else:
        yield from _said(
            "Columns, not tables: values of parameters and metrics stay closed. So leave `plans` out of the setting "
            "`collectors`; which searches read whole tables is then not known."
        )
    for table in (*READ, *PLANNED) if plans else READ:
        columns = "" if plans else f" ({', '.join(table.columns)})"
        yield f"GRANT SELECT{columns} ON {{schema}}.{table.name} TO {{role}};  -- {table.why}"


def _remarks(service: Service) -> Iterator[str]:
    yield from _said("A password that no file, log or history keeps, in psql:  \\password {role}")
    yield from _said(service.login)
    yield from _said(
        "Not granted: any write, pg_signal_backend (it ends nobody's session), users, traces, models, secrets of the "
        "gateway. What everybody may do, this role may too: before Postgres 15 that is to create tables in schema "
        "public. To end it:  REVOKE CREATE ON SCHEMA public FROM PUBLIC;  and GRANT it to MLflow's own role, which "
        "needs it for `mlflow db upgrade`."
    )
    yield from _said(
        "A pooler in transaction mode is fine; Postgres' own port is better, since the kept connections then outlast "
        "a full pool. Afterwards `mlflow-exporter check` names whatever is missing."
    )


def _said(text: str) -> Iterator[str]:
    """Give a comment's lines; names are put in afterwards, so that none is broken."""
    for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"-- {line}"
