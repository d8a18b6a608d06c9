"""Public nodes that overlays need besides the server: requested by the overlay, provided by the topology. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import Problem
from harness.model.words import Mode
from harness.scenario.loaded import LoadedScenario

# The parameter of a topology file that says how many public nodes it has besides the server.
HELPERS = "helpers"


def without_helpers(loaded: LoadedScenario, wanted: Mapping[tuple[str, Mode], int]) -> Iterator[Problem]:
    """Yield the overlays that need more public nodes than the topology can have."""
    for (name, mode), count in wanted.items():
        if count and HELPERS not in loaded.topology.parameters:
            text = (
                f"{name} {mode} needs {count} public nodes besides the server: {loaded.topology.name} has no parameter"
            )
            yield loaded.document.problem(("overlays", name), f"{text} `{HELPERS}`")


def with_helpers(loaded: LoadedScenario, cell: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the topology's parameter for `count` helpers; a scenario that asks for more gets more."""
    if not count:
        return {}
    return {HELPERS: max(count, cell.get(HELPERS, loaded.scenario.params.get(HELPERS, 0)))}
