"""What kind of file a user has given, told by its keys: the mistakes in it are then told in words of that kind."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from harness.errors import Problem, ScenarioError
from harness.model.document import parse
from harness.model.scenario import Scenario
from harness.overlay.named_file import names_a_file
from harness.scenario.load import shown_path
from harness.simulation.population import Population

Kind = Literal["scenario", "topology", "population", "adapter"]
_OF_POPULATION = Population.model_fields.keys() - Scenario.model_fields.keys()
_OF_SCENARIO = Scenario.model_fields.keys() - Population.model_fields.keys()
_COMMAND: dict[Kind, str] = {
    "scenario": "a scenario: `overlaybench run` takes it",
    "topology": "a topology: a scenario names it (`topology: FILE`)",
    "population": "a population: `overlaybench simulate` takes it",
    "adapter": "an adapter: a scenario names it (`overlays: {FILE: ...}`)",
}


def kind_of(name: str) -> Kind:
    """Return what a file is; a scenario where nothing tells: whoever reads it as one says what is wrong."""
    path = Path(name)
    if not path.is_file():
        written = name.endswith((".yaml", ".yml"))
        return "adapter" if names_a_file(name) and not written else "scenario"
    if path.suffix == ".py":
        return "adapter"
    text = path.read_text(encoding="utf-8", errors="replace")
    # A topology's header is a document of its own; others may begin with `---` as well.
    head, separator, _ = text.partition("\n---\n")
    keys = _keys(head) or _keys(text)
    if "layer" in keys and "topology" not in keys:
        return "adapter"
    if _is_population(keys):
        return "population"
    return "topology" if separator and _keys(head) and "overlays" not in keys else "scenario"


def require_kind(name: str, kind: Kind) -> None:
    """Refuse a file that is of another kind, with what takes it.

    Raises:
        ScenarioError: it is.
    """
    if Path(name).is_file() and (found := kind_of(name)) != kind:
        raise ScenarioError([Problem(shown_path(Path(name)), 1, "(document)", f"no {kind}, but {_COMMAND[found]}")])


def _keys(text: str) -> set[str]:
    try:
        data = parse(text, "").data
    except ScenarioError:
        return set()
    return set(data) if isinstance(data, dict) else set()


def _is_population(keys: set[str]) -> bool:
    """Tell by keys that only populations have, or, where no key is anybody's, by what they are like: `acess`."""
    for of_population, of_scenario in (
        (keys & _OF_POPULATION, keys & _OF_SCENARIO),
        (_like(keys, _OF_POPULATION), _like(keys, _OF_SCENARIO)),
    ):
        if len(of_population) != len(of_scenario):
            return len(of_population) > len(of_scenario)
    return False


def _like(keys: Iterable[str], known: Iterable[str]) -> list[str]:
    return [key for key in keys if difflib.get_close_matches(key, list(known), n=1, cutoff=0.75)]
