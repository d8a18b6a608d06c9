"""The trace files that the links of trials name: the same trials with other paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.model.topology import Topology
from harness.model.trial import Trial

_FIELDS = frozenset({"rate_file", "file"})


def with_trace_paths(trials: Sequence[Trial], change: Callable[[str], str]) -> list[Trial]:
    """Return the trials with each path of a trace changed."""
    done: dict[int, Topology] = {}  # the trials of a cell share their topology
    for trial in trials:
        topology = trial.topology
        if id(topology) not in done and any(way.files for link in topology.impaired_links() for way in link.ways):
            done[id(topology)] = Topology.model_validate(_replaced(topology.model_dump(mode="json"), change))
    return [trial.model_copy(update={"topology": done.get(id(trial.topology), trial.topology)}) for trial in trials]


def _replaced(node: Any, change: Callable[[str], str]) -> Any:
    if isinstance(node, list):
        return [_replaced(part, change) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: change(value) if key in _FIELDS and isinstance(value, str) else _replaced(value, change)
        for key, value in node.items()
    }
