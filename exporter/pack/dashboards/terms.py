"""PromQL that several dashboards say things with."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.limits import threshold
from exporter.pack.dashboards.panel import Json, Limit, above

# What makes series one tracking server's.
SERVER = "job, tracking_server"
# Sessions of the database on average, of all that the sampler has seen.
SAMPLED = "(rate(mlflow_db_load_sampled_seconds_total[$__rate_interval]) > 0.05)"

# `up` and `process_*` are of all targets of Prometheus: these are the exporters', also of one that has gone.
KNOWN = "last_over_time(mlflow_exporter_build_info[1d])"
UP = f"(up and on (job, instance) {KNOWN})"
# An exporter beside the database, or one that only probes, sees no server at any time: it is no replica.
REPLICA = (
    "(mlflow_server_up and on (job, instance)"
    " (max_over_time(mlflow_server_up[2h]) == 1 or max_over_time(mlflow_server_up[7d:1h]) == 1))"
)
API = {
    0: ("OK", colours.OK),
    1: ("SOME FAIL", colours.WARNING),
    2: ("FAILS", colours.CRITICAL),
    -1: ("LOGIN", colours.INFO),
}
# Of the API's probe: what tells of its own login, and of nobody else's calls.
LOGIN = "http_401|http_403|settings"
# Of a month's budget, the pace at which the budgets' alerts fire within the hour.
PACE = 14.4


def sessions(by: str, matchers: str = "") -> str:
    """Return PromQL for the sessions at work on average, by `wait_class` or `operation`, with a condition on either."""
    name = "mlflow_db_load_operation_seconds_total" if by == "operation" else "mlflow_db_load_seconds_total"
    chosen = f"{{{matchers}}}" if matchers else ""
    return (
        f"max by ({by}) (sum without (database) (rate({name}{chosen}[$__rate_interval]))"
        f" / ignoring ({by}) group_left () {SAMPLED})"
    )


def median(probe: str, vantage: str = '="server"') -> str:
    """Return PromQL for the median duration of a probe at the server; elsewhere the way there is part of it."""
    buckets = (
        f'rate(mlflow_probe_duration_seconds_bucket{{probe="{probe}", vantage{vantage}}}[$__rate_interval])'
    )
    # NaN, which is drawn as nothing, where there was no attempt.
    return f"histogram_quantile(0.5, sum by (le) ({buckets})) >= 0"


def per_core(matchers: str) -> str:
    """Return PromQL for the sessions with these labels for each core, as the rules have it.

    One exporter may know the load and another the cores.
    """
    rate = f"rate(mlflow_db_load_seconds_total{{{matchers}}}[$__rate_interval])"
    each = f"max by ({SERVER}) (sum without (wait_class, database) ({rate}) / {SAMPLED})"
    return f"max({each} / on ({SERVER}) max by ({SERVER}) (mlflow_db_cpu_cores))"


def api() -> str:
    """Return PromQL for the worst state of the API as its alert sees it, a number that API has a text for."""
    failing = 'mlflow:pressure:ratio{cause="availability", signal="api-failing"}'
    worst = f"max(({failing} > bool 0) + ({failing} > bool 1))"
    refused = (
        f'max(rate(mlflow_probe_failures_total{{probe="api", reason=~"{LOGIN}"}}[$__rate_interval]) > bool 0)'
    )
    return f"{worst} > 0 or -1 * ({refused} > 0) or {worst}"


def api_failed() -> str:
    """Return PromQL for the share of the API probe's attempts that failed, by place, as its alert counts them."""
    failed = f'mlflow_probe_failures_total{{probe="api", reason!~"{LOGIN}"}}'
    attempts = 'mlflow_probe_attempts_total{probe="api"}'
    return (
        f"sum by (vantage) (rate({failed}[$__rate_interval]))"
        f" / (sum by (vantage) (rate({attempts}[$__rate_interval])) > 0)"
    )


def failed_steps() -> list[Json]:
    """Return the colours of the share of users' requests that fail, from the alert on their budget."""
    return [
        above(colours.OK, 0),
        above(colours.NEAR, threshold("MlflowApiErrorBudgetBurn")),
        Limit("MlflowApiErrorBudgetBurn", scale=PACE).step(),
    ]


def leading(expr: str, all_: str, part: float = 0.005, by: str = "operation") -> str:
    """Return the expression for the operations that have at least that part of what `all_` adds up to.

    `all_` is a counter's increase in the time that is shown, as of its end: it is looked at once for all steps, so
    that a line is there as a whole or not at all. Where all have 0, all are there.
    """
    return f"{expr} and on ({by}) (sum by ({by}) ({all_}) >= on () group_left () {part:g} * sum({all_}))"
