"""MLflow / Probes and network: what the probes see from each place, and on which part of the way the time goes."""

from __future__ import annotations

from typing import Any

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.limits import threshold
from exporter.pack.dashboards.panel import (
    Column,
    Limit,
    Panel,
    Queries,
    above,
    fixed,
    graph,
    states,
    table,
)
from exporter.pack.dashboards.terms import api_failed

Json = dict[str, Any]

# Those that ask the server itself: what each is for, and what is normal.
ASKED = {
    "health": (
        "/health",
        "Only a worker's event loop is in it, so what is slow here is slow everywhere.",
        "Normal at the server is around 5 ms.",
    ),
    "version": (
        "/version",
        "A worker's thread and Python are in it, no database.",
        "Normal at the server is below 30 ms; above it calls wait for Python (server-resources).",
    ),
    "api": (
        "API",
        "A worker, a connection of its pool and the database are in it.",
        "Normal at the server is 10 to 60 ms; where this alone is slow, it is the database or a full pool.",
    ),
}
OWN = "health|version|api|database"

# In their order: the way, the server, the answer.
# What the server said, what nobody said, what the way said, and what the probe's own settings made.
REASONS = {
    "http_5xx": "red",
    "http_400|body|host": "orange",
    "timeout": "yellow",
    "too_many|rejected": "dark-red",
    "refused|reset": "purple",
    "dns|tls|unreachable": "light-purple",
    "http_3xx|http_401|http_403|http_4xx|auth|settings": "#8E8E8E",
}

# Seconds. Below the histogram's first bound a quantile is where it would be in the bucket, and nothing measured.
FIRST = 0.004

SUCCESS = {0: ("FAILS", colours.CRITICAL), 1: ("OK", colours.OK)}
CODES = {
    **dict.fromkeys((200,), colours.OK),
    **dict.fromkeys((301, 302, 303, 307, 308), colours.NEAR),
    **dict.fromkeys((400, 401, 403, 404, 405, 408, 422, 429), colours.WARNING),
    **dict.fromkeys((500, 501, 502, 503, 504), colours.CRITICAL),
}
STATUS = (above(colours.NEAR, 300), above(colours.WARNING, 400), above(colours.CRITICAL, 500))

# In seconds, from what is over to what is far.
DAY = 86400
EXPIRY = (
    above(colours.CRITICAL, -10_000 * DAY),
    above(colours.WARNING, 0),
    above(colours.NEAR, 7 * DAY),
    above(colours.OK, 14 * DAY),
)


def at_server(colour: str) -> Json:
    """Return the override that gives the place where nearly all exporters stand a colour."""
    return {
        "matcher": {"id": "byRegexp", "options": "/\\bserver$/"},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
    }


def places(title: str, text: str, queries: Queries, **options: Any) -> Panel:
    """Return a graph with a line for each place in the palette's order: by name a single one may be red."""
    made = graph(title, text, queries, **options)
    made.json["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    return made


def tails() -> Json:
    """Return the override that draws p95 thin, dashed and grey; what has a colour takes it from a later one."""
    return {
        "matcher": {"id": "byRegexp", "options": "/^p95/"},
        "properties": [
            {"id": "color", "value": {"mode": "fixed", "fixedColor": "#8E8E8E"}},
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [4, 4]}},
            {"id": "custom.lineWidth", "value": 1},
        ],
    }


def reasons() -> list[Json]:
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/ ({names})$/"},
            "properties": [{"id": "color", "value": {"mode": "shades", "fixedColor": colour}}],
        }
        for names, colour in REASONS.items()
    ]


def quantile(q: float, probe: str, by: str = "vantage") -> str:
    return f"""
        histogram_quantile({q}, sum by ({by}, le) (
            rate(mlflow_probe_duration_seconds_bucket{{{probe}}}[$__rate_interval])
        )) >= 0"""


def mean(probe: str, by: str = "") -> str:
    """Return PromQL for the mean duration of the attempts that succeeded."""
    return f"""
          sum by ({by}) (rate(mlflow_probe_duration_seconds_sum{{{probe}}}[$__rate_interval]))
        / (sum by ({by}) (rate(mlflow_probe_duration_seconds_count{{{probe}}}[$__rate_interval])) > 0)"""


