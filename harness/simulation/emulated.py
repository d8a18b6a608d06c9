"""What an emulated run has of the cells of a population: successes and runs, by overlay and pair of NATs."""

from __future__ import annotations

from collections import Counter
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
    runs: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    successes: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    columns = (rows[name] for name in ("overlay", "mode", "nat_a", "nat_b", "hole_punch_success"))
    for overlay, mode, nat_a, nat_b, success in zip(*columns, strict=True):
        # A lab may have a pair of NATs in both orders, of which a cell knows none.
        key = (str(overlay), str(mode), tuple(sorted((str(nat_a), str(nat_b)))))
        runs[key] += 1
        successes[key] += int(success)
    return [
        {"overlay": key[0], "mode": key[1], "nats": list(key[2]), "successes": successes[key], "runs": runs[key]}
        for key in sorted(runs)
    ]
