"""What each colour means, on every dashboard the same."""

from __future__ import annotations

OK, INFO, NEAR, WARNING, CRITICAL, NONE = "green", "blue", "yellow", "orange", "red", "text"
# Behind a tile that says that there is no data.
UNKNOWN = "#5A5A66"
SEVERITY = {"critical": CRITICAL, "warning": WARNING, "info": INFO}

# By the name of the series in the legend. Hues of one family are one kind of thing; red and orange are left to alarms.
SERIES = {
    # the request path, from the client inwards
    "health": "#4EC5B1",
    "version": "green",
    "api": "blue",
    "database": "purple",
    # what sessions wait for
    "cpu": "green",
    "data_io": "blue",
    "temp_io": "light-blue",
    "wal_io": "purple",
    "lock": "#C4162A",
    "lwlock": "light-purple",
    "client": "#8E8E8E",
    "ipc": "#7AA6DA",
    "other": "#6E6E6E",
    # what is bounded
    "limit": "#C4162A",
    "recommended": "#8E8E8E",
    # what MLflow does in its database: writes in greens and yellows, reads in blues, the frame around them in greys
    "reads": "blue",
    "writes": "green",
    "log_metrics": "green",
    "log_params": "light-green",
    "set_tags": "#A0C75B",
    "create_run": "semi-dark-green",
    "update_run": "dark-green",
    "delete_run": "#C9B458",
    "edit_experiment": "light-yellow",
    "datasets": "yellow",
    "logged_models": "semi-dark-yellow",
    "registry": "dark-yellow",
    "traces": "#8F9E3B",
    "search_runs": "blue",
    "fetch_runs": "light-blue",
    "metric_history": "dark-blue",
    "search_experiments": "semi-dark-blue",
    "get_experiment": "#7AA6DA",
    "run_lookup": "#6CB8C9",
    "commit": "purple",
    "transaction": "light-purple",
    "ping": "#B392D6",
    "fk_check": "dark-purple",
    "gc": "#A16946",
    "catalog": "#8E8E8E",
    "exporter": "#A8A8A8",
    # causes, where all are on one graph
    "availability": "#C4162A",
    "sqlite-backend": "#7AA6DA",
    "database-size": "blue",
    "read-load": "light-blue",
    "database-configuration": "dark-blue",
    "logging-pattern": "yellow",
    "server-resources": "green",
    "network-latency": "purple",
    "database-indexes": "#4EC5B1",
    "open-files": "dark-yellow",
    "connections": "light-purple",
}

OPERATIONS = (
    *("log_metrics", "log_params", "set_tags", "create_run", "update_run", "delete_run", "edit_experiment"),
    *("datasets", "logged_models", "registry", "traces", "search_runs", "fetch_runs", "metric_history"),
    *(
        "search_experiments",
        "get_experiment",
        "run_lookup",
        "commit",
        "transaction",
        "ping",
        "fk_check",
        "gc",
    ),
    *("catalog", "exporter", "other"),
)
WAIT_CLASSES = ("cpu", "data_io", "temp_io", "wal_io", "lock", "lwlock", "client", "ipc", "other")
PROBES = ("health", "version", "api", "database")

# For series that are named in the panel itself, in their order: none looks like an alarm.
PALETTE = (
    "blue",
    "green",
    "purple",
    "yellow",
    "light-blue",
    "light-green",
    "light-purple",
    "#C9B458",
)
