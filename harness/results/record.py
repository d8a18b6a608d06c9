"""The record: one measurement, one line of records.jsonl. Fields and their order are fixed (results/README.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

Outcome = Literal["ok", "failed", "unsupported", "invalid", "error"]
Path = Literal["direct", "relayed", "mixed", "none"]

# The others never count in any statistic: what they are about did not take place, or not in the lab that was asked for.
COUNTED: frozenset[str] = frozenset({"ok", "failed"})


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measurement.

    `value` is in `unit`, and None where nothing was measured; `outcome` says whose fault that is (*failed*: the
    subject's, *invalid*: the lab was not what it said, *error*: ours). `path` is the verdict of the lab's counters,
    `path_claimed` what the overlay says of itself. `evidence` is a path relative to the result folder.
    """

    schema: int = SCHEMA_VERSION
    run: str
    scenario: str
    trial: str
    repeat: int
    seed: int
    overlay: str
    overlay_version: str | None = None
    mode: str
    topology: str
    nat_a: str | None = None
    nat_b: str | None = None
    link: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    src: str | None = None
    dst: str | None = None
    probe: str
    metric: str
    unit: str
    value: float | None = None
    outcome: Outcome = "ok"
    path: Path | None = None
    path_claimed: Path | None = None
    nat_a_observed: str | None = None
    nat_b_observed: str | None = None
    link_backend: str | None = None
    started_at: str
    evidence: str | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON-ready data, in the fixed order of its fields."""
        return asdict(self)
