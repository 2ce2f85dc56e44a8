"""The command line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from exporter import __version__
from exporter.logs import set_up
from exporter.settings import Settings, SettingsError, add_flags, flags_of, load

COMMANDS = {
    "serve": "run the exporter (the default)",
    "once": "print two scrapes, for a bug report",
    "check": "validate the settings, show the plan and what is missing",
    "explain": "what MLflow's slowest SELECTs read, which index would help, who writes",
    "grants": "print the SQL for a database role with the fewest rights",
    "diagnose": "which cause it is, the evidence, what to do, who writes",
    "pack": "write alerts and dashboards as files for Prometheus, Alertmanager and Grafana",
    "systemd": "print a hardened unit for systemd, with this installation's path",
    "reference": "write METRICS.md: every metric and every setting",
}

EXAMPLES = """examples:
  mlflow-exporter                              find the tracking server and its database, serve 127.0.0.1:10500
  mlflow-exporter --config exporter.yml        with settings; `check` says what they come to
  mlflow-exporter check                        what is found, what will be read, which GRANT is missing
  mlflow-exporter once --for 30s > report.txt  two scrapes 30 s apart
  mlflow-exporter explain --for 2m             slow queries, missing indexes, top writers, under the usual load
  mlflow-exporter grants --role watcher        SQL for a role that can only look
  mlflow-exporter diagnose --prometheus http://prometheus:9090
  mlflow-exporter pack /etc/mlflow-alerts      rules, routes, message templates, dashboards
  MLFLOW_EXPORTER_DATABASE_DSN_FILE=/run/secrets/dsn mlflow-exporter --collectors database,connections
"""

DIAGNOSED = """In the column `1h ago`, none: its conditions did not hold then; ?: nothing is known of then.
A cause that another one explains comes after it. Proxies of the environment are used, as curl does.

exit status:
  0  nothing fires, or two scrapes were compared
  1  no diagnosis: the report says why
  2  faulty settings or usage
  3  an alert fires that is worth a notification
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 where it could not run, 2 for faulty settings or usage.

    `diagnose` has one more: 3 where an alert fires.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Without a command the flags are those of `serve`; --help and --version are those of the whole.
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "serve")
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except SettingsError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:
        # `once | head`: what is left to write has no reader; Python's own flush at the exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command in ADDS:
        return _write(options)

    from exporter.plan import NAMES  # noqa: PLC0415
    from exporter.secret import keep_memory_private  # noqa: PLC0415

    keep_memory_private()

    def settings() -> Settings:
        return load(options.config, os.environ, flags_of(options), NAMES)

    # These reports say all that their log would.
    set_up("error" if options.command in ("check", "diagnose", "explain") else settings().log.level)
    match options.command:
        case "check":
            from exporter.reports.check import check  # noqa: PLC0415

            sys.stdout.write(check(settings))
        case "once":
            from exporter.reports.once import once  # noqa: PLC0415

            once(settings, options.apart, sys.stdout)
        case "explain":
            from exporter.reports.explain import explain  # noqa: PLC0415

            return explain(settings(), options.apart, options.json, sys.stdout)
        case "diagnose":
            from exporter.reports.diagnose import Wanted, diagnose  # noqa: PLC0415

            wanted = Wanted(options.apart, options.job, options.tracking_server, options.at)
            return diagnose(settings, wanted, options.json, sys.stdout)
        case _:
            from exporter.serve import serve  # noqa: PLC0415

            return serve(settings)
    return 0


def _write(options: argparse.Namespace) -> int:
    """Run a command that writes files or prints, and reads nothing but its own options."""
    match options.command:
        case "reference":
            from exporter.reports import reference  # noqa: PLC0415 - each command loads what it needs

            reference.write(options.file, reference.reference())
            if options.schema:
                reference.write(options.schema, reference.settings_schema())
        case "grants":
            from exporter.reports.grants import grants  # noqa: PLC0415

            given = (options.role, options.database, options.schema, options.service)
            sys.stdout.write(grants(*given, plans=options.plans, existing=options.existing))
        case "systemd":
            from exporter.systemd import unit  # noqa: PLC0415

            sys.stdout.write(unit(options.user))
        case "pack":
            from exporter.pack.command import pack  # noqa: PLC0415

            return pack(options.directory, options.format, options.values, options.flags)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlflow-exporter",
        description="Prometheus exporter for MLflow tracking servers on Postgres.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mlflow-exporter {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, help in COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        if name in ADDS:
            ADDS[name](command)
            continue
        command.add_argument("--config", type=Path, metavar="FILE", help="settings file, YAML")
        if name == "diagnose":
            _add_diagnose(command)
        if name in ("diagnose", "explain"):
            command.add_argument("--json", action="store_true", help="for programs")
        if name in ("diagnose", "once", "explain"):
            command.add_argument(
                "--for",
                dest="apart",
                type=_duration,
                default=30.0,
                metavar="TIME",
                help="time between the two readings, as 30s or 2m",
            )
        add_flags(command)
    return parser


