"""Rows of the connections from clients and to the database."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.pages.server.lines import instances, workers
from exporter.pack.dashboards.panel import Limit, Panel, fixed, graph, limit_line


def queue() -> list[list[Panel]]:
    return [
        [
            instances(
                "Accept queue",
                "Connections that the kernel has established and no worker has accepted. 0 to 3 are normal under "
                "any load. Above the line workers hang or have no CPU, and clients wait without an answer: "
                "MlflowServerRequestsQueueing.",
                {
                    "{{instance}}": "max by (instance)"
                    " (max_over_time(mlflow_server_accept_queue_length[$__rate_interval]))"
                },
                limit=Limit("MlflowServerRequestsQueueing"),
                at_least=10,
            ),
            graph(
                "Connections refused",
                "Connections a second that a full accept queue refused (overflows), and all that a listener "
                "dropped, in the server's network namespace. Normal is 0. More: clients see timeouts of 1, 3 and "
                "7 s; see the queue beside it.",
                {
                    "overflows": "sum(rate(mlflow_host_tcp_listen_overflows_total[$__rate_interval]))",
                    "drops": "sum(rate(mlflow_host_tcp_listen_drops_total[$__rate_interval]))",
                },
                unit_="cps",
                overrides=[fixed("overflows", colours.CRITICAL), fixed("drops", colours.WARNING)],
                at_least=1,
            ),
        ],
        [
            workers(
                "HTTP connections by worker",
                "Connections that clients hold to each worker, idle ones and probes included. Normal is a like number "
                "in each. One with most of them has most of the work: clients that keep their connection stay with "
                "their worker.",
                "max by (instance, worker) (mlflow_server_worker_http_connections)",
            ),
            workers(
                "Threads by worker",
                "Threads of each worker. Up to about 50 are normal: each call of the API holds one of 40. A number "
                "that stays at its top means that calls wait for a thread; see where the time goes.",
                "max by (instance, worker) (mlflow_server_worker_threads)",
            ),
        ],
    ]


def database() -> list[Panel]:
    return [
        workers(
            "Connection pool by worker",
            "Connections to the database that each worker holds, of what one of its engines may open; with several "
            "engines it can be above 100 %. At the line and the API slow or failing, calls wait 30 s and get a "
            "400: MlflowConnectionPoolExhausted.",
            "max by (instance, worker) (mlflow_server_worker_database_connections"
            " / mlflow_server_worker_database_pool_capacity)",
            unit_="percentunit",
            limit=Limit("MlflowConnectionPoolExhausted"),
            width=14,
            at_least=1,
        ),
        graph(
            "Connections it may open",
            "What all replicas may open at most, by engine, against what the database takes from ordinary roles, and "
            "what is in use by all. Areas above the limit: a burst ends in `too many clients` "
            "(MlflowConnectionsRefused). Lower POOL_SIZE and MAX_OVERFLOW.",
            {
                "{{engine}}": "sum by (engine) (mlflow_server_database_connections_budget)",
                "limit": "max(mlflow_db_connections_limit - mlflow_db_connections_reserved)",
                "used": "max(mlflow_db_connections_used)",
            },
            stacked=True,
            overrides=[
                limit_line(),
                fixed("used", "text", fillOpacity=0, lineWidth=2, stacking={"mode": "none", "group": "used"}),
            ],
        ),
    ]
