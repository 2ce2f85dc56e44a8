"""MLflow / Overview: is it well, and if not, which cause it is."""

from __future__ import annotations

from exporter.pack import RUNBOOKS
from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.headlines import FELT, evidence
from exporter.pack.dashboards.panel import (
    Column,
    Panel,
    above,
    graph,
    stat,
    states,
    table,
)
from exporter.pack.dashboards.terms import API, REPLICA, SERVER, api, failed_steps, median, per_core

EACH = "job, tracking_server, cause"
ROWS = 50  # of the board, which every tracking server has a dozen for

# What is selected, for the server of the row that is clicked.
HERE = "var-datasource=${datasource}&${job:queryparam}&var-tracking_server=${__data.fields.Server}"

# The state of a cause, from its alerts.
STATES = {
    0: ("well", colours.OK),
    1: ("finding", colours.INFO),
    2: ("pending", colours.NEAR),
    3: ("warning", colours.WARNING),
    4: ("critical", colours.CRITICAL),
}


def state(by: str) -> str:
    """Return PromQL for the worst state of each cause: a number that STATES has a text for."""
    return f"""
        max by ({by}) (
             4 * ALERTS{{alertstate="firing", severity="critical"}}
          or 3 * ALERTS{{alertstate="firing", severity="warning"}}
          or 2 * ALERTS{{alertstate="pending", severity=~"critical|warning"}}
          or     ALERTS{{alertstate="firing", severity="info"}}
          or 0 * mlflow:pressure:ratio
        )"""


def tiles() -> list[Panel]:
    up = {0: ("DOWN", colours.CRITICAL), 1: ("UP", colours.OK)}
    return [
        stat(
            "Server",
            "UP while at least one replica of each tracking server runs and listens. DOWN: MlflowServerDown and its "
            "runbook.",
            f"min(max by ({SERVER}) ({REPLICA}))",
            maps=up,
            filled=True,
            base=colours.UNKNOWN,
            unit_="short",
            width=3,
        ),
        stat(
            "API",
            "Whether the API probe's calls are answered rightly, of the worst server. FAILS: users' calls fail too, "
            "even while /health is green; MlflowApiFailing. LOGIN: the probe has none, or a wrong one, and the API is "
            "not known: set server.username.",
            api(),
            maps=API,
            filled=True,
            base=colours.UNKNOWN,
            unit_="short",
            width=3,
        ),
        stat(
            "Database",
            "UP while each tracking server's database answers at least one exporter. DOWN: MlflowDatabaseDown and its "
            "runbook.",
            f"min(max by ({SERVER}) (mlflow_db_up))",
            maps=up,
            filled=True,
            base=colours.UNKNOWN,
            unit_="short",
            width=3,
        ),
        stat(
            "API, median",
            "Half of the API probe's calls at the server took less. Normal is what it was last week at this time of "
            "day; the request "
            "path below says where it goes.",
            median("api"),
            unit_="s",
            absent_="no answer",
            width=3,
        ),
        stat(
            "Requests",
            "Requests a second that MLflow itself counts, where the server runs with --expose-prometheus. What is "
            "normal is what it was last week at this time.",
            "sum(mlflow:http_requests:rate5m)",
            unit_="reqps",
            absent_="not exposed",
            width=3,
        ),
        stat(
            "Failed",
            "Share of the requests that failed, by MLflow's own count: 5xx, and 400 that came slowly. 0.5 % for an "
            "hour burns the budget.",
            "max(mlflow:http_errors:ratio_rate5m)",
            unit_="percentunit",
            steps=failed_steps(),
            absent_="not exposed",
            width=3,
        ),
        stat(
            "POST, p95",
            "95 of 100 POST requests, which log and search, took less, by MLflow's own count. What is normal is what "
            "it was last week; when it rises and the API's median does not, look at Queries.",
            'max(mlflow:http_request_seconds:p95_rate5m{method="POST"})',
            unit_="s",
            absent_="not exposed",
            width=3,
        ),
        stat(
            "Firing",
            "Alerts that fire and are worth a notification. The board names their causes; what is silenced because "
            "another cause explains it is counted too.",
            'count(ALERTS{alertstate="firing", severity=~"critical|warning"})  or 0 * count(mlflow:pressure:ratio)',
            unit_="short",
            steps=[above(colours.WARNING, 1)],
            base=colours.OK,
            filled=True,
            absent_="no rules",
            width=3,
        ),
    ]


def rank() -> str:
    """Return PromQL for the causes that the board has room for, with their place: the greatest first."""
    return f"topk({ROWS}, {order()})"


