"""What users get: the dashboard's tiles and its first graphs."""

from __future__ import annotations

from typing import Any

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.limits import threshold
from exporter.pack.dashboards.pages.server.lines import instances
from exporter.pack.dashboards.panel import Limit, Panel, above, graph, stat
from exporter.pack.dashboards.terms import API, PACE, REPLICA, api, failed_steps

UNEXPOSED = "MLflow runs without --expose-prometheus"

# Where nearly all exporters stand.
AT_SERVER = {
    "matcher": {"id": "byRegexp", "options": "/ server$/"},
    "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colours.SERIES["api"]}}],
}

# Thin and dashed; grey where they are not of that place.
TAILS = {
    "matcher": {"id": "byRegexp", "options": "/^p95/"},
    "properties": [
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "#8E8E8E"}},
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [4, 4]}},
        {"id": "custom.lineWidth", "value": 1},
    ],
}


def exposed(title: str, text: str, query: str, **options: Any) -> Panel:
    """Return a graph of what MLflow itself counts, in a colour that says nothing of good or bad."""
    made = graph(title, text, {"{{tracking_server}}": query}, absent_=UNEXPOSED, **options)
    made.json["fieldConfig"]["defaults"]["color"] = {"mode": "shades", "fixedColor": "blue"}
    return made


def tiles() -> list[Panel]:
    return [
        stat(
            "Replicas away",
            "Replicas that were seen in the last week and do not run or listen now. The table below says which; all of "
            "them: MlflowServerDown.",
            f"count({REPLICA} == 0) or 0 * count({REPLICA})",
            unit_="short",
            steps=[above(colours.WARNING, 1)],
            base=colours.OK,
            filled=True,
        ),
        stat(
            "API",
            "Whether the API probe's calls are answered rightly. FAILS: users' calls fail too, even while /health is "
            "green; see MlflowApiFailing. LOGIN: the probe has none, and the API is not known.",
            api(),
            maps=API,
            base=colours.UNKNOWN,
            filled=True,
            unit_="short",
        ),
        stat(
            "Requests",
            "Requests a second that MLflow itself counts. Needs a server that runs with --expose-prometheus.",
            "sum(mlflow:http_requests:rate5m)",
            unit_="reqps",
            absent_="not exposed",
        ),
        stat(
            "Failed",
            "Share of the requests that failed in 5 minutes, by MLflow's own count. Normal is 0; 0.5 % is what a month "
            "allows.",
            "max(mlflow:http_errors:ratio_rate5m)",
            unit_="percentunit",
            steps=failed_steps(),
            absent_="not exposed",
        ),
        stat(
            "Slow",
            "Share of the requests that took more than 1 s in 5 minutes, by MLflow's own count. Normal is below 1 %.",
            "max(mlflow:http_slow:ratio_rate5m)",
            unit_="percentunit",
            steps=[
                above(colours.OK, 0),
                above(colours.NEAR, threshold("MlflowApiLatencyBudgetBurn")),
                Limit("MlflowApiLatencyBudgetBurn", scale=PACE).step(),
            ],
            absent_="not exposed",
        ),
        stat(
            "Worker CPU",
            "CPU of the busiest worker, of the one core that Python can use. Near 100 % its requests wait, even while "
            "other workers and the machine are idle: MlflowServerCpuSaturated.",
            "max(rate(mlflow_server_worker_cpu_seconds_total[$__rate_interval]))",
            unit_="percentunit",
            decimals=0,
            steps=[Limit("MlflowServerCpuSaturated").step()],
            base=colours.OK,
        ),
        stat(
            "Fullest pool",
            "Database connections of the worker that holds most, of what one of its engines may open. At 100 % its "
            "calls wait, and end in 400 after 30 s: MlflowConnectionPoolExhausted.",
            "max(mlflow_server_worker_database_connections / mlflow_server_worker_database_pool_capacity)",
            unit_="percentunit",
            decimals=0,
            steps=[above(colours.OK, 0), Limit("MlflowConnectionPoolExhausted").step()],
            absent_="no pool",
        ),
        stat(
            "Queue",
            "Connections that no worker has accepted yet, of the replica with most of them. 0 to 3 are normal under "
            "any load: MlflowServerRequestsQueueing.",
            "max(mlflow_server_accept_queue_length)",
            steps=[Limit("MlflowServerRequestsQueueing").step()],
            base=colours.OK,
        ),
    ]


def requests() -> list[Panel]:
    quantile = (
        "histogram_quantile({}, sum by (vantage, le) (rate(mlflow_probe_duration_seconds_bucket"
        '{{probe="api"}}[$__rate_interval]))) >= 0'
    )
    return [
        instances(
            "API probe",
            "What half and 95 % of the probe's calls to the API take at most, by where the exporter stands. A call "
            "takes 10 to 60 ms on a healthy server; gaps are failures. Probes and network shows which part is slow.",
            {
                "p50 {{vantage}}": quantile.format(0.5),
                "p95 {{vantage}}": quantile.format(0.95),
            },
            unit_="s",
            overrides=[TAILS, AT_SERVER],
        ),
        exposed(
            "Request rate",
            "Requests a second that MLflow itself counts, those of the probes included. Normal is what it was last "
            "week at this time; a fall to the probes' own few means that nobody reaches the server. Empty without "
            "--expose-prometheus.",
            "mlflow:http_requests:rate5m",
            unit_="reqps",
        ),
        exposed(
            "Failed requests",
            "Share that failed: 5xx, 429, 400 after a long wait, or quick 400s in masses. Normal is 0. At the line a "
            "month's budget of 0.5 % lasts two days: MlflowApiErrorBudgetBurn. Empty without --expose-prometheus.",
            "mlflow:http_errors:ratio_rate5m",
            unit_="percentunit",
            limit=Limit("MlflowApiErrorBudgetBurn", scale=PACE),
            at_least=0.1,
        ),
        exposed(
            "Slow requests",
            "Share that took more than 1 s. Normal is below 1 %, where searches are small. At the line a month's "
            "budget of 1 % lasts two days: MlflowApiLatencyBudgetBurn. Empty without --expose-prometheus.",
            "mlflow:http_slow:ratio_rate5m",
            unit_="percentunit",
            limit=Limit("MlflowApiLatencyBudgetBurn", scale=PACE),
            at_least=0.2,
        ),
    ]
