"""Whether the nodes that a scenario wants captured are there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import Problem
from harness.model.document import did_you_mean
from harness.model.topology import Topology
from harness.scenario.loaded import LoadedScenario


def unknown_nodes(loaded: LoadedScenario, topology: Topology) -> Iterator[Problem]:
    """Yield the nodes of `captures` that a topology has not, at their line."""
    asked = loaded.scenario.captures
    there = topology.attachments()
    for number, name in enumerate(asked.nodes if asked is not None else ()):
        if name not in there:
            hint = did_you_mean(name, there) or f" (there are {', '.join(there)})"
            where = ("captures", "nodes", number) if isinstance(_raw(loaded), dict) else ("captures", number)
            yield loaded.document.problem(where, f"no such node{hint}")


def _raw(loaded: LoadedScenario) -> object:
    data = loaded.document.data
    return data.get("captures") if isinstance(data, dict) else None
