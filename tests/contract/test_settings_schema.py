"""The committed JSON schema is the settings' own, and judges the files of the corpus as the loader does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from exporter.settings import leaves, schema

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "golden" / "settings"
GOOD = sorted((CORPUS / "good").glob("*.yaml"))
BAD = sorted(CORPUS.glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(schema())

# What a schema cannot see, each with its reason.
BEYOND_A_SCHEMA = {
    "collectors": "which collectors exist",
    "duplicate-key": "the YAML parser drops the first",
    "duplicate-leaf": "the YAML parser drops the first",
    "integer-octal": "010 is 8 and 5.0 is an integer to JSON",
    "line-break": "strings are not restricted further",
    "missing-file": "what the disk holds",
    "password-without-username": "the environment may give the user",
    "prometheus-password-alone": "the environment may give the user",
    "timeout-above-interval": "numbers against each other",
    "username-without-password": "the environment may give the password",
}


def document(path: Path) -> object:
    """Return what an editor sees; raises YAMLError, or ValueError for bytes and characters YAML cannot hold."""
    return yaml.safe_load(path.read_bytes())


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((ROOT / "exporter" / "settings.schema.json").read_text())
    assert committed == json.loads(json.dumps(schema())), (
        "write exporter.settings.schema() to settings.schema.json"
    )


def documented(path: str) -> dict[str, Any]:
    """Return what the schema has for a key, section by section."""
    *sections, key = path.split(".")
    found = schema()["$defs"]["Settings"]
    for section in sections:
        reference = found["properties"][section]["anyOf"][0]["$ref"]
        found = schema()["$defs"][reference.rpartition("/")[2]]
    described: dict[str, Any] = found["properties"][key]
    return described


def test_the_schema_is_a_valid_schema_and_documents_every_key() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    for leaf in leaves():
        described = documented(leaf.path)
        assert described["description"] == leaf.description
        assert described.get("writeOnly", False) is leaf.secret


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_the_schema_accepts_every_good_file(path: Path) -> None:
    VALIDATOR.validate(document(path) or {})


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_the_schema_refuses_every_bad_file_that_it_can_judge(path: Path) -> None:
    try:
        refused = not VALIDATOR.is_valid(document(path))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        refused = True  # no document at all
    assert refused is (path.stem not in BEYOND_A_SCHEMA)
