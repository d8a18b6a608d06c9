"""Populations: what a file may say, shares and sums, and runs that are the same however they are run."""

from __future__ import annotations

import itertools
import json
import random
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import ScenarioError
from harness.report.plots.style import SCREEN
from harness.report.population import population_of, population_section
from harness.results.agreement import (
    ENGINE_ALGEBRA,
    LAB_ALGEBRA,
    LAB_ENGINE,
    CellAgreement,
    agreement,
    counts_of,
    weighted,
)
from harness.results.counts import Count
from harness.results.loading import load
from harness.scenario.load import POPULATIONS
from harness.simulation import algebra
from harness.simulation.algebra import Level, expected_cells, group_success, pair_success, with_eim_share
from harness.simulation.churn import run_churn
from harness.simulation.contract import engines
from harness.simulation.load import LoadedPopulation, load_population
from harness.simulation.plan import Condition, Plan, cell_shares
from harness.simulation.population import Churn
from harness.simulation.run import prepare, simulate

ROOT = Path(__file__).parents[2]
BUNDLED = sorted(path.stem for path in POPULATIONS.glob("*.yaml"))
BIRTHDAY = Condition("birthday", port_mapping=False, ipv6=False, group=2)
SMALL: dict[str, Any] = {
    "description": "small",
    "access": {
        "strict": {"share": 0.5, "routers": ["port-restricted"]},
        "carrier": {"share": 0.3, "routers": ["home-router", "cgn"], "together": {"share": 0.06}},
        "symmetric": {"share": 0.2, "routers": ["symmetric"]},
    },
    "matrix": {"technique": ["plain", "birthday"], "group": [2, 3]},
    "worlds": 2,
    "groups": 2,
    "deadline_s": 5,
}


class Silent:
    def advance(self, worlds: int) -> None:
        """Say nothing."""


def written(folder: Path, **changes: Any) -> LoadedPopulation:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes, sort_keys=False))
    return load_population(str(path), POPULATIONS)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_populations_are_right_and_their_shares_a_whole(name: str) -> None:
    population = load_population(name, POPULATIONS).population
    assert sum(cell_shares(population).values()) == pytest.approx(1.0, abs=1e-5)
    assert all(access.source for access in population.access.values()) or name == "nat-matrix"


def test_sums_are_what_drawing_peers_gives(tmp_path: Path) -> None:
    population = written(tmp_path).population
    cells = expected_cells(population, BIRTHDAY, Level(256, (300,)))
    probability = {(c.cell.first, c.cell.second): c.probability for c in cells if not c.cell.shared_layers}
    names, shares = list(population.access), [each.share for each in population.access.values()]
    rng = random.Random(1)

    def direct(a: str, b: str) -> bool:
        return rng.random() < (probability.get((a, b)) or probability.get((b, a)) or 0.0)

    drawn = [rng.choices(names, shares, k=3) for _ in range(20_000)]
    groups = sum(all(direct(a, b) for a, b in itertools.combinations(group, 2)) for group in drawn) / len(drawn)
    assert group_success(dict(zip(names, shares, strict=True)), probability, 3) == pytest.approx(groups, abs=0.015)
    apart = sum(direct(a, b) for a, b, _ in drawn) / len(drawn)
    together = next(cell for cell in cells if cell.cell.shared_layers)
    # 6 % of all pairs, which are two thirds of those with a carrier at both ends.
    found = [
        together.probability if a == b == "carrier" and rng.random() < 0.06 / 0.3**2 else direct(a, b)
        for a, b, _ in drawn
    ]
    assert pair_success(cells) == pytest.approx(sum(found) / len(found), abs=0.015)
    for name, share in zip(names, shares, strict=True):
        ends = [cell.share * ((cell.cell.first == name) + (cell.cell.second == name)) / 2 for cell in cells]
        assert sum(ends) == pytest.approx(share), "a share of peers is that of pairs' ends"
    assert group_success(dict(zip(names, shares, strict=True)), probability, 2) == pytest.approx(apart, abs=0.015)


