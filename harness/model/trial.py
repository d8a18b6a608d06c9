"""A trial: one cell of a scenario's matrix, one repeat, everything that its worker needs to know of the scenario."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.model.probes import Probes
from harness.model.scenario import Mode
from harness.model.timeline import TimelineItem
from harness.model.topology import Topology
from harness.model.words import Verdict


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
    links: Literal["auto", "netem", "userlink"] = "auto"
    expected_path: tuple[Verdict, ...] = ()
    expected_pairs: tuple[ExpectedPath, ...] = ()
    expected_outcome: tuple[str, ...] = ()

    def expected_of(self, src: str | None, dst: str | None) -> tuple[Verdict, ...]:
        """Return the verdicts that are right for a pair, in either direction; empty where nothing is expected."""
        for one in self.expected_pairs:
            if {one.src, one.dst} == {src, dst}:
                return one.path
        return self.expected_path

    @property
    def expected_text(self) -> str:
        """The expected paths as people read them, counted where pairs differ; empty where nothing is expected."""
        counts = Counter(" or ".join(one.path) or "anything" for one in self.expected_pairs)
        return ", ".join(f"{count} {path}" for path, count in counts.most_common()) or " or ".join(self.expected_path)

    @property
    def cell(self) -> dict[str, Any]:
        """What `--only KEY=VALUE` and `expect: when:` match against."""
        return {
            **self.params,
            "overlay": self.overlay,
            "mode": self.mode,
            "topology": self.topology.name,
            "repeat": self.repeat,
            "trial": self.id,
        }
