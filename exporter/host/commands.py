"""What a command line says: which web server runs MLflow, where it listens, what a process is for."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("uvicorn", "gunicorn", "waitress")

# The application's module, the log configuration given to uvicorn, the name given to waitress.
SIGNS = ("mlflow.server", "/mlflow/server/", "--ident=mlflow")

# Modules by which MLflow starts its background processes.
JOB_RUNNERS = ("mlflow.server.jobs._job_runner", "mlflow.server.jobs._executor_runner")
CONSUMER = "huey.bin.huey_consumer"
JOB = "mlflow.server.jobs._job_subproc_entry"


@dataclass(frozen=True, slots=True)
class Frontend:
    """A web server's command line. `port` is 0 and `workers` None where it does not say."""

    kind: str
    port: int
    workers: int | None
    scheme: str
    basic_auth: bool


def frontend(argv: Sequence[str], marked: bool = False) -> Frontend | None:
    """Return what runs MLflow's application, None for any other process.

    An application of a plugin (`--app-name`) need not have MLflow in its name: `marked` says that the
    environment tells it is MLflow's.
    """
    kind = _kind(argv)
    if not kind or not (marked or any(sign in word for word in argv for sign in SIGNS)):
        return None
    if kind == "gunicorn":
        port = option(argv, "-b", "--bind").rpartition(":")[2]
        workers = option(argv, "-w", "--workers")
    else:
        port = option(argv, "--port")
        workers = option(argv, "--workers") if kind == "uvicorn" else "1"
    return Frontend(
        kind=kind,
        port=int(port) if _number(port) else 0,
        workers=int(workers) if _number(workers) else None,
        scheme="https" if option(argv, "--ssl-certfile", "--certfile") else "http",
        basic_auth=any("mlflow.server.auth" in word for word in argv),
    )


def is_cli(argv: Sequence[str]) -> bool:
    """Say whether this is `mlflow server` or `mlflow ui`, in any of the forms that start it."""
    for at, word in enumerate(argv[:3]):
        if os.path.basename(word) == "mlflow":  # noqa: PTH119 - a word, not a path
            return any(word in ("server", "ui") for word in argv[at + 1 :])
    return False


def is_forked_worker(argv: Sequence[str]) -> bool:
    """Say whether multiprocessing spawned it: a worker of uvicorn, when a supervisor of uvicorn did."""
    return any("spawn_main(" in word for word in argv) or "--multiprocessing-fork" in argv


def background_role(argv: Sequence[str]) -> str:
    """Return the role of a process that is known by its own command line alone, else empty."""
    if any(word in JOB_RUNNERS for word in argv):
        return "job_runner"
    if CONSUMER in argv:
        return "consumer"
    if JOB in argv:
        return "job"
    return "resource_tracker" if any("resource_tracker" in word for word in argv) else ""


def may_be_ours(argv: Sequence[str]) -> bool:
    """Say whether it is worth reading the process's environment."""
    return bool(_kind(argv)) or is_forked_worker(argv) or any("mlflow" in word for word in argv)


def option(argv: Sequence[str], *names: str) -> str:
    """Return the value of the last of these options, `--name value` or `--name=value`; empty without."""
    found = ""
    for at, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if word in names:
            found = argv[at + 1] if at + 1 < len(argv) else ""
        elif equals and name in names:
            found = value
        elif word[:2] in names and len(word) > 2 and word[0] == "-" != word[1]:
            found = word[2:]  # -w4
    return found


def _kind(argv: Sequence[str]) -> str:
    # `python -m uvicorn ...`, `/bin/gunicorn ...`, `python /bin/gunicorn ...`, and what setproctitle makes of
    # it: `gunicorn: master [mlflow.server:app]`.
    for word in argv[:3]:
        name = os.path.basename(word).partition(":")[0]  # noqa: PTH119 - a word, not a path
        if name in KINDS or name == "waitress-serve":
            return name.partition("-")[0]
    return ""


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6
