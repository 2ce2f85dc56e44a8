"""What a statement is for: SQL text to (operation, table, read or write), by the shapes that MLflow's texts have.

The texts are those of `pg_stat_statements` (constants are `$1`) and of `pg_stat_activity` (psycopg2 sends
constants, psycopg 3 `$1::VARCHAR`). SQLAlchemy qualifies every column, so the first one that a SELECT reads
names its table; what people type by hand looks different, and is `other`.

What the text alone cannot resolve:
- `SELECT runs … runs.run_uuid =` is get_run, and also the first step of every write to a run: `run_lookup`.
- `SELECT params … = params.run_uuid` is log_batch, and once in update_run: `log_params`.
- MLflow 2 looks for points logged twice with the text that get-history has: `metric_history`.
- A new run's tags are written as any others, and MLflow 2 deletes them so in `mlflow gc`: `set_tags`.
- log_metric for a model, and what create_run or a trace look up of their experiment, belong to the latter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# All rules find what they need in it, but for FOR UPDATE after a list of 500 keys (see LOCKS).
LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Statement:
    """A class of statements.

    `table` is one of TABLES, `other` for the rest of MLflow's, empty where there is none. `writes` is true of
    row locks too: they write to the table, and no replica can serve them.
    """

    operation: str
    table: str
    writes: bool


OPERATIONS = {
    "log_metrics": "log_metric, log_batch: points, and the last value of each key",
    "log_params": "log_param, log_batch: parameters",
    "set_tags": "set_tag, log_batch, create_run: tags of runs",
    "create_run": "create_run",
    "update_run": "end, rename, delete or restore a run",
    "delete_run": "what delete_run does in all assessments",
    "run_lookup": "one run by its id: get_run, and the first step of each write to a run",
    "fetch_runs": "metrics, parameters and tags of runs: get_run, search_runs",
    "search_runs": "search_runs",
    "metric_history": "points of runs: get_metric_history, charts of the UI",
    "search_experiments": "search_experiments",
    "get_experiment": "one experiment by id or name",
    "edit_experiment": "create, rename, tag, delete or restore an experiment",
    "datasets": "inputs and outputs of runs",
    "logged_models": "logged models",
    "registry": "registered models, model versions, prompts",
    "traces": "traces, spans, assessments, issues",
    "evaluation": "evaluation datasets, scorers, reviews",
    "jobs": "jobs and their schedule",
    "gateway": "endpoints, secrets, guardrails, budgets",
    "admin": "users, roles, workspaces, webhooks, MCP servers, skills",
    "gc": "mlflow gc",
    "commit": "COMMIT",
    "transaction": "BEGIN, ROLLBACK, savepoints, settings of the session",
    "ping": "the connection pool's check of a connection",
    "fk_check": "Postgres' own checks and cascades of foreign keys; their time is in the statement around them too",
    "nested": "statements inside functions; their time is in the statement around them too",
    "catalog": "system catalogs, migrations",
    "exporter": "this exporter",
    "other": "everything else",
}

# What any tracking server does, and what alerts and panels look at: counted as 0 until it was first seen.
KNOWN = tuple(
    Statement(operation, table, writes)
    for operation, table, writes in (
        ("log_metrics", "metrics", True),
        ("log_metrics", "latest_metrics", True),
        ("log_metrics", "latest_metrics", False),
        ("log_params", "params", True),
        ("log_params", "params", False),
        ("set_tags", "tags", True),
        ("create_run", "runs", True),
        ("update_run", "runs", True),
        ("run_lookup", "runs", False),
        ("fetch_runs", "latest_metrics", False),
        ("fetch_runs", "params", False),
        ("fetch_runs", "tags", False),
        ("search_runs", "runs", False),
        ("metric_history", "metrics", False),
        ("search_experiments", "experiments", False),
        ("get_experiment", "experiments", False),
        ("commit", "", True),
        ("transaction", "", False),
        ("other", "", False),
        ("other", "", True),
    )
)

# Tables with a label value of their own: those that grow, or whose cost tells causes apart.
TABLES = frozenset(
    (
        *("runs", "metrics", "latest_metrics", "params", "tags", "inputs", "experiments", "experiment_tags"),
        *("trace_info", "logged_models", "model_versions"),
    )
)

# All tables of MLflow 2 and 3, with the operation that their statements belong to where no rule below applies.
FAMILIES = tuple(
    (operation, re.compile(tables))
    for operation, tables in (
        ("log_metrics", r"metrics|latest_metrics"),
        ("log_params", r"params"),
        ("set_tags", r"tags"),
        ("update_run", r"runs"),
        ("edit_experiment", r"experiments|experiment_tags"),
        ("datasets", r"datasets|inputs|input_tags"),
        ("logged_models", r"logged_model(?:s|_metrics|_params|_tags)"),
        ("registry", r"(?:registered_model|model_version)(?:s|_tags|_aliases)"),
        ("traces", r"trace_\w+|spans|span_metrics|assessments|issues|issue_categories|sql_\w+_(?:rollups|queue)"),
        ("evaluation", r"evaluation_dataset\w+|entity_associations|scorers|scorer_versions|label_schemas|review_\w+"),
        ("jobs", r"jobs|job_locks|scheduler_leases|online_scoring_configs"),
        ("gateway", r"endpoints|endpoint_\w+|model_definitions|secrets|guardrails|guardrail_configs|budget_policies"),
        ("admin", r"users|roles|user_role_assignments|\w+_permissions|workspaces|webhook\w+|mcp_\w+|skill\w+"),
        ("catalog", r"alembic_version"),
    )
)  # fmt: skip

# Tables that serve several operations: the first pattern that is found decides.
RULES = {
    table: tuple((operation, re.compile(shape)) for operation, shape in rules)
    for table, rules in {
        "metrics": (
            ("gc", r"^DELETE"),
            ("catalog", r"^SELECT count\("),
            # The search for points logged twice, after their INSERT failed.
            ("metric_history", r"^SELECT(?!.* metrics\.is_nan = )"),
        ),
        "latest_metrics": (
            ("gc", r"^DELETE"),
            ("fetch_runs", r"^SELECT(?!.* latest_metrics\.key IN \()"),
        ),
        "params": (
            ("gc", r"^DELETE"),
            ("fetch_runs", r"^SELECT.* params\.run_uuid IN \("),
        ),
        "tags": (
            ("gc", r"^DELETE.* WHERE tags\.run_uuid = "),
            ("fetch_runs", r"^SELECT.* (?:tags\.run_uuid IN \(|= tags\.run_uuid)"),
        ),
        "runs": (
            ("create_run", r"^INSERT"),
            ("gc", r"^DELETE|^SELECT.* (?:runs\.deleted_time <= |= runs\.experiment_id)"),
            ("search_runs", r"^SELECT DISTINCT|^SELECT.* OFFSET "),
            ("edit_experiment", r"^SELECT.* runs\.experiment_id = "),
            ("run_lookup", r"^SELECT.* runs\.run_uuid (?:=|IN) "),
            ("catalog", r"^SELECT"),
        ),
        "experiments": (
            ("gc", r"^DELETE"),
            ("search_experiments", r"^SELECT.* OFFSET "),
            ("get_experiment", r"^SELECT"),
        ),
        "experiment_tags": (
            ("search_experiments", r"^SELECT.* OFFSET "),
            ("get_experiment", r"^SELECT.* JOIN experiment_tags "),
        ),
        "assessments": (("delete_run", r"^DELETE.*\bassessments\.assessment_metadata LIKE "),),
    }.items()
}

# What is recognised without a table of MLflow.
SHAPES = tuple(
    (operation, re.compile(shape, re.IGNORECASE))
    for operation, shape in (
        ("commit", r"(?:COMMIT|END)\b"),
        (
            "transaction",
            r"(?:BEGIN|START TRANSACTION|ROLLBACK|ABORT|SAVEPOINT|RELEASE|SET|RESET|DISCARD|DEALLOCATE)\b",
        ),
        ("ping", r"(?:SELECT \$?\d+;?|;)\Z"),
        ("catalog", r"(?:CREATE|ALTER|DROP|COMMENT|SHOW)\b"),
        ("catalog", r"SELECT (?:current_schema|pg_catalog\.)|SELECT .* FROM (?:pg_|information_schema\.)"),
    )
)

# Our own: marked before or behind the first word, with a column named as a metric, or the limits set before each.
MARK = re.compile(r"(?:\s*--[^\n]*\n)*\s*(?:\w+ )?(?:--|/\*) mlflow-exporter\b")
OURS = re.compile(
    r"\bmlflow_(?:server|host|db|store|probe|exporter)_[a-z]|set_config\(.*set_config\(", re.DOTALL
)
FOREIGN_KEY = re.compile(r"(?:SELECT .* FROM|DELETE FROM|UPDATE) ONLY .* OPERATOR\(pg_catalog\.")
CHANGES = re.compile(
    r"(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|LOCK|VACUUM|ANALYZE"
    r"|REINDEX|CLUSTER|REFRESH|COMMIT|END|COPY .* FROM)\b",
    re.IGNORECASE,
)
# All columns of given keys are read to be changed: FOR UPDATE itself may be past LOOKED_AT.
LOCKS = re.compile(
    r".* FOR (?:NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)\b"
    r"|SELECT latest_metrics\.key AS latest_metrics_key, .* latest_metrics\.key IN \("
)
# The comment's end is looked for lazily: Python 3.11.2's possessive groups fail on an alternative that looks ahead.
NOISE = re.compile(
    r"""(?P<literal>'(?:[^']|'')*+(?:'|\Z))|(?P<comment>--[^\n]*+|/\*(?s:.*?)(?:\*/|\Z))|"[^"]*+\"?"""
)
TARGET = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)")
FIRST_COLUMN = re.compile(r"SELECT (?:DISTINCT )?(\w+)\.")
SOURCE = re.compile(r" (?:FROM|JOIN) (\w+)")