def parts(title: str, text: str, probe: str, absent_: str = "") -> Panel:
    """Return the mean seconds of an attempt in each phase, as areas."""
    return graph(
        title,
        text,
        {
            "{{phase}}": f"""
                  sum by (phase) (rate(mlflow_probe_phase_seconds_total{{{probe}}}[$__rate_interval]))
                / on () group_left () (sum(rate(mlflow_probe_attempts_total{{{probe}}}[$__rate_interval])) > 0)"""
        },
        unit_="s",
        stacked=True,
        absent_=absent_,
    )


def now() -> Panel:
    last = "[5m]"  # twenty attempts at the usual interval
    by = "by (vantage, probe, instance)"
    attempts = f"(sum {by} (increase(mlflow_probe_attempts_total{last})) > 0)"

    def phase(matcher: str) -> str:
        seconds = f"increase(mlflow_probe_phase_seconds_total{{{matcher}}}{last})"
        return f"sum {by} ({seconds}) / {attempts}"

    far = (above(colours.WARNING, threshold("MlflowClientNetworkSlow")),)
    slow = (above(colours.NEAR, 0.25), above(colours.WARNING, 1))
    failing = (above(colours.NEAR, 0.001), Limit("MlflowApiFailing").step())
    return table(
        "Probes, last 5 minutes",
        "Each probe from each place: its last answer, what failed, its mean and, above 4 ms, 95 % of its calls, and "
        "the mean of each part of a call. Normal: all OK, health and version below 30 ms, api 10 to 60 ms, connect "
        "below 10 ms. Slow from one place only is the way from there; from everywhere the server or its database.",
        {
            "state": f"min {by} (mlflow_probe_success)",
            "status": f"max {by} (mlflow_probe_http_status_code)",
            "failed": f"sum {by} (increase(mlflow_probe_failures_total{last})) / {attempts}",
            "mean": f"sum {by} (increase(mlflow_probe_duration_seconds_sum{last}))"
            f" / (sum {by} (increase(mlflow_probe_duration_seconds_count{last})) > 0)",
            "p95": "histogram_quantile(0.95, sum by (vantage, probe, instance, le)"
            f" (increase(mlflow_probe_duration_seconds_bucket{last}))) > {FIRST}",
            "resolve": phase('phase="resolve"'),
            "connect": phase('phase=~"connect|tls"'),
            "processing": phase('phase="processing"'),
            "transfer": phase('phase="transfer"'),
        },
        [
            Column("vantage", "From", width=120),
            Column("probe", "Probe", width=130),
            Column("Value #A", "State", "none", 62, maps=SUCCESS, filled=True),
            Column("Value #B", "Status", "none", 64, 0, steps=STATUS),
            Column("Value #C", "Failed", "percentunit", 100, 0, 1, failing),
            Column("Value #D", "Mean", "s", 76, 1, steps=slow),
            Column("Value #E", "p95", "s", 76, 1, steps=slow),
            Column("Value #F", "Resolve", "s", 80, 1),
            Column("Value #G", "Connect, TLS", "s", 110, 1, steps=far),
            Column("Value #H", "Processing", "s", 94, 1, steps=slow),
            Column("Value #I", "Transfer", "s", 80, 1),
            Column("instance", "Exporter"),
        ],
        sort="From",
    )


def answers() -> list[Panel]:
    codes = states(
        "HTTP status over time",
        "Status of the last attempt of each HTTP probe, the highest where several exporters ask from one place. "
        "Normal is 200. 503 is the database, 400 of api a full pool, 401 and 403 the probe's own login, 502 and 504 a "
        "proxy; a gap means that nothing answered.",
        {"{{probe}} {{vantage}}": "max by (vantage, probe) (mlflow_probe_http_status_code)"},
        {code: (str(code), colour) for code, colour in CODES.items()},
        width=12,
    )
    codes.json["options"]["showValue"] = "auto"
    return [
        states(
            "Answers over time",
            "Whether the last attempt succeeded, by probe and place, the worst exporter of it. Normal is all OK. All "
            "fail: the server; api alone: its pool; database too: the database; one place alone: the way from there.",
            {"{{probe}} {{vantage}}": "min by (vantage, probe) (mlflow_probe_success)"},
            SUCCESS,
            width=12,
        ),
        codes,
    ]