def order() -> str:
    """Return PromQL for the place of every cause: the greatest first.

    Firing before pending before findings; among equals causes before availability, which only says that users feel
    it, and that before exporter, which is blind where a database is down; then the pressure, which 40 keeps from
    counting for more than the others.
    """
    return f"""
          300 * max by ({EACH}) (
                 2.0 * ALERTS{{alertstate="firing", severity=~"critical|warning"}}
              or       ALERTS{{alertstate="pending", severity=~"critical|warning"}}
              or 0.5 * ALERTS{{alertstate="firing", severity="info"}}
              or 0.0 * mlflow:pressure:ratio
            )
        + max by ({EACH}) (
               100 + 0 * mlflow:pressure:ratio{{cause!~"availability|exporter"}}
            or  50 + 0 * mlflow:pressure:ratio{{cause="availability"}}
            or       0 * mlflow:pressure:ratio
          )
        + clamp_max(max by ({EACH}) (mlflow:pressure:ratio), 40)"""


def nearest() -> str:
    """Return PromQL for the pressure that is told of each cause: the highest, but what is above 1 before FELT."""
    why = f'mlflow:pressure:ratio{{signal!~"{"|".join(FELT)}"}} > 1'
    return f"(topk by ({EACH}) (1, {why}) or on ({EACH}) topk by ({EACH}) (1, mlflow:pressure:ratio))"


def board() -> Panel:
    # A cause with findings only has no pressure to tell of.
    findings = f"""
        topk by ({EACH}) (1, ALERTS{{alertstate="firing", severity="info"}})
        unless on ({EACH}) ALERTS{{alertstate="firing", severity=~"critical|warning"}}"""
    pressure = f"""
        (
             ({nearest()} < 0.5) * on ({EACH}) group_left (evidence)
             label_replace({findings}, "evidence", "$1", "alertname", "(.*)")
          or on ({EACH}) {nearest()} * ignoring (evidence, value) group_left (evidence) ({evidence()})
          or on ({EACH}) {nearest()}
        )"""
    shown = f" and on ({EACH}) {rank()}"
    steps = (above(colours.NEAR, 0.7), above(colours.WARNING, 1))
    return table(
        "Causes, nearest first",
        "Every cause with its highest pressure: how near the evidence is to firing; of availability with what is gone, "
        "where something is, before calls that fail. At 1 the alert's condition holds "
        "and its waiting time begins. What fires comes first, and what users feel (availability) after what causes "
        "it. The top row is where to look: a click on the cause opens Causes, where its row has the evidence, a click "
        "on "
        "the state its runbook.",
        {"pressure": pressure + shown, "state": state(EACH) + shown, "rank": rank()},
        [
            Column("tracking_server", "Server", width=64),
            Column("cause", "Cause", width=172, link=f"/d/mlflow-causes?{HERE}#${{__value.raw}}"),
            Column("Value #A", "Pressure", "none", 124, 2, bar=1.5, steps=steps),
            Column(
                "Value #B",
                "State",
                "none",
                72,
                maps=STATES,
                filled=True,
                link=f"{RUNBOOKS}/${{__data.fields.Cause}}.md",
            ),
            Column("evidence", "Evidence"),
        ],
        order="Value #C",
        width=14,
        height=13,
    )


def timeline() -> Panel:
    return states(
        "Causes over time",
        "The worst state of each cause. A cause that is here before another is more likely what began it.",
        {"{{cause}}": state("cause")},
        STATES,
        width=10,
        height=13,
    )


def path() -> Panel:
    return graph(
        "Where the time goes",
        "Median duration of each probe, from the outside in. /health needs a worker's event loop, /version a worker's "
        "thread, the API the database too, and the database probe nothing of MLflow. The lowest line that is high is "
        "where the time goes: all of them the server, api alone the database or a full pool.",
        {name: median(name) for name in colours.PROBES}
        | {"health from clients": median("health", '!="server"')},
        unit_="s",
    )


def saturation() -> Panel:
    of = {
        "worker CPU": "max(rate(mlflow_server_worker_cpu_seconds_total[$__rate_interval]))",
        "server memory": "max(mlflow_server_memory_usage_bytes / mlflow_server_memory_limit_bytes)",
        "open files": "max(mlflow_server_worker_open_fds / mlflow_server_worker_max_fds)",
        "connection pool": "max(mlflow_server_worker_database_connections"
        " / mlflow_server_worker_database_pool_capacity)",
        "connections": "max(mlflow_db_connections_used"
        " / (mlflow_db_connections_limit - mlflow_db_connections_reserved))",
        "database CPU": f"""clamp_max({per_core('wait_class=~"cpu|lwlock"')}, 1.2)""",
        "storage": "max(1 - mlflow_db_storage_free_bytes / mlflow_db_storage_size_bytes)",
    }
    return graph(
        "Used of what there is",
        "Each resource against its own limit, the worst of its kind. A worker's CPU counts one core, as Python uses "
        "no more; the database's CPU is sessions that want CPU for each core, cut at 120 %. What is near 100 % is the "
        "bottleneck; what is not here has no limit or is not read.",
        of,
        unit_="percentunit",
        most=1.2,
    )


def dashboard() -> Dashboard:
    return Dashboard(
        "overview",
        "Overview",
        "Is MLflow well, and if not, which cause is it.",
        [
            Row("", [tiles(), [board(), timeline()], [path(), saturation()]]),
        ],
        fleet=True,
    )
