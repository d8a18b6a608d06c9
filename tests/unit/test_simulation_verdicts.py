"""Verdicts are of the deadline, and hang on what a file says and not on what it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import ScenarioError
from harness.report.population import population_of
from harness.results.agreement import WorldCounts, agreement
from harness.results.loading import load
from harness.scenario.load import POPULATIONS
from harness.simulation.contract import engines
from harness.simulation.describe import described
from harness.simulation.load import LoadedPopulation, load_population
from harness.simulation.plan import Plan
from harness.simulation.records import OfRun, records_of
from harness.simulation.run import POPULATION, prepare
from harness.simulation.world import ANSWER_S, PairResult, WorldResult, run_world

STRICT = {"share": 1.0, "routers": ["port-restricted"], "link": {"jitter_ms": 5}}


def written(folder: Path, name: str = "small", **says: Any) -> LoadedPopulation:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"description": "small", "access": {"strict": STRICT}, **says}, sort_keys=False))
    return load_population(str(path), POPULATIONS)


def test_a_verdict_is_of_the_deadline_however_many_members_carry_nothing(tmp_path: Path) -> None:
    """Hard pairs become direct some seconds later, for whose probes nobody waits."""
    access = {
        "blocked": {"share": 0.25, "routers": ["udp-blocked"]},
        "strict": {"share": 0.5, "routers": ["port-restricted"]},
        "symmetric": {"share": 0.25, "routers": ["symmetric"]},
    }
    says: dict[str, Any] = {"matrix": {"technique": "birthday", "group": 5}, "groups": 8, "deadline_s": 2.0}
    loaded = written(tmp_path, access=access, **says)
    plan, engine = Plan(loaded.population), engines()["refmesh"]
    seen = set()
    for world in plan:
        result = run_world(plan.spec(world), engine)
        assert result.seconds <= loaded.population.apart_s + 2.0 + ANSWER_S
        for pair in result.pairs:
            seen.add(pair.verdict)
            assert (pair.verdict == "direct") is (pair.direct_s is not None), (world.id, pair)
    assert seen == {"direct", "relayed", "none"}


def test_what_becomes_direct_while_probes_are_under_way_was_not_by_the_deadline(tmp_path: Path) -> None:
    """Probes are sent again for 3 s, and the last may go another way than what both ends said at the deadline."""
    loaded = written(tmp_path, worlds=1)
    world = Plan(loaded.population).world(0)
    found = {}
    for direct_s in (9.9, None):
        pair = PairResult(0, 1, 0.5, direct_s, "direct", "direct" if direct_s else "relayed")
        run = OfRun("r", "small", loaded.population, None)
        records = {each.metric: each for each in records_of(run, world, WorldResult([pair], 13.0))}
        path = records["hole_punch_success"]
        found[direct_s] = path.path, path.value, records["connect_success"].value
    assert found == {9.9: ("direct", 1.0, 1.0), None: ("mixed", 0.0, 1.0)}


def test_a_file_of_another_name_is_the_same_population(tmp_path: Path) -> None:
    says: dict[str, Any] = {"matrix": {"technique": "birthday"}, "worlds": 2}
    plans = [Plan(written(tmp_path, name, **says).population) for name in ("aa", "bb")]
    one, other = ([plan.spec(world) for world in plan] for plan in plans)
    assert one == other
    loaded = written(tmp_path, "aa", **says)
    prepare(loaded, tmp_path / "out", resume=False)
    with pytest.raises(ScenarioError, match="another population, name, seed"):
        prepare(written(tmp_path, "bb", **says), tmp_path / "out", resume=True)


def test_the_cells_of_a_lab_are_taken_when_gone_on_with_and_stay(tmp_path: Path) -> None:
    loaded = load_population("nat-matrix", POPULATIONS)
    out = tmp_path / "out"
    prepare(loaded, out, resume=False)
    (out / POPULATION).unlink()  # killed just before it was written
    lab = Path(__file__).parents[2] / "results" / "nat-matrix"
    for emulated in (lab, None):
        prepare(loaded, out, resume=True, emulated=emulated)
        assert len(json.loads((out / POPULATION).read_text())["emulated"]) > 21


@pytest.mark.parametrize("techniques", [["birthday", "plain"], ["plain", "birthday"], ["plain"]])
def test_a_lab_is_held_against_what_its_overlay_declares(tmp_path: Path, techniques: list[str]) -> None:
    loaded = written(tmp_path, matrix={"technique": techniques})
    label = "port-restricted"
    lab = {"overlay": "refmesh", "mode": "mesh", "nats": [label, label], "successes": 1, "runs": 1}
    cells = agreement(described(loaded, [lab]), WorldCounts(), "refmesh")
    held = {cell.params["technique"] for cell in cells if cell.emulated is not None}
    assert held == {"birthday"} & set(techniques)


def test_a_file_of_groups_alone_reports_them(tmp_path: Path) -> None:
    written(tmp_path, matrix={"technique": "birthday", "group": [4]}, groups=3)
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, ["simulate", str(tmp_path / "small.yaml"), "--out", str(out), "--jobs", "1"])
    assert done.exit_code == 0, done.output
    found = population_of(load(out))
    assert found is not None
    tables, plots = found
    (row,) = tables[0].rows
    assert row[tables[0].header.index("groups of 4 all direct (%)")].startswith("100.0; 100.0 [")
    for plot in plots:
        assert len(plot.data)


def test_a_page_says_which_links_there_are(tmp_path: Path) -> None:
    slow = {"share": 0.5, "link": {"delay_ms": 15, "jitter_ms": 2}}
    access = {"strict": {"share": 0.5, "link": {"delay_ms": 8}}, "slow": slow}
    prepare(written(tmp_path, access=access, worlds=1), tmp_path / "out", resume=False)
    text = json.loads((tmp_path / "out" / "manifest.json").read_text())["links"]
    assert text == "by type of access: 8 to 15 ms one way, 0 to 2 ms jitter"
    done = CliRunner().invoke(
        cli, ["simulate", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "run"), "--jobs", "1", "--worlds", "1"]
    )
    assert done.exit_code == 0, done.output
    assert text in (tmp_path / "run" / "report.html").read_text()


def test_cells_that_are_there_do_for_other_shares_and_for_nothing_else(tmp_path: Path) -> None:
    def access(strict: float, **more: Any) -> dict[str, Any]:
        return {
            "strict": {"share": strict, "routers": ["port-restricted"]},
            "symmetric": {"share": round(1 - strict, 3), "routers": ["symmetric"], **more},
        }

    says: dict[str, Any] = {"matrix": {"technique": "plain"}, "worlds": 2}
    written(tmp_path, access=access(0.5), **says)
    out, other = tmp_path / "out", tmp_path / "other.yaml"
    run = CliRunner(env={"COLUMNS": "250"}).invoke
    assert run(cli, ["simulate", str(tmp_path / "small.yaml"), "--out", str(out), "--jobs", "1"]).exit_code == 0
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for strict, direct in ((0.5, "25.0"), (0.9, "81.0")):
        written(tmp_path, "other", access=access(strict), **says)
        done = run(cli, ["simulate", str(other), "--cells-of", str(out)])
        assert done.exit_code == 0, done.output
        assert f"{direct} [" in done.output.replace("\xa0", " ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([*before, "other.yaml"])
    for field, changed in (
        ("access.symmetric", {"access": access(0.9, ipv6=False, link={"delay_ms": 3}), **says}),
        ("deadline_s", {"access": access(0.9), "deadline_s": 3, **says}),
        ("matrix.technique", {"access": access(0.9), "matrix": {"technique": ["plain", "birthday"]}}),
    ):
        written(tmp_path, "other", **changed)
        done = run(cli, ["simulate", str(other), "--cells-of", str(out)])
        assert isinstance(done.exception, ScenarioError)
        assert "other.yaml:" in str(done.exception)
        assert f": {field}: " in str(done.exception)
    assert run(cli, ["simulate", str(other), "--cells-of", str(out), "--resume", "--out", "x"]).exit_code == 2