def failures() -> list[Panel]:
    return [
        places(
            "API probe, failed",
            "Share of the API probe's attempts that failed, by place, its own login left out. Normal is 0. Above "
            "the line for a minute is MlflowApiFailing: users cannot log or search.",
            {"{{vantage}}": api_failed()},
            unit_="percentunit",
            most=1,
            limit=Limit("MlflowApiFailing"),
            width=10,
            overrides=[at_server(colours.SERIES["api"])],
        ),
        graph(
            "Failures by reason",
            "Failed attempts a minute, by probe and reason. Normal is none. refused: nobody listens; timeout: no "
            "answer in time, of api alone a full pool, as is http_400; http_5xx: the database or its connections; "
            "too_many: the database's connections; dns, tls, unreachable: the way.",
            {
                "none": "0 * sum(rate(mlflow_probe_attempts_total[$__rate_interval]))",
                # Only what failed at all, but then its zeros too: the last value is to be that of now.
                "{{probe}} {{reason}}": """
                    60 * sum by (probe, reason) (rate(mlflow_probe_failures_total[$__rate_interval]))
                    and sum by (probe, reason) (increase(mlflow_probe_failures_total[$__range] @ end())) > 0""",
            },
            unit_="cpm",
            stacked=True,
            at_least=1,
            legend="side",
            overrides=[fixed("none", colours.OK), *reasons()],
        ),
    ]


def durations() -> list[Panel]:
    return [
        places(
            title,
            f"What half and 95 % of the calls take at most, by place. {use} {normal}",
            {
                "p50 {{vantage}}": quantile(0.5, f'probe="{name}"'),
                "p95 {{vantage}}": quantile(0.95, f'probe="{name}"'),
            },
            unit_="s",
            overrides=[tails(), at_server(colours.SERIES[name])],
        )
        for name, (title, use, normal) in ASKED.items()
    ]


def path() -> list[Panel]:
    return [
        graph(
            "Request path at the server",
            "Mean of each probe's calls at the server, without those that failed. Normal is the order health, version, "
            "api. The lowest line that is high is where the time goes: all of them the server, api alone the database "
            "or a full pool.",
            {name: mean(f'probe="{name}", vantage="server"') for name in colours.PROBES},
            unit_="s",
        ),
        parts(
            "Parts of an API call",
            "Where a call of the API probe spends its time, mean of all places, failed ones with the time that they "
            "waited. Normal is nearly all in processing, the server's own work. Much in connect or tls is the way "
            "(network-latency), in resolve the name server.",
            'probe="api"',
        ),
        parts(
            "Parts of a /health call",
            "The same of /health, for which the server does nearly nothing: what is left is the way and a busy event "
            "loop. Normal is a few milliseconds. Much processing at the server is Python without CPU "
            "(server-resources), from elsewhere a proxy or the way.",
            'probe="health"',
        ),
    ]


def database() -> list[Panel]:
    probe = 'probe="database"'
    return [
        graph(
            "Database round trip",
            "One round trip from the exporter: its mean, what the quickest tenth takes at most (p10, below 4 ms an "
            "estimate), and half and 95 % where that is above 4 ms. Normal is below 1 ms in a zone, 2 ms between two; "
            "each API call makes 9 to 12. p10 above the line is the way: MlflowDatabaseRoundTripSlow. The others alone "
            "are a busy database.",
            {
                "p10": f"max({quantile(0.1, probe, 'instance')})",
                "mean": f"max({mean(probe, 'instance')})",
                "p50": f"max({quantile(0.5, probe, 'instance')}) > {FIRST}",
                "p95": f"max({quantile(0.95, probe, 'instance')}) > {FIRST}",
            },
            unit_="s",
            limit=Limit("MlflowDatabaseRoundTripSlow"),
            at_least=0.006,
            overrides=[
                tails(),
                fixed("p10", colours.SERIES["database"]),
                fixed("mean", colours.SERIES["api"]),
                fixed("p50", "light-purple"),
                fixed("p95", "super-light-purple"),
            ],
        ),
        places(
            "Round trip of the scrape",
            "Time from sending a scrape's queries on the kept connection to the first answer. The exporter's own "
            "work is in it, so it is an upper bound. Normal is a flat line of a few milliseconds; a step is a "
            "database that has moved, to another zone after a failover, say.",
            {"{{instance}}": "max by (instance) (mlflow_db_round_trip_seconds)"},
        ),
        places(
            "New connection",
            "Mean time until a new session of the database is ready: connect, TLS, login and its first statement; "
            "failed ones with the time that they waited. Normal is 5 to 50 ms. Slow while the round trip is quick: "
            "a database without CPU, a full pooler, or a slow name server.",
            {
                "{{vantage}}": f"""
                          sum by (vantage) (
                            rate(mlflow_probe_phase_seconds_total{{{probe}, phase="connect"}}[$__rate_interval])
                          )
                        / (sum by (vantage) (rate(mlflow_probe_attempts_total{{{probe}}}[$__rate_interval])) > 0)"""
            },
            unit_="s",
            overrides=[at_server(colours.SERIES["database"])],
        ),
    ]


