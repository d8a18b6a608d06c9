"""Where topologies come from: a template file, or a Mininet class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.model.parameters import Parameter
from harness.model.template import TopologyTemplate, check_parameters, render, with_defaults
from harness.model.topology import Topology


class TopologySource(Protocol):
    """Where topologies come from: a template file, or a Mininet class."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    @property
    def source_text(self) -> str:
        """What it was read from, whole: another text may be another topology."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """What it takes."""

    def check(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with a set of parameters: name -> complaint."""

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters with defaults filled in."""

    def resolve(self, given: Mapping[str, Any]) -> Topology:
        """Return the topology for these parameters."""


@dataclass(frozen=True)
class TemplateSource:
    """A topology file as a source of topologies."""

    template: TopologyTemplate
    folder: Path = Path()

    @property
    def name(self) -> str:
        """The topology's name."""
        return self.template.name

    @property
    def source_text(self) -> str:
        """The file's text."""
        return self.template.text

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """What its header declares."""
        return self.template.header.parameters

    def check(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with a set of parameters: name -> complaint."""
        return check_parameters(self.template, given)

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters with the header's defaults."""
        return with_defaults(self.template, given)

    def resolve(self, given: Mapping[str, Any]) -> Topology:
        """Render the file and check the result."""
        return render(self.template, given)
