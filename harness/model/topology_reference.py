"""The topology format as a JSON Schema and as a page for people, both made from the models.

python -m harness.model.topology_reference      writes docs/topology.schema.json and the tables of docs/topology.md
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness.model.nodes import Attachment, Host, Outside, Router, Segment
from harness.model.parameters import Parameter, TopologyHeader
from harness.model.reference import table_of
from harness.model.topology import Topology

_START, _END = "<!-- keys -->\n", "<!-- end of keys -->"
_PARTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The header", TopologyHeader),
    ("A parameter", Parameter),
    ("The body", Topology),
    ("A segment", Segment),
    ("A host", Host),
    ("A router", Router),
    ("The outside of a router", Outside),
    ("An inside of a router", Attachment),
)
_TEXT: dict[str, Any] = {"type": "string"}
# What the program makes of a file, which no file says.
_NOT_IN_FILES = ("name", "mininet")


def topology_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of both parts of a topology file, the body as rendered."""
    body = Topology.model_json_schema(mode="validation")
    header = TopologyHeader.model_json_schema(mode="validation")
    parts: dict[str, Any] = {**body.pop("$defs"), **header.pop("$defs", {})}
    parts = {"TopologyHeader": header, "Topology": body, **parts}
    body["properties"] = {key: value for key, value in body["properties"].items() if key not in _NOT_IN_FILES}
    parts.pop("MininetClass", None)
    for name in ("Attachment", "Host", "Outside"):
        _either(parts[name], "address", "addresses", "its only address")
        parts[name]["properties"]["link"] = _short_form("a profile's name (`overlaybench list links`)")
    _either(parts["Segment"], "subnet", "subnets", "its only subnet")
    router = parts["Router"]["properties"]
    router["nat"] = _short_form("an alias (`overlaybench list nats`)")
    router["inside"] = {"anyOf": [{"$ref": "#/$defs/Attachment"}, router["inside"]]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "overlaybench topology",
        "anyOf": [{"$ref": "#/$defs/TopologyHeader"}, {"$ref": "#/$defs/Topology"}],
        "$defs": parts,
    }


def _either(part: dict[str, Any], one: str, many: str, text: str) -> None:
    """Allow `one: X` for `many: [X]`."""
    found: dict[str, Any] = {}
    for name, field in part["properties"].items():
        found |= {one: _TEXT | {"description": text}} if name == many else {}
        found[name] = field
    part["properties"] = found
    part["required"] = [name for name in part["required"] if name != many]
    part["oneOf"] = [{"required": [one]}, {"required": [many]}]


def _short_form(text: str) -> dict[str, Any]:
    """Return what takes the place of a model that a file may write as a name or as a mapping."""
    return {"anyOf": [_TEXT, {"type": "object"}], "description": text}


def keys() -> str:
    """Return a table of keys for each part of the file."""
    parts = topology_schema()["$defs"]
    titles = {model.__name__: title.lower() for title, model in _PARTS}
    found = []
    for title, model in _PARTS:
        found.append(f"### {title}\n\n{inspect.getdoc(model)}\n\n{table_of(parts[model.__name__], titles)}")
    return "\n".join(found) + "\n"


def page(text: str) -> str:
    """Return the page with its tables made again."""
    before, _, rest = text.partition(_START)
    return f"{before}{_START}{keys()}{rest[rest.index(_END) :]}"


def main() -> None:
    """Write both files."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    schema = json.dumps(topology_schema(), indent=1) + "\n"
    (docs / "topology.schema.json").write_text(schema, encoding="utf-8")
    where = docs / "topology.md"
    where.write_text(page(where.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