def elsewhere() -> list[list[Panel]]:
    """Return what there is only with an exporter at another place, or with URLs that were named."""
    nobody = "No exporter at another place"
    named = f'probe!~"{OWN}"'
    return [
        [
            places(
                "Round trip by path",
                "Mean of each path to the server: connect, and of /health the time to the first byte. Normal is "
                "below 10 ms. Above the line for 5 minutes, while the server itself is quick, is "
                "MlflowClientNetworkSlow. Empty without an exporter at another place or a named URL.",
                {"{{path}} {{phase}}": "mlflow:path_phase_seconds:mean5m"},
                unit_="s",
                limit=Limit("MlflowClientNetworkSlow"),
                at_least=0.04,
                absent_=f"{nobody}, and no URL in probes.urls",
            ),
            places(
                "/health, here and there",
                "Half of the calls to /health from each place take at most this, and from the server itself. Normal "
                "is one round trip between the lines: that is the way. Where that at the server rises too, it is the "
                "server.",
                {
                    "{{vantage}}": quantile(0.5, 'probe="health", vantage!="server"'),
                    "at the server": "max(mlflow:server_health_seconds:median5m >= 0)",
                },
                unit_="s",
                overrides=[fixed("at the server", colours.SERIES["health"])],
            ),
        ],
        [
            parts(
                "Parts of a /health call from there",
                "Where a call of /health from other places spends its time, in the mean. Normal is one round trip "
                "in connect and one in processing. Much in processing while the server is quick is a proxy, mesh "
                "or VPN, in resolve the name server of that place. Empty without an exporter at another place.",
                'probe="health", vantage!="server"',
                absent_=nobody,
            ),
            places(
                "Named URLs",
                "What half and 95 % of the calls to each URL of probes.urls take at most. Normal is what it was "
                "last week; where it rose, the table above has the part of the call that did. Empty without "
                "probes.urls.",
                {
                    "p50 {{probe}} {{vantage}}": quantile(0.5, named, "vantage, probe"),
                    "p95 {{probe}} {{vantage}}": quantile(0.95, named, "vantage, probe"),
                },
                unit_="s",
                overrides=[tails()],
                absent_="No URL in probes.urls",
            ),
        ],
    ]


def attempts() -> list[Panel]:
    return [
        places(
            "Attempts",
            "Attempts a minute of each probe, of all exporters at a place. Normal is a flat line: four a minute and "
            "exporter, where probes.interval is the usual 15 s. One that falls to 0 hangs, in a name server most "
            "often; its state is then absent above.",
            {
                "{{probe}} {{vantage}}": "60 * sum by (vantage, probe)"
                " (rate(mlflow_probe_attempts_total[$__rate_interval]))"
            },
            unit_="cpm",
            legend="side",
        ),
        table(
            "Certificates",
            "Time until the server's own certificate expires, as each probe last saw it. Normal is more than two "
            "weeks; after its end every call fails, the probes' with reason tls. Empty without TLS.",
            "min by (vantage, probe) (mlflow_probe_certificate_expiry_timestamp_seconds) - time()",
            [
                Column("vantage", "From", width=160),
                Column("probe", "Probe", width=140),
                Column("Value", "Expires in", "s", decimals=1, steps=EXPIRY),
            ],
            absent_="No TLS",
        ),
    ]


def dashboard() -> Dashboard:
    return Dashboard(
        "probes",
        "Probes and network",
        "What the exporter's probes see from each place, and on which part of the way the time goes.",
        [
            Row("", [[now()], answers()]),
            Row("What fails", [failures()]),
            Row("How long it takes", [durations(), path()]),
            Row("The way to the database", [database()]),
            Row("From other places", elsewhere(), closed=True),
            Row("Attempts and certificates", [attempts()], closed=True),
        ],
    )
