"""A page of many simulated worlds is of some of their repeats, and tells of all of them where it says so."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from harness.report.html import FIRST_REPEATS, write_report
from harness.results.loading import load
from harness.results.parts import record_parts
from harness.results.store import RunFolder, trial_lines
from harness.results.summary import summarise
from harness.scenario.load import POPULATIONS
from harness.simulation.load import load_population
from harness.simulation.plan import Plan
from harness.simulation.records import OfRun, records_of
from harness.simulation.run import prepare
from harness.simulation.world import PairResult, WorldResult

MIX = """\
description: two kinds
access: {{strict: {{share: 0.5, routers: [port-restricted]}}, open: {{share: 0.5, routers: [full-cone]}}}}
matrix: {{technique: birthday, group: [2, 3]}}
worlds: {worlds}
groups: {groups}
"""


def made(folder: Path, worlds: int, groups: int) -> Path:
    """Make a folder as a run leaves it before its end; what came of a world is drawn."""
    folder.mkdir()
    (folder / "mix.yaml").write_text(MIX.format(worlds=worlds, groups=groups))
    loaded = load_population(str(folder / "mix.yaml"), POPULATIONS)
    results, left = prepare(loaded, folder / "out", resume=False)
    plan, of_run, rng = (
        Plan(loaded.population),
        OfRun("r", "mix", loaded.population, "1"),
        random.Random(1),
    )

    def lines(number: int) -> str:
        world = plan.world(number)
        pairs = []
        for src, dst in itertools.combinations(range(len(world.names)), 2):
            verdict = rng.choice(["direct", "direct", "relayed", "none"])
            connect_s = None if verdict == "none" else rng.random()
            direct_s = rng.random() if verdict == "direct" else None
            pairs.append(PairResult(src, dst, connect_s, direct_s, verdict, verdict))
        return trial_lines(records_of(of_run, world, WorldResult(pairs, rng.random())))

    results.write(map(lines, left))
    results.close()
    return results.path


def test_a_page_of_some_repeats_tells_of_all_worlds_where_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = made(tmp_path / "made", 200, 150)
    RunFolder(out).finish()
    results = load(out)
    assert (out / "summary.csv").read_text() == summarise(results.records).to_csv(index=False, float_format="%.6g")
    assert sum(len(part) for part in record_parts(out)) == len(results.records) == 600 * 5 + 150 * 13
    monkeypatch.setattr("harness.report.html.MOST_PAIRS", 10_000)
    whole = write_report(out).read_text()
    monkeypatch.setattr("harness.report.html.MOST_PAIRS", 120)
    page = write_report(out).read_text()
    assert "This page covers only the first" not in whole
    assert FIRST_REPEATS.format(20) in page, "three cells of a pair and three pairs of a group are six a repeat"

    def chapter(text: str) -> str:
        return text.partition('<h2 id="population">')[2].partition("<h2")[0]

    assert "algebra" in chapter(page)
    assert chapter(page) == chapter(whole)
    plan = json.loads((out / "plan.json").read_text())
    assert [each["id"] for each in plan] == list(results.records["trial"].astype(str).unique())