def classify(text: str, toplevel: bool = True) -> Statement:
    """Return the class of a statement from its first 2,000 characters; never raises.

    `toplevel` is false of a statement that ran inside another one.
    """
    # Literals and comments may hold anything, what looks like SQL too.
    text = text[:LOOKED_AT]
    bare = NOISE.sub(lambda part: "$0" if part["literal"] else " " if part["comment"] else part[0], text)
    if MARK.match(text) or OURS.search(bare):
        return Statement("exporter", "", False)
    text = " ".join(bare.split())
    writes = bool(CHANGES.match(text) or LOCKS.match(text))
    if FOREIGN_KEY.match(text):
        return Statement("fk_check", "", writes)
    if not toplevel:
        return Statement("nested", "", writes)
    for operation, shape in SHAPES:
        if shape.match(text):
            return Statement(operation, "", writes)
    for table in _tables(text):
        if operation := _operation(table, text):
            label = "" if operation == "catalog" else table if table in TABLES else "other"
            return Statement(operation, label, writes)
    return Statement("other", "", writes)


def _tables(text: str) -> Iterator[str]:
    if target := TARGET.match(text):
        yield target[1]
    elif first := FIRST_COLUMN.match(text):
        yield first[1]
    # A function, a subquery or WITH comes first: the first table whose columns are qualified, or none read.
    for source in SOURCE.finditer(text):
        if f"{source[1]}." in text or " AS anon_1 FROM " in text:
            yield source[1]


def _operation(table: str, text: str) -> str:
    """Return the operation of a statement on that table, empty where the table is not MLflow's."""
    for operation, shape in RULES.get(table, ()):
        if shape.search(text):
            return operation
    return next((operation for operation, tables in FAMILIES if tables.fullmatch(table)), "")
