"""What a population takes from a lab's folder: counts by pair of NATs, whichever side had which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from result_samples import Maker

from harness.results.agreement import Count, WorldCounts, agreement
from harness.results.store import RunFolder
from harness.scenario.load import POPULATIONS
from harness.simulation.describe import described
from harness.simulation.emulated import emulated_cells
from harness.simulation.load import LoadedPopulation, load_population

SAID: dict[str, Any] = {
    "description": "small",
    "access": {
        "open": {"share": 0.5, "routers": ["full-cone"]},
        "strict": {"share": 0.5, "routers": ["port-restricted"]},
    },
    "matrix": {"technique": "birthday"},
}


def population(folder: Path, **says: Any) -> LoadedPopulation:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SAID | says, sort_keys=False))
    return load_population(str(path), POPULATIONS)


def lab(path: Path, trials: list[dict[str, Any]]) -> Path:
    """Write a folder of trials of refmesh between a full cone and a strict NAT, but for what each says."""
    folder, maker = RunFolder(path), Maker()
    folder.create({"schema": 3, "scenario": "demo", "started_at": "2026-11-23T12:00:00+00:00"}, [])
    for number, trial in enumerate(trials):
        said = {"nat_a": "full-cone", "nat_b": "port-restricted", "direct_s": 1.0, "deadline_s": 15.0} | trial
        direct_s, more = said.pop("direct_s"), {"trial": f"t{number}", "params": {"deadline_s": said.pop("deadline_s")}}
        pair = {**said, **more, "src": "a", "dst": "b", "path": "relayed" if direct_s is None else "direct"}
        success = 0.0 if direct_s is None else 1.0
        folder.append(
            [
                maker.one("path", "connect_success", "1", 1.0, **pair),
                maker.one("path", "hole_punch_success", "1", success, **pair),
                maker.one("path", "time_to_direct_s", "s", direct_s, **pair),
                maker.one("trial", "duration_s", "s", 20.0, **said, **more),
            ]
        )
    folder.close()
    return path


def test_a_pair_of_nats_counts_in_both_orders(tmp_path: Path) -> None:
    turned = {"nat_a": "port-restricted", "nat_b": "full-cone"}
    folder = lab(tmp_path / "lab", [{}, {"direct_s": None}, {}, *[turned] * 5, turned | {"direct_s": None}])
    loaded = population(tmp_path)
    (cell,) = cells = emulated_cells(folder)
    assert (cell["nats"], cell["successes"], cell["runs"]) == (["full-cone", "port-restricted"], 7, 9)
    said = described(loaded, cells)
    (mixed,) = (each for each in agreement(said, WorldCounts(), "refmesh") if each.emulated is not None)
    assert (mixed.first, mixed.second, mixed.emulated) == ("open", "strict", Count(7, 9))
    (row,) = (row for row in said["declared"] if row["overlay"] == "refmesh")
    assert row["emulated"] == 7 / 9
    assert row["pairs_with_lab"] == 0.5 + 0.5 * 7 / 9
