"""The scenario reference and the JSON Schema are those of the models, and accept what the program accepts."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness.model.reference import scenario_reference, scenario_schema

ROOT = Path(__file__).parents[2]
GOOD = {"description": "x", "topology": "two-sites", "overlays": {"underlay": None}, "probes": ["path"]}


def test_both_files_are_up_to_date() -> None:
    """If this fails: python -m harness.model.reference"""
    assert json.loads((ROOT / "docs" / "scenario.schema.json").read_text()) == scenario_schema()
    assert (ROOT / "docs" / "scenario.md").read_text() == scenario_reference()


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_scenario_fits(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), scenario_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "change",
    [
        {"overlays": {"refmesh": "mesh"}},
        {"overlays": {"refmesh": ["mesh", "hub"]}},
        {"overlays": {"refmesh": {"modes": "mesh", "options": {}}}},
        {"topology": {"use": "two-sites", "members": ["a", "b"]}},
        {"probes": {"path": None, "latency": {"duration_s": 2}}},
        {"expect": "oracle"},
        {"expect": [{"when": {"nat_a": ["x", "y"]}, "path": ["direct", "relayed"]}]},
        {"until": {"metric": "rtt_p50_ms", "half_width": 0.05}},
    ],
)
def test_short_forms_fit(change: dict[str, Any]) -> None:
    jsonschema.validate(GOOD | change, scenario_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "change",
    [
        {"overlay": {}},
        {"overlays": {"refmesh": "meshy"}},
        {"overlays": {}},
        {"probes": ["paths"]},
        {"probes": {"path": {"deadline_ms": 1}}},
        {"repeats": 0},
        {"expect": [{"path": "directly"}]},
    ],
)
def test_mistakes_do_not(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(GOOD | change, scenario_schema(), jsonschema.Draft202012Validator)
