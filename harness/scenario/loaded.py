"""A scenario as it was loaded: the model, its source text, its topology."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.model.document import Document
from harness.model.scenario import Scenario
from harness.topology.source import TopologySource


@dataclass(frozen=True)
class LoadedScenario:
    """A scenario with its source, ready to be planned; `text` goes into the manifest.

    `folders` are where relative paths of trace files start: the scenario's folder, then the topology file's.
    """

    name: str
    scenario: Scenario
    document: Document
    text: str
    topology: TopologySource
    folders: tuple[Path, ...] = (Path(),)
