"""What labs of several hosts run, and how its trials ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab.running import records

_SCENARIO = """\
description: several hosts
topology: two-sites
params: {nat_a: full-cone, nat_b: NAT}
overlays: {underlay: , refmesh: mesh}
probes: {path: {deadline_s: 30}}
repeats: REPEATS
"""


def scenario(repeats: int, nat_b: str = "full-cone") -> str:
    """Return a scenario of two trials a repeat, each of some seconds."""
    return _SCENARIO.replace("NAT}", f"{nat_b}}}").replace("REPEATS", str(repeats))


def ends(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the record by which each trial of a run ended, by trial; each ends once."""
    rows = [line for line in records(folder) if (line["probe"], line["metric"]) == ("trial", "duration_s")]
    found = {line["trial"]: line for line in rows}
    assert len(found) == len(rows), "each trial ends once"
    return found
