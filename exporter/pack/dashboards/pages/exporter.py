"""MLflow / Exporter: does the monitoring itself see everything, and what does it cost."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from exporter import __version__
from exporter.collector import Reason
from exporter.collectors import BY_NAME, HOST, SQLITE
from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.limits import threshold
from exporter.pack.dashboards.panel import Column, Limit, Panel, above, fixed, graph, stat, states, table
from exporter.pack.dashboards.terms import UP
from exporter.samplers import load

EXPORTER = "job, tracking_server, instance"
INTERVAL = "[$__rate_interval]"

PAST = "[$__range] @ end()"

# What can be blind. There are more collectors than colours that tell them apart and do not look like an alarm.
_BLIND = (
    *(f"source:{one}" for one in ("postgres", "host", "sqlite")),
    *(*BY_NAME, load.NAME),
    *(f"probe:{one}" for one in colours.PROBES),
)
_HUES = (
    *colours.PALETTE,
    "dark-blue",
    "dark-green",
    "dark-purple",
    "dark-yellow",
    "#4EC5B1",
    "#7AA6DA",
    "#8F9E3B",
)
COLLECTORS = [fixed(name, colour) for name, colour in zip(_BLIND, cycle(_HUES), strict=False)]
SAMPLERS = [fixed(load.NAME, "yellow"), *(fixed(one, colours.SERIES[one]) for one in colours.PROBES)]
DOTTED = fixed("all", "#8E8E8E", lineStyle={"fill": "dash", "dash": [2, 4]})


def by_instance(title: str, text: str, expr: str, **options: Any) -> Panel:
    """Return a graph with a line for each exporter; the first three have colours that are no alarm's."""
    made = graph(title, text, {"{{instance}}": f"max by (instance) ({expr})"}, **options)
    made.json["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    return made


def own(expr: str) -> str:
    """Return the expression for the exporters alone."""
    return f"{expr} and on (job, instance) mlflow_exporter_build_info"


def tiles() -> list[Panel]:
    same = f'max by (version) (mlflow_exporter_build_info{{version="{__version__}"}})'
    version = stat(
        "Version",
        f"The exporters' version. Green: {__version__}, that of these dashboards and rules. Blue: another one, whose "
        "metrics may have other names, so that alerts are silent: MlflowPackVersionMismatch.",
        {"{{version}}": f"{same} or 0 * max by (version) (mlflow_exporter_build_info)"},
        unit_="short",
        base=colours.INFO,
        steps=[above(colours.OK, 1)],
        absent_="unknown",
    )
    version.json["options"]["textMode"] = "name"
    return [
        stat(
            "Exporters",
            "Whether Prometheus reads every exporter that it read in the last day. DOWN: MlflowExporterDown; no alert "
            "about its server and database can fire.",
            f"min({UP})",
            unit_="short",
            maps={0: ("DOWN", colours.CRITICAL), 1: ("UP", colours.OK)},
            filled=True,
            absent_="unknown",
        ),
        stat(
            "Sources",
            "Whether the machine and the database answer every exporter. BLIND: look below which does not, and first "
            "whether it is down: availability.",
            "min(mlflow_exporter_source_up)",
            maps={0: ("BLIND", colours.WARNING), 1: ("READ", colours.OK)},
            filled=True,
            absent_="unknown",
        ),
        stat(
            "Failing collectors",
            "Collectors whose last reading failed. 0 is normal; one that stays for something that this database does "
            "not have is no fault (reason unsupported). Others: `mlflow-exporter check` prints the remedy.",
            "count(mlflow_exporter_collector_success == 0) or 0 * count(mlflow_exporter_collector_success)",
            unit_="short",
            steps=[above(colours.OK, 0), above(colours.NEAR, 1)],
            absent_="unknown",
        ),
        stat(
            "Settings",
            "Whether the exporters took their settings at the start or the last SIGHUP. REFUSED: the file is faulty "
            "and the old settings are in force; the log says which line.",
            "min(mlflow_exporter_config_last_reload_successful)",
            maps={0: ("REFUSED", colours.WARNING), 1: ("TAKEN", colours.OK)},
            filled=True,
            absent_="unknown",
        ),
        stat(
            "MLflow metrics",
            "Whether Prometheus reads what MLflow counts itself. NOT READ: MlflowApiErrorBudgetBurn and "
            "MlflowApiLatencyBudgetBurn cannot fire; --expose-prometheus and the job mlflow-server bring them.",
            "(count(mlflow:http_requests:rate5m) > bool 0) or vector(0)",
            unit_="short",
            maps={0: ("NOT READ", colours.INFO), 1: ("READ", colours.OK)},
            filled=True,
            absent_="unknown",
        ),
        version,
    ]


def blind() -> list[Panel]:
    pressure = 'mlflow:pressure:ratio{cause="exporter", signal="blind"}'
    half, away = threshold("MlflowMonitoringBlind"), threshold("MlflowExporterDown")
    return [
        by_instance(
            "Exporter away",
            "Part of the last 2 minutes in which Prometheus could not read an exporter. 0 is normal. Above the line "
            "MlflowExporterDown: start it, and read its log's last lines.",
            "mlflow:exporter_away:ratio2m",
            unit_="percentunit",
            limit=Limit("MlflowExporterDown"),
            at_least=1.2 * away,
        ),
        graph(
            "Blind",
            "Part of the last 5 minutes in which something could not be read, of what alerts depend on: a collector, a "
            "whole source:, the login of a probe:; the five that were most. 0 is normal. Above the line "
            "MlflowMonitoringBlind: `mlflow-exporter check`.",
            {
                "{{collector}}": f"{half:g} * max by (collector) ({pressure}) and on (collector) "
                f"(topk(5, max by (collector) (max_over_time({pressure}{PAST}))) > 0)",
                "all": f"{half:g} * max({pressure})",
            },
            unit_="percentunit",
            limit=Limit("MlflowMonitoringBlind"),
            at_least=1.2 * half,
            overrides=[*COLLECTORS, DOTTED],
        ),
        states(
            "Sources over time",
            "Whether the machine and the database answered each exporter. A database that one exporter reads is read.",
            {"{{source}} {{instance}}": "min by (source, instance) (mlflow_exporter_source_up)"},
            {0: ("no answer", colours.WARNING), 1: ("read", colours.OK)},
            width=10,
        ),
    ]


def exporters() -> Panel:
    each = f"max by ({EXPORTER})"
    build = f"max by ({EXPORTER}, version, python)"
    return table(
        "Exporters",
        "Each exporter, what it is and what it takes. A few % of a core, 60 to 100 MB and some 10 files are normal. "
        "Started just now and again: something kills it, look at its memory and its log.",
        {
            "up": f"{each} ({UP})",
            "same": f'{build} (mlflow_exporter_build_info{{version="{__version__}"}}) '
            f"or 0 * {build} (mlflow_exporter_build_info)",
            "started": f"1000 * {each} ({own('process_start_time_seconds')})",
            "settings": f"{each} (mlflow_exporter_config_last_reload_successful)",
            "read": f"1000 * {each} (mlflow_exporter_config_last_reload_success_timestamp_seconds)",
            "series": f"{each} (mlflow_exporter_series)",
            "cpu": f"{each} ({own(f'rate(process_cpu_seconds_total{INTERVAL})')})",
            "memory": f"{each} ({own('process_resident_memory_bytes')})",
            "files": f"{each} ({own('process_open_fds')})",
        },
        [
            Column("tracking_server", "Server", width=90),
            Column("instance", "Instance"),
            Column(
                "Value #A",
                "State",
                "none",
                80,
                maps={0: ("DOWN", colours.CRITICAL), 1: ("UP", colours.OK)},
                filled=True,
            ),
            Column("version", "Version", width=80),
            Column(
                "Value #B",
                "Pack",
                "none",
                85,
                maps={0: ("another", colours.INFO), 1: ("the same", colours.OK)},
            ),
            Column("python", "Python", width=80),
            Column("Value #C", "Started", "dateTimeFromNow", 130),
            Column(
                "Value #D",
                "Settings",
                "none",
                90,
                maps={0: ("REFUSED", colours.WARNING), 1: ("taken", colours.OK)},
            ),
            Column("Value #E", "Settings of", "dateTimeFromNow", 130),
            Column("Value #F", "Series", "short", 75, steps=(above(colours.NEAR, 5000),)),
            Column("Value #G", "CPU", "percentunit", 75, 1, steps=(above(colours.NEAR, 0.5),)),
            Column("Value #H", "Memory", "bytes", 90),
            Column("Value #I", "Files", "short", 65),
        ],
        height=5,
    )


def sourced(expr: str) -> str:
    """Return the expression with the source of each collector as a label."""
    names = {"host": HOST, "sqlite": SQLITE}
    expr = f'label_replace({expr}, "source", "postgres", "", "")'
    for source, of in names.items():
        found = "|".join(one.name for one in of)
        expr = f'label_replace({expr}, "source", "{source}", "collector", "{found}")'
    return expr


def collectors() -> list[Panel]:
    each = f"max by ({EXPORTER}, collector)"
    errors = "increase(mlflow_exporter_collector_errors_total[1h])"
    return [
        table(
            "Collectors",
            "Each part that reads, the one with most errors first. Age: seconds since the last complete reading; some "
            "read once a minute, the store's every 5 minutes, plans every 10. The reason is the most frequent: "
            "permission a GRANT, unreachable a network or a database, timeout and busy a slow one, unsupported no "
            "fault, bug ours.",
            {
                "success": f"min by ({EXPORTER}, collector, source) "
                f"({sourced('mlflow_exporter_collector_success')})",
                "age": f"floor(clamp_min(time() - {each} "
                "(mlflow_exporter_collector_last_success_timestamp_seconds), 0))",
                "takes": f"{each} (mlflow_exporter_collector_duration_seconds)",
                "errors": f"sum by ({EXPORTER}, collector) ({errors})",
                "reason": f"topk by ({EXPORTER}, collector) (1, sum by ({EXPORTER}, collector, reason) "
                f"({errors}) > 0)",
            },
            [
                Column("instance", "Instance"),
                Column("source", "Source", width=80),
                Column("collector", "Collector", width=125),
                Column(
                    "Value #A",
                    "State",
                    "none",
                    65,
                    maps={0: ("FAILS", colours.WARNING), 1: ("reads", colours.OK)},
                ),
                Column("Value #B", "Age", "s", 75, 0, steps=(above(colours.NEAR, 1800),)),
                Column("Value #C", "Takes", "s", 75, steps=(above(colours.NEAR, 1),)),
                Column("Value #D", "Errors/h", "short", 95, 0, steps=(above(colours.NEAR, 1),)),
                Column("reason", "Reason", width=105),
            ],
            sort="Errors/h",
            width=15,
            height=17,
        ),
        states(
            "Blind spots",
            "Whether each collector could be read, by the exporter that could read it. All that begin at one time: "
            "their source. One alone: its permission, or its query. What is blind without it says the runbook of "
            "exporter.",
            {"{{collector}}": "max by (collector) (mlflow_exporter_collector_success)"},
            {0: ("could not be read", colours.WARNING), 1: ("read", colours.OK)},
            width=9,
            height=17,
        ),
    ]


def failures() -> list[Panel]:
    errors = "mlflow_exporter_collector_errors_total"
    duration = "mlflow_exporter_collector_duration_seconds"
    return [
        graph(
            "Errors a minute",
            "Readings that failed, of all collectors, by reason. 0 is normal; the table above says which collectors. A "
            "bug is ours: the log has the traceback.",
            {
                "{{reason}}": f"60 * sum by (reason) (rate({errors}{INTERVAL})) "
                f"and on (reason) (sum by (reason) (increase({errors}{PAST})) > 0)",
                "all": f"60 * sum(rate({errors}{INTERVAL})) or 0 * count(mlflow_exporter_collector_success)",
            },
            unit_="short",
            overrides=[
                *(fixed(name, colour) for name, colour in zip(Reason, colours.PALETTE, strict=False)),
                DOTTED,
            ],
        ),
        graph(
            "Time of a reading",
            "What the last reading of a collector took, of the eight that ever took most in this time; a scrape takes "
            "as long as the slowest source. Above a second they miss their deadline: the database or the machine is "
            "too slow.",
            {
                "{{collector}}": f"max by (collector) ({duration}) and on (collector) "
                f"topk(8, max by (collector) (max_over_time({duration}{PAST})))"
            },
            legend="side",
            line=above(colours.NEAR, 1),
            overrides=COLLECTORS,
        ),
    ]


def samplers() -> list[Panel]:
    ticks, missed, broken = (
        f"sum by (sampler, instance) (rate(mlflow_exporter_sampler_{name}_total{INTERVAL}))"
        for name in ("ticks", "missed_ticks", "errors")
    )
    return [
        graph(
            "Background readings",
            "Readings a second by the samplers: load looks at the sessions once a second, each probe asks once in "
            "probes.interval. A line that falls or ends hangs in what it reads.",
            {"{{sampler}}": f"min by (sampler) ({ticks})"},
            unit_="ops",
            log=True,
            overrides=SAMPLERS,
        ),
        graph(
            "Missed readings",
            "Part of the readings that were left out, as the one before was still under way, or that ended in a bug. 0 "
            "is normal; much of the database's or of api's is a slow database, of all of them a starved machine.",
            {
                "{{sampler}}": f"max by (sampler) (({missed} + {broken}) / (({missed} + {ticks}) > 0))",
            },
            unit_="percentunit",
            at_least=0.1,
            overrides=SAMPLERS,
        ),
        by_instance(
            "Load known",
            "Part of the time for which the sampled load of the database is known. 1 is normal; where it is less the "
            "load's panels stand on fewer looks, and near 0 they are empty and its alerts silent. Empty with SQLite.",
            f"rate(mlflow_db_load_sampled_seconds_total{INTERVAL})",
            unit_="percentunit",
            at_least=1.1,
        ),
    ]


def cost() -> list[Panel]:
    sql = f'rate(mlflow_db_statement_read_seconds_total{{operation="exporter"}}{INTERVAL})'
    return [
        by_instance(
            "CPU",
            "Part of one core that each exporter takes. A few % are normal, more with thousands of statements and many "
            "scrapes.",
            own(f"rate(process_cpu_seconds_total{INTERVAL})"),
            unit_="percentunit",
            at_least=0.1,
        ),
        by_instance(
            "Memory",
            "Resident memory of each exporter. 60 to 100 MB are normal; a line that rises for days is a leak to "
            "report.",
            own("process_resident_memory_bytes"),
            unit_="bytes",
        ),
        by_instance(
            "Open files",
            "Open files of each exporter, a part of its limit. Near 0 is normal.",
            own("process_open_fds / process_max_fds"),
            unit_="percentunit",
            at_least=0.1,
        ),
        graph(
            "Its own SQL",
            "Sessions that the exporters' own statements keep busy in the database. Below 0.02 is normal. Empty with "
            "SQLite.",
            {"SQL": f"sum(max by (job, tracking_server) (sum without (operation, table) ({sql})))"},
            unit_="short",
            at_least=0.02,
        ),
        by_instance(
            "Series",
            "Series that each exporter gives to Prometheus. Some 700 are normal; they grow with tables, indexes and "
            "kinds of statements, never with users or runs.",
            "mlflow_exporter_series",
        ),
    ]


def dashboard() -> Dashboard:
    return Dashboard(
        "exporter",
        "Exporter",
        "Does the monitoring itself see everything, and what does it cost.",
        [
            Row("", [tiles(), blind(), [exporters()]]),
            Row("What is read", [collectors(), failures()]),
            Row("Samplers", [samplers()]),
            Row("What the monitoring costs", [cost()]),
        ],
        fleet=True,
    )
