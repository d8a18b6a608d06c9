"""A trial: one cell of a scenario's matrix, one repeat, everything that its worker needs to know of the scenario."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.model.captures import Captures
from harness.model.expectation import ExpectedNumber
from harness.model.probes import Probes
from harness.model.timeline import TimelineItem
from harness.model.topology import Topology
from harness.model.words import LinkChoice, Mode, Verdict


class ExpectedPath(BaseModel):
    """The verdicts that are right for one pair of members."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    src: str
    dst: str
    path: tuple[Verdict, ...]


class Trial(BaseModel):
    """One trial, fully resolved.

    `params` holds every topology parameter as the scenario wrote it (or its default); `seed` is the same for all
    overlays of one cell and repeat, so that comparisons are paired. `expected_pairs` is there where pairs differ in
    what is expected of them, else `expected_path` says it for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    scenario: str
    repeat: int
    seed: int
    overlay: str
    mode: Mode
    options: dict[str, Any] = {}
    topology: Topology
    params: dict[str, Any] = {}
    nat_a: str | None = None
    nat_b: str | None = None
    link: str | None = None
    probes: Probes
    timeline: tuple[TimelineItem, ...] = ()
    links: LinkChoice = "auto"
    captures: Captures | None = None
    expected_path: tuple[Verdict, ...] = ()
    expected_pairs: tuple[ExpectedPath, ...] = ()
    expected_outcome: tuple[str, ...] = ()
    expected_numbers: tuple[ExpectedNumber, ...] = ()

    @property
    def cell(self) -> dict[str, Any]:
        """What all its repeats share, as each of its records has it; `harness.results.cells.cell_key` is its identity.

        `params` are the topology's, and those settings of probes without which a record would be no repeat of another.
        """
        fields = self.model_dump(mode="json", include={"overlay", "mode", "nat_a", "nat_b", "link", "params"})
        of_probes = {key: value for probe in self.probes.named() for key, value in probe.conditions().items()}
        return {**fields, "topology": self.topology.name, "params": {**fields["params"], **of_probes}}

    @property
    def cell_id(self) -> str:
        """What the ids of all its repeats begin with, which is how its cell is called."""
        return cell_id_of(self.id, self.repeat)

    @property
    def selectors(self) -> dict[str, Any]:
        """What `--only KEY=VALUE` and `expect: when:` match against."""
        return {
            **self.params,
            "overlay": self.overlay,
            "mode": self.mode,
            "topology": self.topology.name,
            "repeat": self.repeat,
            "trial": self.id,
        }


def cell_id_of(trial: str, repeat: object) -> str:
    """Return the part of a trial's id that its repeats share."""
    return trial.removesuffix(f"_r{repeat}")
