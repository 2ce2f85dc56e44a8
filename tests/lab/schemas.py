"""What Kubernetes and prometheus-operator say of the fields that `pack --format kubernetes` writes, for tests offline.

`python -m tests.lab.schemas CRDS K8S > tests/golden/kubernetes-schemas.json`, whenever the pack writes a field that it
did not. CRDS is the directory of the operator's CustomResourceDefinitions (`example/prometheus-operator-crd` of its Go
module), K8S one of `_definitions.json` (in the PyPI package kubernetes-validate). Of both only what the pack has is
kept, without texts, so a field that neither knows is missing there and fails.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from exporter.pack.kubernetes import kubernetes
from exporter.pack.site import Site

Json = dict[str, Any]
KEPT = ("type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "format")


class Loader(yaml.CSafeLoader):
    """Takes a plain `=` for text, as the operator's enumerations have it."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: str(node.value))


def documents() -> Iterator[Json]:
    """Give each object that the pack writes; of the patch the pod's template."""
    for path, text in kubernetes(Site(labels={"team": "ml"})).items():
        for document in yaml.load_all(text, Loader) if path.endswith(".yaml") else ():
            if path == "sidecar-patch.yaml":
                yield {"apiVersion": "v1", "kind": "PodTemplate", "template": document["spec"]["template"]}
            elif document["kind"] != "Kustomization":
                yield document


def trimmed(schema: Any, values: Sequence[Any], definitions: Json) -> Any:
    """Return the schema of these values alone; everything else is refused."""
    if isinstance(schema, dict) and "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if not isinstance(schema, dict) or schema.get("x-kubernetes-int-or-string") or "oneOf" in schema:
        return {}
    kept = {key: schema[key] for key in KEPT if key in schema}
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    if objects and "properties" in schema:
        used = sorted({key for value in objects for key in value} & schema["properties"].keys())
        kept["properties"] = {
            key: trimmed(schema["properties"][key], [one[key] for one in objects if key in one], definitions)
            for key in used
        }
        kept["required"] = schema.get("required", [])
        kept["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        inner = [one for value in objects for one in value.values()]
        kept["additionalProperties"] = trimmed(schema["additionalProperties"], inner, definitions)
    if lists and "items" in schema:
        kept["items"] = trimmed(schema["items"], [one for value in lists for one in value], definitions)
    return kept


def main(crds: Path, core: Path) -> None:
    definitions: Json = json.loads(core.read_text(encoding="utf-8"))["$defs"]
    of = {
        (f"{kind.get('group', '')}/{kind['version']}".lstrip("/"), kind["kind"]): definition
        for definition in definitions.values()
        for kind in definition.get("x-kubernetes-group-version-kind", ())
    }
    for file in crds.glob("*.yaml"):
        spec = yaml.load(file.read_text(encoding="utf-8"), Loader)["spec"]  # a SafeLoader
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            meta = definitions["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]
            schema["properties"]["metadata"] = meta
            of[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    written: dict[tuple[str, str], list[Json]] = {}
    for document in documents():
        written.setdefault((document["apiVersion"], document["kind"]), []).append(document)
    found = {" ".join(key): trimmed(of[key], values, definitions) for key, values in sorted(written.items())}
    sys.stdout.write(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
