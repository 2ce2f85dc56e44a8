"""availability: what users feel when the server, its API or its database is gone.

Made: the server is stopped; Postgres is stopped; the role's search_path points elsewhere, as after a restore that went
wrong, so that each API call fails while /health is green. Fixed as the runbook says: start what is stopped; put the
setting right and let the server connect anew.
"""

from __future__ import annotations

from tests.faults import Fault, Lab, Needs

RECONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mlflow'"


def stop_server(lab: Lab) -> None:
    lab.mlflow.stop()


def start_server(lab: Lab) -> None:
    lab.mlflow.start()


def stop_database(lab: Lab) -> None:
    lab.postgres.stop()


def start_database(lab: Lab) -> None:
    lab.postgres.start()


def hide_tables(lab: Lab) -> None:
    lab.sql("ALTER ROLE mlflow SET search_path = restored")
    lab.sql(RECONNECT)


def show_tables(lab: Lab) -> None:
    lab.sql("ALTER ROLE mlflow RESET search_path")
    lab.sql(RECONNECT)


FAULTS = (
    Fault(
        "availability",
        "server stopped",
        frozenset({"MlflowServerDown", "MlflowApiFailing"}),
        stop_server,
        start_server,
        ci=True,
    ),
    Fault(
        "availability",
        "database stopped",
        frozenset({"MlflowDatabaseDown", "MlflowApiFailing", "MlflowApiErrorBudgetBurn"}),
        stop_database,
        start_database,
        Needs(options=("--expose-prometheus", "metrics")),
        within=300,  # the error budget's window of 30m has to pass
    ),
    Fault(
        "availability",
        "API fails, health is green",
        frozenset({"MlflowApiFailing"}),
        hide_tables,
        show_tables,
    ),
)
