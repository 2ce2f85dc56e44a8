"""What each colour means, on every dashboard the same."""

from __future__ import annotations

OK, INFO, NEAR, WARNING, CRITICAL, NONE = "green", "blue", "yellow", "orange", "red", "text"
# Behind a tile that says that there is no data.
UNKNOWN = "#5A5A66"
SEVERITY = {"critical": CRITICAL, "warning": WARNING, "info": INFO}

# Series by their names. Hues of one family are one kind of thing; red and orange are left to alarms.

PROBES = {  # the request path, from the client inwards
    "health": "#4EC5B1",
    "version": "green",
    "api": "blue",
    "database": "purple",
}
PHASES = {
    "resolve": "#8E8E8E",
    "connect": "purple",
    "tls": "light-purple",
    "processing": "blue",
    "transfer": "light-blue",
}
WAITS = {
    "cpu": "green",
    "data_io": "blue",
    "temp_io": "light-blue",
    "wal_io": "purple",
    "lock": "#C4162A",
    "lwlock": "light-purple",
    "client": "#8E8E8E",
    "ipc": "#7AA6DA",
    "other": "#6E6E6E",
}
# What MLflow does in its database: writes in greens and yellows, reads in blues, the frame around them in others.
OPERATIONS = {
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
    "other": "#6E6E6E",
}
TABLES = {  # as what writes them
    "metrics": "green",
    "latest_metrics": "semi-dark-green",
    "params": "light-green",
    "tags": "#A0C75B",
    "runs": "blue",
    "experiments": "light-blue",
    "inputs": "super-light-green",
    "logged_models": "semi-dark-yellow",
    "model_versions": "dark-yellow",
    "trace_info": "#8F9E3B",
    "trace_tags": "#B5C26A",
    "trace_request_metadata": "#6E7A2D",
    "spans": "purple",
    "assessments": "light-purple",
}
ROLES = {  # of the server's processes
    "worker": "blue",
    "supervisor": "green",
    "parent": "super-light-green",
    "job_runner": "purple",
    "consumer": "light-purple",
    "job": "super-light-purple",
    "resource_tracker": "#8E8E8E",
    "other": "#6E6E6E",
}
ENGINES = {
    "tracking": "blue",
    "registry": "light-blue",
    "jobs": "purple",
    "workspaces": "light-purple",
    "background": "#8E8E8E",
}
CAUSES = {
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
    "exporter": "#A8A8A8",
}
RESOURCES = {  # the server's in greens and yellows, the database's in blues and purples
    "worker CPU": "green",
    "server memory": "light-green",
    "open files": "dark-yellow",
    "connection pool": "purple",
    "connections": "light-purple",
    "database CPU": "blue",
    "storage": "#8E8E8E",
}
BOUNDS = {"limit": "#C4162A", "recommended": "#8E8E8E"}
KINDS = {"reads": "blue", "writes": "green"}

# For series that have no meaning of their own, in their order: none looks like an alarm.
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

# What a series is called that its label alone names, and what is written out.
LABELS = {
    "probe": PROBES,
    "phase": PHASES,
    "wait_class": WAITS,
    "operation": OPERATIONS,
    "table": TABLES,
    "role": ROLES,
    "engine": ENGINES,
    "cause": CAUSES,
    "worker": {str(slot): colour for slot, colour in enumerate(PALETTE)},
}
SERIES = PROBES | WAITS | OPERATIONS | RESOURCES | BOUNDS | KINDS
