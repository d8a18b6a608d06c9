"""Baselines of a cell over hosts: figures of two are never compared; what moved gets its underlay measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_host import FACTS, Heard
from pool_runs import EVIDENCE, SCENARIO, FakeMember, campaign

from harness.campaign.campaign import Campaign
from harness.hosts import pool as pools
from harness.hosts.contract import OnStep
from harness.hosts.pool import Pool
from harness.results.store import RunFolder
from harness.scenario.planned import Planned, plan_trials
from harness.trial.messages import Done


class Rated(FakeMember):
    """Carries so much without an overlay, and a quarter of it with one."""

    def __init__(self, name: str, mbit: float) -> None:
        super().__init__(name, 1, machine={"kernel": name})
        self.mbit, self.dies = mbit, False

    async def run(self, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        if self.dies and not trial.startswith("underlay"):
            self.never_back = True
            self.kill()
        await super().run(trial, on_step)
        rate = self.mbit if trial.startswith("underlay") else self.mbit / 4
        figure = {"probe": "throughput", "metric": "tcp_throughput_mbit", "unit": "Mbit/s", "value": rate}
        return Done(outcome="ok", measurements=[{**figure, "src": "a", "dst": "b", "evidence": "seed.log"}]), EVIDENCE


@pytest.fixture(autouse=True)
def same_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "harness_commit", lambda: FACTS.commit)
    monkeypatch.setattr(pools.platform, "python_version", lambda: None)


def plan_with_baseline(folder: Path) -> Planned:
    text = SCENARIO.replace("probes: [path]", "probes: {throughput: {baseline: cell}}")
    (folder / "cell.yaml").write_text(text.replace("repeats: 4", "repeats: 1"))
    return plan_trials(str(folder / "cell.yaml"))


def test_the_rest_of_a_block_is_compared_with_its_underlay_on_its_own_host(tmp_path: Path) -> None:
    """The first host measures underlays, and is gone for good with the first overlay."""
    planned = plan_with_baseline(tmp_path)
    first, second = Rated("first", 80.0), Rated("second", 20.0)
    first.dies = True
    run = campaign(tmp_path, planned, Pool([first, second]))
    tally = run.run(sorted(planned.trials, key=lambda one: one.mode != "underlay"))
    assert tally.outcomes == {"ok": len(planned.trials)} and first.ran and first.never_back
    ratios = [row for row in RunFolder(tmp_path / "run").read().records if row["metric"] == "tcp_throughput_ratio"]
    assert len(ratios) == 12 and {row["value"] for row in ratios} == {0.25}
    assert set(first.ran) <= set(second.ran), "each underlay of the first was measured on the second as well"


def test_a_run_that_other_hosts_resume_measures_their_underlay(tmp_path: Path) -> None:
    planned = plan_with_baseline(tmp_path)
    underlays = [trial for trial in planned.trials if trial.mode == "underlay"]
    run = campaign(tmp_path, planned, Pool([Rated("first", 80.0)]))
    run.run(underlays)
    run.folder.close()
    second = Rated("second", 20.0)
    pool: Any = Pool([second])
    pool.require(planned.trials, planned.overlays)
    Campaign(
        folder=RunFolder(tmp_path / "run"),
        run="r",
        overlays=planned.overlays,
        host=pool,
        facts=pool.describe(),
        progress=Heard(),
        underlays=underlays,
    ).run([trial for trial in planned.trials if trial.mode != "underlay"])
    records = RunFolder(tmp_path / "run").read().records
    ratios = [line for line in records if line["metric"] == "tcp_throughput_ratio"]
    assert len(ratios) == 12 and {line["value"] for line in ratios} == {0.25}, "80 and 20 were never compared"
    assert sorted(name for name in second.ran if name.startswith("underlay")) == sorted(one.id for one in underlays)
    ends = [line["trial"] for line in records if line["probe"] == "trial"]
    assert len(ends) == len(set(ends)) == len(planned.trials), "what was measured again is no second record"
    below = next(line for line in records if line["metric"].startswith("underlay_") and line["value"] == 20.0)
    assert f"/again-{pool.describe().id}/" in below["evidence"] and (tmp_path / "run" / below["evidence"]).exists()
