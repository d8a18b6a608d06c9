"""How soon pairs are direct: each look of one run is what a run with that deadline finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.report.population import population_of
from harness.report.population_times import looks_s
from harness.report.tables import TextTable
from harness.results.loading import load
from harness.scenario.load import POPULATIONS
from harness.simulation.load import load_population
from harness.simulation.run import prepare, simulate

SAID: dict[str, Any] = {
    "description": "small",
    "access": {
        "open": {"share": 0.6, "routers": ["full-cone"]},
        "strict": {"share": 0.3, "routers": ["port-restricted"]},
        "symmetric": {"share": 0.1, "routers": ["symmetric"]},
    },
    "matrix": {"technique": ["plain", "birthday"]},
    "worlds": 4,
}


class Silent:
    def advance(self, worlds: int) -> None:
        """Say nothing."""


def tables_of(folder: Path, deadline_s: float) -> dict[str, TextTable]:
    path, out = folder / "small.yaml", folder / f"out-{deadline_s:g}"
    path.write_text(yaml.safe_dump(SAID | {"deadline_s": deadline_s}, sort_keys=False))
    loaded = load_population(str(path), POPULATIONS)
    run, left = prepare(loaded, out, resume=False)
    simulate(loaded, run, left, 1, Silent())
    found = population_of(load(out))
    assert found is not None
    return {table.title: table for table in found[0]}


@pytest.mark.parametrize(
    ("deadline_s", "looks"),
    [(0.5, [0.5]), (1, [1]), (7, [1, 2, 5, 7]), (10, [1, 2, 5, 10]), (60, [1, 2, 5, 10, 20, 50, 60])],
)
def test_the_last_look_is_the_deadline(deadline_s: float, looks: list[float]) -> None:
    assert looks_s(deadline_s) == looks


def test_a_run_has_what_runs_with_shorter_deadlines_find(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, 7)
    soon, rates = tables["How soon pairs are direct"], tables["The population"]
    assert soon.header == ("technique", "within 1 s", "within 2 s", "within 5 s", "within 7 s")
    assert [row[0] for row in soon.rows] == ["plain", "birthday"]
    # Rates of cells, weighted, with the interval of the table above.
    assert [row[-1] for row in soon.rows] == [row[2] for row in rates.rows]
    for deadline_s in (2, 5):
        shorter = tables_of(tmp_path, deadline_s)["How soon pairs are direct"]
        at = soon.header.index(shorter.header[-1]) + 1
        assert shorter.header == soon.header[:at]
        assert shorter.rows == tuple(row[:at] for row in soon.rows)
    plain, birthday = ([float(cell.split()[0]) for cell in row[1:]] for row in soon.rows)
    assert plain == sorted(plain)
    assert birthday[1] < birthday[-1], "probing takes its time"
