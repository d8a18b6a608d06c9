"""What a probe gives back, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.lab.network import Lab
from harness.model.family import Address
from harness.model.scenario import Mode
from harness.model.words import Outcome, Verdict


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured figure; fields as in `harness.results.record.Record`."""

    probe: str
    metric: str
    unit: str
    value: float | None
    src: str | None = None
    dst: str | None = None
    outcome: Outcome = "ok"
    path: Verdict | None = None
    path_claimed: Verdict | None = None
    evidence: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A pair of members and the address at which `src` reaches `dst`: an overlay address, or an underlay one.

    `folder` takes the evidence; `label` tells overlay and underlay evidence apart.
    """

    lab: Lab
    src: str
    dst: str
    src_address: Address
    dst_address: Address
    mode: Mode
    folder: Path
    label: str = "overlay"

    def evidence(self, name: str) -> Path:
        """Where a piece of evidence of this pair goes."""
        return self.folder / f"{self.label}-{self.src}-{self.dst}-{name}"
