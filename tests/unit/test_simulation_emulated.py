"""What a population takes from a lab's folder: counts by pair of NATs, whichever side had which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from result_samples import Maker

from harness.report.population import population_of
from harness.report.population_lab import declared_table
from harness.results.agreement import WorldCounts, agreement
from harness.results.counts import Count
from harness.results.loading import load
from harness.results.store import ResultFolderError, RunFolder
from harness.scenario.load import POPULATIONS
from harness.simulation.declared import _in_its_time
from harness.simulation.describe import described
from harness.simulation.emulated import emulated_cells
from harness.simulation.load import LoadedPopulation, load_population
from harness.simulation.run import prepare, simulate

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
    manifest = {"schema": 3, "scenario": "demo", "started_at": "2026-11-23T12:00:00+00:00"}
    folder.create(manifest | {"run": "abc123", "overlaybench_commit": "0123456789ab"}, [])
    for number, trial in enumerate(trials):
        said = {"nat_a": "full-cone", "nat_b": "port-restricted", "link": "ideal", "direct_s": 1.0, "deadline_s": 15.0}
        said |= trial
        direct_s, deadline_s, untold = said.pop("direct_s"), said.pop("deadline_s"), said.pop("untold", False)
        params = said.get("params", {}) | ({} if deadline_s is None else {"deadline_s": deadline_s})
        said |= {"trial": f"t{number}", "params": params}
        pair = said | {"src": "a", "dst": "b", "path": "relayed" if direct_s is None else "direct"}
        since = pair | {"outcome": "error"} if untold else pair
        folder.append(
            [
                maker.one("path", "connect_success", "1", 1.0, **pair),
                maker.one("path", "hole_punch_success", "1", float(direct_s is not None), **pair),
                maker.one("path", "time_to_direct_s", "s", None if untold else direct_s, **since),
                maker.one("trial", "duration_s", "s", 20.0, **said),
            ]
        )
    folder.close()
    return path


def test_a_pair_of_nats_counts_in_both_orders(tmp_path: Path) -> None:
    turned = {"nat_a": "port-restricted", "nat_b": "full-cone"}
    folder = lab(tmp_path / "lab", [{}, {"direct_s": None}, {}, *[turned] * 5, turned | {"direct_s": None}])
    loaded = population(tmp_path)
    (cell,) = cells = emulated_cells(folder, loaded.population.deadline_s)
    assert (cell["nats"], cell["successes"], cell["runs"]) == (["full-cone", "port-restricted"], 7, 9)
    said = described(loaded, cells)
    (mixed,) = (each for each in agreement(said, WorldCounts(), "refmesh") if each.emulated is not None)
    assert (mixed.first, mixed.second, mixed.emulated) == ("open", "strict", Count(7, 9))
    (row,) = (row for row in said["declared"] if row["overlay"] == "refmesh")
    assert row["emulated"] == 7 / 9
    assert row["pairs_with_lab"] == 0.5 + 0.5 * 7 / 9


LATE: list[dict[str, Any]] = [
    *({"direct_s": direct_s} for direct_s in (1.0, 3.9, 4.0, 4.1, 12.5, None)),
    {"direct_s": 4.1, "deadline_s": 4.0},  # as the lab's clock is read; it says itself what was in time
    {"direct_s": None, "deadline_s": 4.0},
    {"untold": True},
    {"direct_s": None, "deadline_s": None},  # failed before anything was measured
]


def test_of_a_lab_that_waited_longer_counts_what_was_direct_in_time(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", LATE)
    (cell,) = emulated_cells(folder, 4.0)
    assert (cell["successes"], cell["runs"], cell["untold"]) == (4, 9, 1)
    assert cell["waited_s"] == [4.0, 15.0]
    # The lab's own time is the shortest, so that all of it tells.
    assert cell["waited"] == {"deadline_s": 4.0, "successes": 4, "runs": 9, "untold": 1}
    # Where the lab waited as long it does not matter since when a path was direct.
    same = lab(tmp_path / "same", [each for each in LATE if each.get("deadline_s") is None])
    (cell,) = emulated_cells(same, 15.0)
    assert (cell["successes"], cell["runs"], cell["untold"]) == (6, 8, 0)
    (cell,) = emulated_cells(same, 4.0)
    assert (cell["successes"], cell["runs"], cell["untold"]) == (3, 7, 1)
    assert cell["waited"] == {"deadline_s": 15.0, "successes": 6, "runs": 8, "untold": 0}


def test_a_lab_that_waited_for_a_shorter_time_is_refused(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", LATE)
    with pytest.raises(ResultFolderError, match=r"waited 4 s .* waits 10 s.* deadline_s of 4 or less"):
        prepare(population(tmp_path), tmp_path / "out", resume=False, emulated=folder)
    assert not (tmp_path / "out").exists()


def test_a_lab_may_have_nats_that_have_no_alias(tmp_path: Path) -> None:
    """Their labels are of axes, which no oracle was told; `simulate --emulated` ended with a ValueError."""
    mapping, short = "EIM/APDF/preserving,port_mapping=nat-pmp+pcp", "EIM/EIF/block"
    cells = emulated_cells(lab(tmp_path / "lab", [{}, {"nat_a": mapping}, {"nat_a": short, "nat_b": short}]), 10.0)
    access = {
        "open": {"share": 0.5, "routers": ["full-cone"]},
        "carrier": {"share": 0.5, "routers": [{"alias": "cgn", "hairpinning": "off"}]},
    }
    (row,) = (
        row for row in described(population(tmp_path, access=access), cells)["declared"] if row["overlay"] == "refmesh"
    )
    assert (row["emulated_expected"], row["emulated"]) == (1.0, 1.0)
    assert row["lab_covers"] == 0.25, "a cell of the population is the lab's by its label"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"link": "lossy"}, "link is ideal and lossy"),
        ({"params": {"nat_a": "full-cone", "tls_port": 0}}, r'params is \{\} and \{"tls_port": 0\}'),
        # It begins like the two parameters that only say in which order the NATs are.
        ({"params": {"nat_a": "full-cone", "nat_lifetime_s": 30}}, r'params is \{\} and \{"nat_lifetime_s": 30\}'),
        ({"topology": "carrier"}, "topology is two-sites and carrier"),
    ],
)
def test_runs_of_several_conditions_are_no_one_cell(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    turned = {"nat_a": "port-restricted", "nat_b": "full-cone", "params": {"nat_a": "port-restricted"}}
    (cell,) = emulated_cells(lab(tmp_path / "one", [{}, {}, turned]), 4.0)
    assert (cell["runs"], cell["link"]) == (3, "ideal")
    folder = lab(tmp_path / "two", [{}, other])
    with pytest.raises(
        ResultFolderError, match=f"full-cone and port-restricted has several conditions, of which {said}"
    ):
        emulated_cells(folder, 4.0)


def test_a_public_host_of_a_lab_is_one_of_the_population(tmp_path: Path) -> None:
    access = {"public": {"share": 0.5}, "strict": {"share": 0.5, "routers": ["port-restricted"]}}
    cells = emulated_cells(lab(tmp_path / "lab", [{"nat_a": None}, {"nat_a": None, "nat_b": None}]), 10.0)
    assert [cell["nats"] for cell in cells] == [["", ""], ["", "port-restricted"]]
    said = described(population(tmp_path, access=access), cells)
    (row,) = (row for row in said["declared"] if row["overlay"] == "refmesh")
    assert row["lab_covers"] == 0.75
    for before in (False, True):
        if before:
            for cell in said["conditions"][0]["cells"]:
                del cell["nats"]
        found = {(each.first, each.second): each.emulated for each in agreement(said, WorldCounts(), "refmesh")}
        assert found == {
            ("public", "public"): Count(1, 1),
            ("public", "strict"): Count(1, 1),
            ("strict", "strict"): None,
        }


def test_the_report_says_what_of_the_lab_counts(tmp_path: Path) -> None:
    loaded = population(tmp_path, worlds=2, deadline_s=4)
    folder, left = prepare(loaded, tmp_path / "out", resume=False, emulated=lab(tmp_path / "lab", LATE))
    simulate(loaded, folder, left, 1, Silent())
    found = population_of(load(tmp_path / "out"))
    assert found is not None
    tables = {table.title: table for table in found[0]}
    held = tables["Algebra, engine, emulation"]
    assert [row[4].split()[0] for row in held.rows if row[0] == "full-cone x port-restricted"] == ["4/9"]
    for table in (held, tables["What products would reach"]):
        assert "direct if it was so within 4 s and still when the lab stopped waiting, after 15 s" in table.note
        assert "1 of its pairs are left out" in table.note
        assert "come from run abc123 at commit 0123456789ab, link ideal" in table.note


def test_what_is_declared_and_what_a_lab_saw_are_of_one_deadline(tmp_path: Path) -> None:
    """EasyTier needs 12 s, for which its lab waited: it differed in every cell from what it had in the end."""
    late = {"overlay": "easytier", "direct_s": 12.0}
    cells = emulated_cells(lab(tmp_path / "lab", [late] * 9), 10.0)
    said = described(population(tmp_path), cells)
    (row,) = (row for row in said["declared"] if row["overlay"] == "easytier")
    assert (row["emulated_expected"], row["emulated"], row["emulated_within_s"], row["differs"]) == (1, 1, 15, [])
    # But of the population's pairs, half of which are of that cell, none is direct within its 10 s.
    assert (row["pairs"], row["pairs_with_lab"], row["lab_runs"]) == (1.0, 0.5, 9)
    table = declared_table(said)
    (shown,) = (dict(zip(table.header, row, strict=True)) for row in table.rows if row[0] == "easytier")
    assert (shown["lab's cells: seen (%)"], shown["within (s)"], shown["cells that differ"]) == ("100.0", "15", "")
    # A folder of before has the population's counts alone, and says so.
    del cells[0]["waited"]
    (row,) = (row for row in described(population(tmp_path), cells)["declared"] if row["overlay"] == "easytier")
    assert (row["emulated"], row["emulated_within_s"]) == (0.0, 10.0)
    assert row["differs"] == ["full-cone x port-restricted (0/9)"]


def test_a_cell_of_which_it_is_unknown_since_when_paths_were_direct_counts_for_the_labs_own_time() -> None:
    """All that is known of it are successes: without it the rate that was seen was too low."""
    within = {"overlay": "easytier", "mode": "mesh", "nats": ["full-cone", "full-cone"], "successes": 0, "runs": 0}
    cells = [{**within, "waited": {"deadline_s": 15.0, "successes": 2, "runs": 2, "untold": 0}}]
    assert [(cell["successes"], cell["runs"]) for cell in _in_its_time("easytier", cells, 10.0)] == [(2, 2)]
    assert _in_its_time("tinc", cells, 10.0) == []


def test_birthday_probing_is_expected_of_the_time_that_its_lab_waited(tmp_path: Path) -> None:
    """In 2 s it tries fewer ports than in 15."""
    pair = {"nat_a": "port-restricted", "nat_b": "symmetric"}
    cells = emulated_cells(lab(tmp_path / "lab", [pair] * 9), 2.0)
    (row,) = (
        row for row in described(population(tmp_path, deadline_s=2.0), cells)["declared"] if row["overlay"] == "refmesh"
    )
    assert row["emulated_expected"] > 0.99
    assert row["differs"] == []


class Silent:
    def advance(self, worlds: int) -> None:
        """Say nothing."""
