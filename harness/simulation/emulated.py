"""What an emulated run has of the cells of a population: successes and runs, by overlay and pair of NATs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.model.words import SEEKING_DIRECT
from harness.results.loading import load
from harness.results.record import COUNTED


def emulated_cells(folder: Path) -> list[dict[str, Any]]:
    """Return counts of hole punching in the modes that try it; trials that do not count are left out.

    Raises:
        ResultFolderError: it is no result folder.
    """
    pairs = load(folder).pairs
    rows = pairs[pairs["outcome"].isin(COUNTED) & pairs["mode"].isin(SEEKING_DIRECT)]
    rows = rows[rows["hole_punch_success"].notna()]
    found = []
    for key, group in rows.groupby(["overlay", "mode", "nat_a", "nat_b"], sort=True):
        overlay, mode, nat_a, nat_b = (str(part) for part in key)
        found.append(
            {
                "overlay": overlay,
                "mode": mode,
                "nats": sorted((nat_a, nat_b)),
                "successes": int(group["hole_punch_success"].sum()),
                "runs": len(group),
            }
        )
    return found