def _add_diagnose(command: argparse.ArgumentParser) -> None:
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = DIAGNOSED
    command.add_argument(
        "--prometheus",
        dest="prometheus.url",
        default=argparse.SUPPRESS,
        metavar="URL",
        help="ask what its rules have found, short for --prometheus.url; without it two scrapes are compared",
    )
    command.add_argument("--job", default="", help="of these exporters only")
    command.add_argument("--tracking-server", default="", metavar="NAME", help="of this one only")
    command.add_argument(
        "--at",
        type=moment,
        metavar="TIME",
        help="what Prometheus says of another time, as 2026-01-31T03:00Z; no database is watched then",
    )


def _add_pack(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "directory", type=Path, metavar="DIR", help="a new or empty one, or a pack to replace"
    )
    formats = ("kubernetes", "kubernetes-server", "grafana", "prometheus")
    command.add_argument(
        "--format",
        choices=formats,
        default="",
        help="for one of them alone (default: prometheus and grafana); kubernetes-server: one more server's part",
    )
    command.add_argument("--values", type=Path, metavar="FILE", help="thresholds, severities and more, YAML")
    for name, metavar, help in (
        (
            "runbook-url",
            "BASE",
            "where the runbooks are, as http://exporter:10500/runbooks (default: the repository)",
        ),
        ("grafana-url", "BASE", "Grafana's own, for links to its boards"),
        ("job", "NAME", "the job of the exporter's targets (default: mlflow)"),
        ("tracking-server", "NAME", "the server's name in examples and manifests (default: main)"),
        ("cluster-label", "NAME", "the label of the clusters that one Prometheus, Thanos or Mimir holds"),
        ("namespace", "NAME", "of all objects, with --format kubernetes (default: mlflow)"),
    ):
        command.add_argument(
            f"--{name}", action=_Option, dest="flags", default={}, metavar=metavar, help=help
        )


def _add_grants(command: argparse.ArgumentParser) -> None:
    for option, default, what in (
        ("--role", "exporter", "the exporter's own role"),
        ("--database", "mlflow", "MLflow's database"),
        ("--schema", "public", "the schema of MLflow's tables"),
    ):
        command.add_argument(
            option, type=_identifier, default=default, metavar="NAME", help=f"{what} (default {default})"
        )
    command.add_argument(
        "--for",
        dest="service",
        choices=("postgres", "rds", "cloudsql", "azure"),
        default="postgres",
        help="who runs Postgres (default postgres: you)",
    )
    command.add_argument(
        "--without-plans",
        dest="plans",
        action="store_false",
        help="columns, not whole tables: values of parameters stay closed, MLflow's slow SELECTs unexplained",
    )
    command.add_argument(
        "--existing-role",
        dest="existing",
        action="store_true",
        help="the role is there, made by IAM or Entra, say: alter it; such SQL may be run again and again",
    )


def _add_systemd(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--user",
        type=_user,
        default="mlflow",
        metavar="NAME",
        help="the tracking server's own user (default mlflow)",
    )


def _add_reference(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path("METRICS.md"),
        help="default METRICS.md; - for standard output",
    )
    command.add_argument("--schema", type=Path, help="also write the JSON schema of the settings file there")


# What commands with options of their own take, which read none of the settings.
ADDS = {"reference": _add_reference, "grants": _add_grants, "pack": _add_pack, "systemd": _add_systemd}


def _user(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a user: write its name, or its number")
    return text


def _identifier(text: str) -> str:
    # Postgres cuts longer ones, so the grants would be somebody else's; a line break would end a comment.
    if not 1 <= len(text.encode()) <= 63 or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a name in Postgres: write 1 to 63 bytes that can be printed"
        )
    return text


class _Option(argparse.Action):
    """Keep a flag's text under the key that it has in the file of options."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        text: object,
        flag: str | None = None,
    ) -> None:
        key = str(flag).lstrip("-").replace("-", "_")
        namespace.flags = {**namespace.flags, key: str(text)}


def moment(text: str) -> float:
    """Return the Unix time of an ISO 8601 text, which is in UTC where it has no zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 2026-01-31T03:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 30s, 2m or 500ms")
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}[match[2]]
