"""The scenario format as a JSON Schema for editors and as a page for people, both made from the models.

python -m harness.model.reference      writes docs/scenario.schema.json and docs/scenario.md
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness.model.captures import Captures
from harness.model.expectation import Bound, Expectation
from harness.model.probes import Probes, declared_probes
from harness.model.scenario import OverlayUse, Pairs, Scenario, TopologyUse, Until
from harness.model.timeline import TimelineItem, declared_events


def _parts() -> list[tuple[str, type[BaseModel]]]:
    """Return the page's parts in their order."""
    return [
        ("The file", Scenario),
        ("`topology`", TopologyUse),
        ("`pairs`", Pairs),
        ("A value of `overlays`", OverlayUse),
        ("`probes`", Probes),
        *((f"`probes: {name}`", probe.settings) for name, probe in declared_probes().items()),
        ("`until`", Until),
        ("`captures`", Captures),
        ("An item of `timeline`", TimelineItem),
        *((f"`timeline: do: {name}`", event.settings) for name, event in declared_events().items()),
        ("An item of `expect`", Expectation),
        ("A bound", Bound),
    ]


_WORDS = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}

_INTRODUCTION = """# Scenario files

This page lists every key of a scenario file. `overlaybench check` says what is wrong with a file, line by line.
`overlaybench list overlays`, `list topologies`, `list nats` and `list links` show the names that a scenario may use,
and `overlaybench plan` shows the trials that a scenario becomes. The page is made from the models by
`python -m harness.model.reference`; a test keeps the two the same.

An editor with a YAML language server completes and checks while you type if the file's first line is

```yaml
# yaml-language-server: $schema=PATH/docs/scenario.schema.json
```
"""


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file, short forms included."""
    schema = Scenario.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "overlaybench scenario"}


def scenario_reference() -> str:
    """Return the page: a table of keys for each part."""
    schema = scenario_schema()
    parts = [_INTRODUCTION]
    for title, model in _parts():
        found = schema if model is Scenario else schema["$defs"].get(model.__name__)
        # Of an item of a timeline the schema has what all events share; an event's own settings come on top.
        found = model.model_json_schema() if found is None else found
        titles = {model.__name__: title.lower() for title, model in _parts()}
        table = f"\n{table_of(found, titles)}" if found.get("properties") else ""
        parts.append(f"## {title}\n\n{inspect.getdoc(model)}\n{table}")
    return "\n".join(parts)


def table_of(schema: dict[str, Any], titles: Mapping[str, str]) -> str:
    """Return a model's keys as a Markdown table; `titles` has the part of the page where each model is explained."""
    rows = ["| Key | Value | Default |", "|---|---|---|"]
    for key, field in schema["properties"].items():
        default = "**required**" if key in schema.get("required", ()) else f"`{json.dumps(field.get('default'))}`"
        rows.append(f"| `{key}` | {_type(field, titles)} | {default} |")
    if isinstance(schema.get("additionalProperties"), dict):
        rows.append(f"| any metric | {_type(schema['additionalProperties'], titles)} | |")
    return "\n".join(rows) + "\n"


def _type(field: dict[str, Any], titles: Mapping[str, str]) -> str:
    """Return what a value may be, in words."""
    if "$ref" in field:
        return f"a mapping, see {titles[field['$ref'].rsplit('/', 1)[1]]}"
    if "anyOf" in field:
        words = [_type(choice, titles) for choice in field["anyOf"] if choice.get("type") != "null"]
        nothing = ["nothing"] if len(words) < len(field["anyOf"]) else []
        return ", or ".join(dict.fromkeys([*words, *nothing]))
    if "enum" in field or "const" in field:
        return " ".join(f"`{value}`" for value in field.get("enum") or [field["const"]])
    return _container(field, titles) or _WORDS.get(str(field.get("type")), "any value") + _limits(field)


def _container(field: dict[str, Any], titles: Mapping[str, str]) -> str:
    if field.get("type") == "array":
        items = field.get("items")
        return f"a list of {_type(items, titles)}" if items else "a list"
    if field.get("type") == "object":
        # Where names have a form of their own, the values stand under its pattern.
        inner = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
        return f"a mapping of names to {_type(inner, titles)}" if isinstance(inner, dict) and inner else "a mapping"
    return ""


def _limits(field: dict[str, Any]) -> str:
    signs = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
    limits = [f"{sign} {field[name]:g}" for name, sign in signs if name in field and field[name] < 2**53]
    return f", {' and '.join(limits)}" if limits else ""


def main() -> None:
    """Write both files."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    (docs / "scenario.schema.json").write_text(json.dumps(scenario_schema(), indent=1) + "\n", encoding="utf-8")
    (docs / "scenario.md").write_text(scenario_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
