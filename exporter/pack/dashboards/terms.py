"""PromQL that several dashboards say things with."""

from __future__ import annotations

# What makes series one tracking server's.
SERVER = "job, tracking_server"
# Sessions of the database on average, of all that the sampler has seen.
SAMPLED = "(rate(mlflow_db_load_sampled_seconds_total[$__rate_interval]) > 0.05)"


def sessions(by: str, matchers: str = "") -> str:
    """Return PromQL for the sessions at work on average, by `wait_class` or `operation`, with a condition on either."""
    name = "mlflow_db_load_operation_seconds_total" if by == "operation" else "mlflow_db_load_seconds_total"
    chosen = f"{{{matchers}}}" if matchers else ""
    return (
        f"max by ({by}) (sum without (database) (rate({name}{chosen}[$__rate_interval]))"
        f" / ignoring ({by}) group_left () {SAMPLED})"
    )


def median(probe: str, quantile: float = 0.5) -> str:
    """Return PromQL for a probe's median duration, or another quantile."""
    buckets = f'rate(mlflow_probe_duration_seconds_bucket{{probe="{probe}"}}[$__rate_interval])'
    # NaN, which is drawn as nothing, where there was no attempt.
    return f"histogram_quantile({quantile:g}, sum by (le) ({buckets})) >= 0"


def leading(expr: str, all_: str, part: float = 0.005, by: str = "operation") -> str:
    """Return the expression for the operations that have at least that part of what `all_` adds up to.

    `all_` is a counter's increase in the time that is shown, as of its end: it is looked at once for all steps, so
    that a line is there as a whole or not at all. Where all have 0, all are there.
    """
    return f"{expr} and on ({by}) (sum by ({by}) ({all_}) >= on () group_left () {part:g} * sum({all_}))"
