"""What follows from the settings' structs: their leaves, how one is built, the JSON schema of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct, inspect

from exporter.settings.leaf import OF_FILES, Kind, Leaf
from exporter.settings.rules import EXCLUSIVE

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SECRET = {"type": "string", "minLength": 1, "writeOnly": True}
NULL = {"type": "null"}

KINDS: dict[type[inspect.Type], Kind] = {
    inspect.StrType: Kind.TEXT,
    inspect.CustomType: Kind.SECRET,
    inspect.LiteralType: Kind.CHOICE,
    inspect.IntType: Kind.INTEGER,
    inspect.FloatType: Kind.SECONDS,
    inspect.BoolType: Kind.BOOLEAN,
    inspect.VarTupleType: Kind.LIST,
    inspect.DictType: Kind.MAP,
}
ALLOWED = {
    Kind.TEXT: "a string",
    Kind.SECRET: "a string",
    Kind.INTEGER: "a whole number",
    Kind.SECONDS: "a number of seconds",
    Kind.DURATION: "a time, as 1s, 500ms or 1m30s",
    Kind.BOOLEAN: "true or false",
    Kind.LIST: "a list of strings",
    Kind.MAP: "a mapping",
}


def leaves_of(section: type[Struct], prefix: str = "") -> Iterator[Leaf]:
    """Yield the leaves below a section, in the order of its declaration."""
    hints = get_type_hints(section, include_extras=True)
    for declared in msgspec.structs.fields(section):
        annotation, path = hints[declared.name], prefix + declared.name
        if _is_section(annotation):
            yield from leaves_of(annotation, path + ".")
        else:
            default = {} if declared.default is msgspec.NODEFAULT else declared.default
            yield leaf_of(path, annotation, default)


S = TypeVar("S", bound=Struct)


def build(section: type[S], values: Mapping[str, object], prefix: str = "") -> S:
    """Return the section with the values that are given by key path, the others at their defaults."""
    hints = get_type_hints(section, include_extras=True)
    fields = {
        name: build(hint, values, f"{prefix}{name}.") if _is_section(hint) else values[prefix + name]
        for name, hint in hints.items()
        if _is_section(hint) or prefix + name in values
    }
    return section(**fields)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Struct)


def leaf_of(path: str, annotation: Any, default: object = None) -> Leaf:
    """Return the leaf of a key with that annotation."""
    info = inspect.type_info(annotation)
    extra: dict[str, Any] = {}
    description = ""
    if isinstance(info, inspect.Metadata):
        extra = info.extra or {}
        description = str((info.extra_json_schema or {}).get("description", ""))
        info = info.type
    if isinstance(info, inspect.UnionType):
        info = next(member for member in info.types if not isinstance(member, inspect.NoneType))
    kind = Kind.DURATION if extra.get("duration") else KINDS[type(info)]
    choices = tuple(map(str, info.values)) if isinstance(info, inspect.LiteralType) else ()
    *name, element = _inner(annotation) if kind in (Kind.LIST, Kind.MAP) else (None,)
    return Leaf(
        path=path,
        kind=kind,
        annotation=annotation,
        default=default,
        description=description,
        allowed=extra.get("allowed") or _allowed(path, kind, info, choices),
        private=kind is Kind.SECRET or extra.get("private", False),
        choices=choices,
        shell=extra.get("split") == "shell",
        multiline=extra.get("multiline", False),
        name=leaf_of(path, name[0]) if name else None,
        element=leaf_of(path, element) if element else None,
    )


def _inner(annotation: Any) -> list[Any]:
    """Return X of `tuple[X, ...]`, or X and Y of `dict[X, Y]`."""
    bare = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    return [part for part in get_args(bare) if part is not Ellipsis]


def _allowed(path: str, kind: Kind, info: inspect.Type, choices: tuple[str, ...]) -> str:
    if path.endswith(OF_FILES):
        return "the path of a file"
    if isinstance(info, inspect.IntType | inspect.FloatType):
        return f"{ALLOWED[kind]} from {info.ge:g} to {info.le:g}"
    return f"{', '.join(choices[:-1])} or {choices[-1]}" if choices else ALLOWED[kind]


def schema_of(settings: type[Struct]) -> dict[str, Any]:
    """Return what msgspec derives, with the file's own rules: no null but for a section, no key beside another."""
    derived: dict[str, Any] = msgspec.json.schema(settings, schema_hook=lambda _: SECRET)
    for section in derived["$defs"].values():
        section.pop("required")
        section["properties"] = {name: _key(key) for name, key in section["properties"].items()}
        excluded = [
            [path.partition(".")[2] for path in pair]
            for pair in EXCLUSIVE
            if pair[0].partition(".")[0] == section["title"].lower()
        ]
        if excluded:
            section["allOf"] = [{"not": {"required": pair}} for pair in excluded]
    return {"$schema": DIALECT, **derived}


def _key(key: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in key:
        return {"anyOf": [{"$ref": key["$ref"]}, NULL]}
    if "anyOf" in key:
        members = [member for member in key["anyOf"] if member != NULL]
        rest = {name: value for name, value in key.items() if name not in ("anyOf", "default")}
        return {**rest, **members[0]}
    return key
