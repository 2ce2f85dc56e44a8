"""From the settings file, the environment and the flags to the settings."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from exporter.logs import harmless
from exporter.settings import file, texts
from exporter.settings.derive import build, leaves_of, schema_of
from exporter.settings.keys import Settings
from exporter.settings.leaf import Leaf, Reading, fault
from exporter.settings.rules import faults_together, merge


class SettingsError(Exception):
    """Carry every fault of the settings, each a line that says where, what was found and what is allowed."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        # A name of a file or variable may have a line break in it.
        self.faults = tuple(map(harmless, faults))
        super().__init__("\n".join(self.faults))


def load(
    config: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    collectors: Collection[str] | None = None,
) -> Settings:
    """Return the settings of the flags over those of the environment over those of the file.

    Without `config` the file is the one that `MLFLOW_EXPORTER_CONFIG` names, if any. `flags` maps key paths
    to texts, as `flags_of` gives them. `collectors` are the names that exist; None accepts any.
    A key replaces its alternatives from a lower level: a password in the environment silences a
    `password_file` in the file. Raises SettingsError with every fault of all three.
    """
    path = config or texts.config_path(environ)
    written = file.read(path, leaves()) if path else Reading({}, ())
    environment = texts.from_environment(leaves(), environ)
    flagged = texts.from_flags(leaves(), flags)
    given = merge(written.given, environment.given, flagged.given)
    defaults = {leaf.path: leaf.default for leaf in leaves()}
    faults = [
        *_emptied(path),
        *written.faults,
        *environment.faults,
        *flagged.faults,
        *faults_together(given, defaults, collectors),
    ]
    if faults:
        raise SettingsError(tuple(faults))
    return build(Settings, {path: value.value for path, value in given.items()})


def _emptied(path: Path | None) -> Iterator[str]:
    """Refuse a file without a byte: so looks one that is being written, and what a full disk leaves of one."""
    if path and path.is_file() and not path.stat().st_size:
        yield fault(str(path), "an empty file", "settings, or a comment where all are defaults")


@cache
def leaves() -> tuple[Leaf, ...]:
    """Return every key that takes a value, in the order of the file."""
    return tuple(leaves_of(Settings))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every key that fits on a command line; secrets do not, since `ps` shows it to all."""
    texts.add_flags(parser, leaves())


def flags_of(namespace: argparse.Namespace) -> dict[str, str]:
    """Return the flags that were given, by key path."""
    return {leaf.path: text for leaf in leaves() if (text := vars(namespace).get(leaf.path)) is not None}


def schema() -> dict[str, Any]:
    """Return the JSON schema of the settings file.

    It is looser than `load` where a schema cannot judge: files that must exist, a key given twice, scalars
    that need quotes, the timeout against the interval, the collectors' names.
    """
    return schema_of(Settings)
