"""Row of the database's dashboard about the settings of Postgres."""

from __future__ import annotations

from exporter.pack import RUNBOOKS
from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.panel import Column, Panel, above, stat, table, words

SWITCHES = "autovacuum|fsync|full_page_writes|hot_standby_feedback|jit|track_io_timing|track_wal_io_timing"
GIVEN = "synchronous_standby_names"


def said(expr: str, text: str) -> str:
    """Return PromQL that puts the value into the label `value`, as a column has one unit and settings have many."""
    return f'label_replace(count_values by (name) ("number", {expr}), "value", "{text}", "number", "(.*)")'


def fixed_text(expr: str, text: str) -> str:
    """Return PromQL that gives the label `value` this text."""
    return f'label_replace({expr}, "value", "{text}", "", "")'


def values() -> str:
    """Return PromQL for every setting, with its value as a text with its unit in the label `value`."""
    size = "max by (name) (mlflow_db_setting_bytes)"
    time = "max by (name) (mlflow_db_setting_seconds)"
    plain = "max by (name) (mlflow_db_setting{{name{0}}})"
    switch, given = plain.format(f'=~"{SWITCHES}"'), plain.format(f'="{GIVEN}"')
    number = plain.format(f'!~"{SWITCHES}|{GIVEN}"')
    return " or ".join(
        [
            said(f"round(({size} >= 1073741824) / 1073741824, 0.01)", "$1 GiB"),
            said(f"round(({size} >= 1048576 < 1073741824) / 1048576, 0.1)", "$1 MiB"),
            said(f"({size} < 1048576) / 1024", "$1 KiB"),
            said(f"({time} >= 60) / 60", "$1 min"),
            said(f"{time} > 0 < 60", "$1 s"),
            fixed_text(f"{time} == 0", "off"),
            fixed_text(f"{switch} == 1", "on"),
            fixed_text(f"{switch} == 0", "off"),
            fixed_text(f"{given} == 1", "given"),
            fixed_text(f"{given} == 0", "none"),
            said(number, "$1"),
            "max by (name, value) (mlflow_db_setting_info)",
        ]
    )


# As MlflowFsyncOff (2) and MlflowDatabaseSettingUnsuitable (1) look at them; others have no rule.
VERDICT = """
    max by (name) (
        2 * (mlflow_db_setting{name=~"fsync|full_page_writes"} == bool 0)
      or
        mlflow_db_setting{name="autovacuum"} < bool 1
      or
        mlflow_db_setting_seconds{name="checkpoint_timeout"} < bool 300
      or
        (mlflow_db_setting_bytes < bool 0.8 * mlflow_db_setting_recommended_min_bytes)
        + (
            mlflow_db_setting_bytes > bool 1.25 * mlflow_db_setting_recommended_max_bytes
          or
            0 * mlflow_db_setting_recommended_min_bytes
        )
    )"""


def audit() -> Panel:
    return table(
        "Settings",
        "Settings that decide how MLflow's database does, as they are for the owner of its tables, and the range that "
        "suits its memory, cores and size. Outside: MlflowDatabaseSettingUnsuitable has the statement, nothing is "
        "broken. Loses data: MlflowFsyncOff. Without a verdict no rule says what is right.",
        {
            "value": values(),
            "least": "max by (name) (mlflow_db_setting_recommended_min_bytes)",
            "most": "max by (name) (mlflow_db_setting_recommended_max_bytes)",
            "verdict": VERDICT,
        },
        [
            Column("name", "Setting"),
            Column("value", "Value", width=110),
            Column("Value #B", "At least", "bytes", 95),
            Column("Value #C", "At most", "bytes", 95),
            Column(
                "Value #D",
                "Verdict",
                "none",
                100,
                maps={
                    0: ("suits", colours.OK),
                    1: ("outside", colours.INFO),
                    2: ("loses data", colours.CRITICAL),
                },
            ),
        ],
        sort="Verdict",
        width=14,
        height=25,
    )


GUIDE = f"""
| Setting | What is right for MLflow | Takes effect |
| --- | --- | --- |
| `shared_buffers` | a quarter of memory, but no more than the database's size | restart |
| `effective_cache_size` | half to three quarters of memory | reload |
| `work_mem` | memory / 16 / (4 x cores) | reload |
| `maintenance_work_mem` | 512MB to 1GB | reload |
| `max_wal_size` | 4GB, 16GB for a busy server | reload |
| `checkpoint_timeout` | 15min | reload |
| `wal_buffers` | -1; 16MB where its alert fires | restart |
| `random_page_cost` | 1.1 on an SSD | reload |
| `autovacuum`, `fsync`, `full_page_writes` | on, always | reload |
| `track_io_timing`, `track_wal_io_timing` | on | reload |
| `idle_in_transaction_session_timeout` | 5min, but 0 for gc and migrations | new sessions |

`ALTER SYSTEM SET name = value; SELECT pg_reload_conf();` or the parameter group of your cloud. What each costs and
risks: [runbook]({RUNBOOKS}/database-configuration.md#fix-for-good).
"""


def settings_row() -> Row:
    return Row(
        "Settings",
        [
            [
                stat(
                    "Outside their range",
                    "Settings that do not suit the database's machine; the list below says which. Nothing is broken: "
                    "MlflowDatabaseSettingUnsuitable.",
                    f"sum({VERDICT} > bool 0)",
                    unit_="short",
                    steps=[above(colours.OK, 0), above(colours.INFO, 1)],
                    absent_="no data",
                ),
                stat(
                    "Restart due",
                    "Settings that were changed and wait for a restart of Postgres: SELECT name, setting FROM "
                    "pg_settings WHERE pending_restart names them. Normal is 0.",
                    "max(mlflow_db_settings_pending_restart)",
                    steps=[above(colours.OK, 0), above(colours.NEAR, 1)],
                    absent_="no data",
                ),
                stat(
                    "Sees all sessions",
                    "Whether the exporter's role may see the sessions and statements of all roles. NO: GRANT "
                    "pg_monitor to it, or load and connections of others are not known.",
                    "max(mlflow_db_monitor_privilege)",
                    maps={0: ("NO", colours.NEAR), 1: ("YES", colours.OK)},
                    absent_="no data",
                ),
            ],
            [audit(), words("What is right", GUIDE, width=10, height=25)],
        ],
        closed=True,
    )
