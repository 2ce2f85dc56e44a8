"""Settings as single texts: the environment's variables and the command line's flags."""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from exporter.settings.leaf import (
    ENVIRONMENT,
    Given,
    Kind,
    Leaf,
    Reading,
    RefusedError,
    did_you_mean,
    fault,
    near,
)

CONFIG = ENVIRONMENT + "CONFIG"
METAVARS = {
    Kind.TEXT: "TEXT",
    Kind.INTEGER: "N",
    Kind.SECONDS: "SECONDS",
    Kind.BOOLEAN: "true|false",
    Kind.LIST: "NAME,...",
}


def config_path(environ: Mapping[str, str]) -> Path | None:
    return Path(environ[CONFIG]) if environ.get(CONFIG) else None


def from_environment(leaves: Iterable[Leaf], environ: Mapping[str, str]) -> Reading:
    """Read the variables of our prefix; an empty one counts as not set, as Compose makes them."""
    by_name = {leaf.environment: leaf for leaf in leaves if leaf.environment}
    maps = {ENVIRONMENT + leaf.path.upper().replace(".", "_") for leaf in leaves if not leaf.environment}
    given: dict[str, Given] = {}
    faults: list[str] = []
    for name in sorted(environ):
        where = f"environment: {name}"
        if leaf := by_name.get(name):
            if environ[name]:
                given[leaf.path] = _parse(leaf, environ[name], where, faults)
        elif name in maps:
            faults.append(f"{where}: found a mapping of names, allowed in the settings file only")
        elif name.startswith(ENVIRONMENT) and name != CONFIG and not _of_kubernetes(name, environ):
            hint = did_you_mean(near(name, [*by_name, CONFIG]))
            faults.append(fault(where, "an unknown variable", f"{ENVIRONMENT}<SECTION>_<KEY>", hint))
    return Reading(given, faults)


def from_flags(leaves: Iterable[Leaf], flags: Mapping[str, str]) -> Reading:
    """Read the flags' texts, given by key path."""
    faults: list[str] = []
    given = {
        leaf.path: _parse(leaf, flags[leaf.path], f"flags: {leaf.flag}", faults)
        for leaf in leaves
        if leaf.path in flags
    }
    return Reading(given, faults)


def add_flags(parser: argparse.ArgumentParser, leaves: Iterable[Leaf]) -> None:
    """Add the flags, a group for each section; one that is not given leaves nothing in the namespace."""
    # `--server.password hunter2` would be short for --server.password_file, and end in a fault that quotes it.
    parser.allow_abbrev = False
    for section, members in itertools.groupby(leaves, key=lambda leaf: leaf.path.rpartition(".")[0]):
        group = parser.add_argument_group(section or "all")
        for leaf in members:
            if leaf.flag:
                metavar = "|".join(leaf.choices) or ("COMMAND" if leaf.shell else METAVARS[leaf.kind])
                if metavar == "SECONDS" and "seconds" not in leaf.allowed:
                    metavar = "NUMBER"
                group.add_argument(
                    leaf.flag,
                    dest=leaf.path,
                    metavar="FILE" if leaf.is_path else metavar,
                    default=argparse.SUPPRESS,
                    help=_help(leaf),
                )
            elif leaf.secret:
                group.add_argument(
                    f"--{leaf.path}",
                    dest=leaf.path,
                    action=_NoFlag,
                    help=argparse.SUPPRESS,
                    default=argparse.SUPPRESS,
                )


class _NoFlag(argparse.Action):
    """Refuse a secret: argparse's own message for an unknown flag would repeat it into the journal."""

    def __call__(self, parser: argparse.ArgumentParser, *given: object) -> None:
        variable = ENVIRONMENT + self.dest.upper().replace(".", "_")
        parser.error(
            f"{self.option_strings[0]}: everybody can read a command line; use --{self.dest}_file,"
            f" {variable} or the settings file"
        )


def _help(leaf: Leaf) -> str:
    default = f" (default: {leaf.default_text})" if leaf.default_text else ""
    return f"{leaf.description}{default}".replace("%", "%%")


def _parse(leaf: Leaf, text: str, where: str, faults: list[str]) -> Given:
    try:
        if leaf.element:
            return Given(where, tuple(leaf.element.parse(part) for part in _split(leaf, text)))
        return Given(where, leaf.parse(text))
    except RefusedError as refused:
        faults.append(fault(where, refused.found, leaf.allowed, refused.hint))
        return Given(where, None)


def _split(leaf: Leaf, text: str) -> list[str]:
    if not leaf.shell:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return shlex.split(text)
    except ValueError:
        raise RefusedError("a quotation mark or backslash without its end", "quote as for a shell") from None


def _of_kubernetes(name: str, environ: Mapping[str, str]) -> bool:
    """Tell a variable that Kubernetes sets for a Service whose name begins as ours does."""
    return any(name.startswith(service) for service in _services(environ))


def _services(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in environ:
        if name.startswith(ENVIRONMENT) and name.endswith("_SERVICE_HOST"):
            service = name.removesuffix("_SERVICE_HOST")
            yield f"{service}_SERVICE_", f"{service}_PORT"