def test_groups_of_many_types_are_summed_or_drawn_in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """NATCracker has 27 types: 254 million ways to make up ten."""
    rng = random.Random(1)
    names = [f"t{number}" for number in range(27)]
    shares = dict.fromkeys(names, 1 / 27)
    pairs = list(itertools.combinations_with_replacement(names, 2))
    began = time.process_time()
    # Four kinds among them, which do alike; and all of them different.
    kinds = {name: number % 4 for number, name in enumerate(names)}
    of_kinds = {(a, b): 1.0 if kinds[a] + kinds[b] < 4 else 0.6 for a, b in pairs}
    different = {pair: 0.95 + 0.05 * rng.random() for pair in pairs}
    counted, drawn = (group_success(shares, table, 10) for table in (of_kinds, different))
    assert time.process_time() - began < 5
    assert 0.0 < counted < 1.0
    monkeypatch.setattr(algebra, "MOST_COUNTED", 0)
    assert group_success(shares, of_kinds, 10) == pytest.approx(counted, abs=0.015)
    small = dict.fromkeys(names[:6], 1 / 6)
    sampled = group_success(small, different, 4)
    monkeypatch.undo()
    assert group_success(small, different, 4) == pytest.approx(sampled, abs=0.002)
    assert group_success(small, dict.fromkeys(pairs, 0.0), 3) == 0.0
    assert group_success({"t0": 0.0, "t1": 1.0}, different, 3) == pytest.approx(different["t1", "t1"] ** 3)
    assert 0.975**45 - 0.05 < drawn < 0.975**45 + 0.05


def test_figures_of_drawn_groups_are_marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded = written(tmp_path, worlds=1, groups=1)
    marks = []
    for most in (algebra.MOST_COUNTED, 5):
        monkeypatch.setattr(algebra, "MOST_COUNTED", most)
        out = tmp_path / f"out{most}"
        folder, left = prepare(loaded, out, resume=False)
        simulate(loaded, folder, left, 1, Silent())
        found = population_of(load(out))
        assert found is not None
        (rates, *_), (_, whole) = found
        groups = [rates.header.index(f"groups of {size} all direct (%)") for size in (3, 5, 10)]
        marks.append([row[place].startswith("~") for row in rates.rows for place in groups])
        assert ("~:" in rates.note) is ("Groups of 5, 10 are drawn" in whole.caption) is any(marks[-1])
    assert marks == [[False] * 6, [False, True, True] * 2]


