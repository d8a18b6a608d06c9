"""Engine, algebra and lab say the same of every cell of the bundled populations, and of products."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.report.population_lab import declared_table
from harness.results.agreement import CellAgreement, WorldCounts, agreement
from harness.results.counts import Count, with_probability
from harness.scenario.load import POPULATIONS
from harness.simulation.algebra import expected_cell, level_of
from harness.simulation.contract import engines
from harness.simulation.describe import described
from harness.simulation.emulated import emulated_cells
from harness.simulation.load import LoadedPopulation, load_population
from harness.simulation.plan import Plan
from harness.simulation.world import run_world

ROOT = Path(__file__).parents[2]


def lab_of(loaded: LoadedPopulation) -> list[dict[str, Any]]:
    return emulated_cells(ROOT / "results" / "nat-matrix", loaded.population.deadline_s)


@pytest.mark.parametrize("technique", ["plain", "peer-reflexive", "port-prediction", "birthday"])
def test_engine_algebra_and_emulation_agree_in_every_cell_of_the_matrix(technique: str) -> None:
    """A handful of worlds a cell here; `simulate nat-matrix` does it with 1,000.

    That three worlds cannot tell is no agreement. But in each of these cells all or none is expected, so that one world
    of the engine, or the one trial of the lab, that comes out otherwise fails its cell.
    """
    loaded = load_population("nat-matrix", POPULATIONS)
    changes = {"matrix": loaded.population.matrix.model_copy(update={"technique": (technique,)}), "worlds": 3}
    loaded = replace(loaded, population=loaded.population.model_copy(update=changes))
    engine, plan = engines()["refmesh"], Plan(loaded.population)
    counts: dict[tuple[str, ...], list[int]] = {}
    for world in plan:
        (pair,) = run_world(plan.spec(world), engine).pairs
        assert pair.verdict == pair.claimed, world.id
        counts.setdefault(world.names, []).append(pair.verdict == "direct")
    said = described(loaded, lab_of(loaded))
    (condition,) = said["conditions"]
    lab = {
        tuple(cell["nats"]): Count(cell["successes"], cell["runs"])
        for cell in said["emulated"]
        if cell["overlay"] == "refmesh"
    }
    assert len(condition["cells"]) == len(counts) == 21
    for cell in condition["cells"]:
        name = (cell["first"], cell["second"])
        seen = Count(sum(counts[name]), len(counts[name]))
        emulated = lab[tuple(sorted(name))] if technique == "birthday" else None
        assert min(cell["expected"], 1.0 - cell["expected"]) < 1e-6, "else a few worlds would tell nothing"
        assert all(with_probability(Count(k, seen.runs), cell["expected"]) == "differ" for k in range(1, seen.runs))
        judged = CellAgreement(
            condition["params"], *name, 0, cell["share"], cell["expected"], cell["reason"], seen, emulated
        )
        assert not judged.complaints, (name, judged)


@pytest.mark.parametrize("name", ["levels", "field"])
def test_engine_and_algebra_agree_with_ports_on_request_and_ipv6_on_and_off(name: str) -> None:
    """Of `field` those conditions alone that the other tests have not: its `also`.

    One world a cell, of which all or none is expected: one that comes out otherwise fails, and there is no other kind.
    """
    loaded = load_population(name, POPULATIONS)
    sweep = loaded.population.matrix
    if sweep.also:
        sweep = sweep.model_copy(update={"technique": (), "group": (2,)})
    loaded = replace(loaded, population=loaded.population.model_copy(update={"worlds": 1, "matrix": sweep}))
    engine, plan = engines()["refmesh"], Plan(loaded.population)
    level = level_of(engine, loaded.population)
    wrong = []
    for world in plan:
        first, second = (loaded.population.access[name] for name in world.names)
        expected = expected_cell(first, second, world.shared_layers, world.condition, level).probability
        (pair,) = run_world(plan.spec(world), engine).pairs
        assert not 0.001 < expected < 0.999, "one world would tell nothing"
        if (pair.verdict == "direct") is not (expected > 0.5):
            wrong.append((world.id, pair.verdict, expected))
    assert not wrong


def test_what_a_product_would_reach_is_what_the_lab_saw_where_it_saw_less() -> None:
    loaded = load_population("natcracker-2009", POPULATIONS)
    # As if each trial of the lab had come out so 30 times.
    often = [cell | {key: 30 * cell[key] for key in ("successes", "runs")} for cell in lab_of(loaded)]
    rows = {row["overlay"]: row for row in described(loaded, often)["declared"]}
    nebula, tailscale = rows["nebula"], rows["tailscale"]
    assert nebula["lab_covers"] == pytest.approx(1.0)
    # Who calls decides; in this lab the cone always did, and the relay was there first.
    assert nebula["pairs_with_lab"] < nebula["pairs"] - 0.04
    assert 0 < nebula["lab_taken"] < 0.5
    assert nebula["lab_runs"] % 30 == 0 < nebula["lab_runs"] < 30 * 21
    # Where the lab saw what is declared it is not taken.
    assert (tailscale["pairs_with_lab"], tailscale["lab_runs"]) == (pytest.approx(tailscale["pairs"]), 0)


@pytest.mark.parametrize(
    ("routers", "successes", "runs", "is_taken"),
    [
        (("full-cone", "port-restricted"), 0, 1, False),  # 1.0 is declared, which one trial contradicts
        (("full-cone", "port-restricted"), 5, 7, False),
        (("full-cone", "port-restricted"), 5, 8, True),
        (("full-cone", "port-restricted"), 30, 30, False),
        (("full-cone", "symmetric"), 0, 1, False),  # 1/2 is declared: who calls decides
        (("full-cone", "symmetric"), 14, 30, False),
        (("full-cone", "symmetric"), 30, 30, True),
    ],
)
def test_a_lab_is_taken_where_it_differs_by_enough_runs(
    tmp_path: Path, routers: tuple[str, str], successes: int, runs: int, is_taken: bool
) -> None:
    """One trial made 0 or 1 of a probability."""
    file = tmp_path / "two.yaml"
    access = {name: {"share": 0.5, "routers": [router]} for name, router in zip("ab", routers, strict=True)}
    file.write_text(yaml.safe_dump({"description": "x", "access": access}))
    loaded = load_population(str(file), POPULATIONS)
    cell = {"overlay": "nebula", "mode": "mesh", "nats": list(routers), "successes": successes, "runs": runs}
    said = described(loaded, [cell])
    (row,) = (row for row in said["declared"] if row["overlay"] == "nebula")
    assert (row["lab_covers"], row["emulated_runs"]) == (0.5, runs)
    assert (row["lab_runs"], row["lab_taken"]) == ((runs, 0.5) if is_taken else (0, 0.0))
    declared = 0.5 if "symmetric" in routers else 1.0
    moved = 0.5 * (successes / runs - declared) if is_taken else 0.0
    assert row["pairs_with_lab"] == pytest.approx(row["pairs"] + moved)
    table = declared_table(said)
    shown = dict(zip(table.header, next(row for row in table.rows if row[0] == "nebula"), strict=True))
    assert shown["lab runs used"] == str(runs if is_taken else 0)
    assert shown["lab runs"] == str(runs)
    if 0 < successes < runs and declared == 1.0:
        assert shown["cells that differ"] == f"full-cone x port-restricted ({successes}/{runs})"


def test_a_row_says_which_product_is_deployed_over_ipv4_alone() -> None:
    table = declared_table(described(load_population("field", POPULATIONS)))
    place = table.header.index("IPv4 only here")
    said = {row[0]: row[place] for row in table.rows}
    assert said["refmesh"] == "no"
    assert {said[name] for name in ("nebula", "tailscale", "n2n", "wireguard")} == {"yes"}
    assert "the 37 % of peers who have IPv6 gain nothing from it" in table.note
    assert {len(row) for row in table.rows} == {len(table.header)}


def test_nats_that_do_alike_in_ipv4_without_asking_are_the_labs() -> None:
    """`field` has types that differ in IPv6 and in mapping ports: without either they are those of nat-matrix."""
    loaded = load_population("field", POPULATIONS)
    said = described(loaded, lab_of(loaded))
    rows = {row["overlay"]: row for row in said["declared"]}
    for name in ("nebula", "wireguard", "tinc", "n2n"):
        assert not rows[name]["asks_by"] and not rows[name]["ipv6"]
        assert rows[name]["lab_covers"] > 0.65, name
    # Who asks for ports or has IPv6 does otherwise there than in that lab.
    asked = ("home-mapping", "symmetric-mapping")
    assert rows["nebula"]["lab_covers"] - rows["tailscale"]["lab_covers"] == pytest.approx(
        sum(
            cell["share"]
            for cell in said["conditions"][0]["cells"]
            if {cell["first"], cell["second"]}.intersection(asked)
            and not {"carrier", "carrier-dual", "udp-blocked"}.intersection((cell["first"], cell["second"]))
        )
    )
    said["conditions"] = [
        {**condition, "params": {**condition["params"], "technique": "birthday"}} for condition in said["conditions"]
    ]
    held = {
        (cell.params["port_mapping"], cell.params["ipv6"], frozenset((cell.first, cell.second)))
        for cell in agreement(said, WorldCounts(), "refmesh")
        if cell.emulated is not None
    }
    for mapping, ipv6, ends, is_labs in (
        (False, False, {"home-dual"}, True),
        (False, False, {"home-mapping", "symmetric-mapping"}, True),
        (False, True, {"home-dual", "home-mapping"}, True),  # one has no IPv6
        (False, True, {"home-dual", "symmetric-dual"}, False),
        (True, False, {"home-strict", "home-mapping"}, False),
        (True, False, {"home-strict", "home-dual"}, True),
    ):
        assert ((mapping, ipv6, frozenset(ends)) in held) is is_labs, (mapping, ipv6, ends)


def test_what_adapters_declare_is_what_the_lab_saw_of_every_cell() -> None:
    loaded = load_population("nat-matrix", POPULATIONS)
    rows = described(loaded, lab_of(loaded))["declared"]
    measured = {row["overlay"]: row for row in rows if "emulated" in row}
    assert {row["emulated_within_s"] for row in measured.values()} == {loaded.population.deadline_s}
    assert set(measured) >= {"easytier", "n2n", "nebula", "nebula-go", "refmesh", "tailscale", "tinc", "wireguard"}
    assert {name: row["differs"] for name, row in measured.items() if row["differs"]} == {}
    for name, row in measured.items():
        # An open cell counts half; of all others a single trial that came out otherwise would be seen.
        assert row["emulated_expected"] == pytest.approx(row["emulated"], abs=0.05), name