def test_shares_of_eim_are_what_the_curve_says(tmp_path: Path) -> None:
    population = written(tmp_path).population
    for eim in (0.0, 0.3, 1.0):
        shares = with_eim_share(population, eim)
        assert shares is not None
        assert shares["strict"] + shares["carrier"] == pytest.approx(eim)
        assert sum(cell_shares(population, shares).values()) == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_bytes_in_one_process_or_two_and_when_gone_on_with(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    texts = []
    for jobs in (1, 2):
        folder, left = prepare(loaded, tmp_path / f"jobs{jobs}", resume=False)
        simulate(loaded, folder, left, jobs, Silent())
        texts.append(folder.records_path.read_bytes())
    folder, left = prepare(loaded, tmp_path / "cut", resume=False)
    simulate(loaded, folder, left[:7], 1, Silent())
    with folder.records_path.open("ab") as file:
        file.write(texts[0].split(b"\n")[40][:99])  # the half of a line, as a killed run leaves it
    folder, left = prepare(loaded, tmp_path / "cut", resume=True)
    assert len(left) == len(Plan(loaded.population)) - 7
    simulate(loaded, folder, left, 2, Silent())
    texts.append(folder.records_path.read_bytes())
    assert texts[0] == texts[1] == texts[2]
    assert {json.loads(line)["overlay_version"] for line in texts[0].splitlines()} == {version("overlaybench")}
    with pytest.raises(ScenarioError, match="another population"):
        prepare(written(tmp_path, worlds=3), tmp_path / "cut", resume=True)
    other = written(tmp_path, seed=2)
    folder, left = prepare(other, tmp_path / "other", resume=False)
    simulate(other, folder, left, 1, Silent())
    assert folder.records_path.read_bytes() != texts[0]


def test_a_run_is_a_result_folder_like_any_other(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, ["simulate", str(tmp_path / "small.yaml"), "--out", str(out), "--jobs", "1"])
    assert done.exit_code == 0, done.output
    results = load(out)
    assert set(results.records["engine"].astype(str)) == {"simulated"}
    assert len(results.trials) == len(Plan(loaded.population))
    assert {"summary.csv", "report.html", "records.parquet"} <= {path.name for path in out.iterdir()}
    page = (out / "report.html").read_text()
    assert "The population" in page and "Algebra, engine, emulation" in page
    assert "what a probe took, followed from host to host" in page
    assert "counters" not in page  # there is no lab that could have any
    assert (out / "plots" / "population-curves.csv").is_file()
    section = population_section(results, SCREEN, tmp_path / "plots")
    assert section is not None
    assert {len(row) - len(table.header) for table in section.tables for row in table.rows} == {0}
    compared = CliRunner().invoke(cli, ["compare", str(out), str(out)])
    assert compared.exit_code == 0, compared.output


CHURN = {
    **{"members": 6, "seconds": 60, "every_s": 10, "start_within_s": 3, "up_s": 40, "away_s": 8, "roam_s": 30},
    "server_down": {"at_s": 30.001, "for_s": 10},
}


def test_a_network_over_time_is_the_same_twice_and_outlives_its_server(tmp_path: Path) -> None:
    population = written(tmp_path, churn=CHURN, matrix={"technique": "birthday"}).population
    assert population.churn is not None
    engine = engines()["refmesh"]
    first, second = (run_churn(population, population.churn, 0, engine) for _ in range(2))
    assert first == second  # nothing hangs on where an object lies in memory
    assert first != run_churn(population, population.churn, 1, engine)
    ran = {sample.at_s: sample.server_up for sample in first}
    assert ran == {at: int(not 30.001 < at <= 40.001) for at in ran}
    dead = [sample for sample in first if not sample.server_up]
    assert [sample.at_s for sample in dead] == [40.0, 40.001]
    assert sum(sample.server_messages for sample in dead) == 0 < sum(sample.server_received for sample in dead)
    assert first[2].server_messages > 0
    assert (first[-1].server_state_bytes or 0) > 10_000
    assert any(sample.members_up < 6 for sample in first)
    calm = Churn.model_validate(CHURN | {"up_s": 1e6, "roam_s": 0})
    samples = run_churn(population, calm, 0, engine)
    assert all(sample.pairs == sample.pairs_connected == 15 for sample in samples[1:])
    with pytest.raises(ValueError, match="not back within"):
        Churn.model_validate(CHURN | {"seconds": 40})


def test_disagreement_is_seen() -> None:
    def cell(expected: float, simulated: Count, emulated: Count | None = None) -> CellAgreement:
        return CellAgreement({}, "a", "b", 0, 1.0, expected, "", simulated, emulated)

    assert cell(0.64, Count(9, 9)).complaints == []  # nine runs say too little
    assert cell(0.64, Count(100, 100)).complaints == [ENGINE_ALGEBRA]
    assert cell(1.0, Count(995, 1000)).complaints == [ENGINE_ALGEBRA]
    assert cell(0.5, Count(50, 100), Count(99, 100)).complaints == [LAB_ENGINE, LAB_ALGEBRA]
    assert cell(0.64, Count(9, 9)).open == [ENGINE_ALGEBRA], "so they do not agree either"
    assert cell(1.0, Count(30, 30), Count(10, 10)).open == [LAB_ENGINE]
    agreed = cell(1.0, Count(100, 100), Count(30, 30))
    assert (agreed.complaints, agreed.open) == ([], [])
    whole = weighted([cell(0.5, Count(50, 100))])
    assert whole is not None and whole.low < 0.5 < whole.high


def test_the_folder_keeps_what_its_report_needs(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    folder, left = prepare(loaded, tmp_path / "out", resume=False)
    simulate(loaded, folder, left, 1, Silent())
    said = json.loads((tmp_path / "out" / "population.json").read_text())
    cells = agreement(said, counts_of([load(tmp_path / "out").records]), "refmesh")
    assert {cell.simulated.runs for cell in cells if cell.simulated} == {2}
    assert all(cell.simulated for cell in cells)
    assert len(cells) == 2 * 7
