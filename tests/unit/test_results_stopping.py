"""Repeating until an interval is narrow: what counts as narrow, and that narrow cells are left out of later rounds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from result_samples import Maker

from harness.campaign.campaign import Tally
from harness.campaign.outcomes import Context
from harness.campaign.outcomes import records_of as records_of_trial
from harness.campaign.rounds import run_in_rounds
from harness.errors import ScenarioError
from harness.model.scenario import Until
from harness.model.trial import Trial
from harness.overlay.registry import load_overlay
from harness.results.cells import cell_key
from harness.results.stopping import Stopping, StopRule
from harness.scenario.planned import plan_trials
from harness.trial.messages import Done

SCENARIO = """\
description: two overlays, one of them noisy
topology: two-sites
matrix: {nat_b: [full-cone, symmetric]}
overlays: {underlay: }
probes: {latency: {}}
repeats: 12
until: {metric: METRIC, half_width: 0.05}
"""


def records_of(values: Sequence[float | None], metric: str = "rtt_p50_ms") -> list[dict[str, Any]]:
    maker = Maker()
    pair: dict[str, Any] = {"src": "a", "dst": "b", "params": {"nat_a": "full-cone", "deadline_s": 15}}
    return [maker.one("x", metric, "ms", value, trial=f"t{i}", **pair).as_dict() for i, value in enumerate(values)]


def stopping_of(
    rule: StopRule, values: Sequence[float | None], metric: str = "rtt_p50_ms"
) -> tuple[bool, dict[str, Any]]:
    stopping = Stopping(rule)
    records = records_of(values, metric)
    stopping.update(records)
    key = cell_key(records[0])
    return stopping.enough(key), stopping.reached([key])[0]


def test_a_narrow_interval_is_enough_and_a_wide_one_is_not() -> None:
    rule = StopRule("rtt_p50_ms", 0.05, 6)
    enough, reached = stopping_of(rule, [40.0, 40.1, 40.2, 40.0, 39.9, 40.1])
    assert enough
    assert (reached["n"], reached["reason"]) == (6, "narrow enough")
    assert reached["half_width"] < 0.01
    assert not stopping_of(rule, [40.0, 80.0, 20.0, 60.0, 30.0, 90.0])[0]


def test_few_runs_are_never_enough_however_alike() -> None:
    assert not stopping_of(StopRule("rtt_p50_ms", 0.5, 2), [40.0] * 5)[0]
    assert not stopping_of(StopRule("rtt_p50_ms", 0.5, 10), [40.0] * 9)[0]


def test_success_rates_are_judged_by_the_absolute_wilson_width() -> None:
    # 10 of 10: [0.72, 1], half of it is 0.139.
    assert stopping_of(StopRule("connect_success", 0.14, 6), [1.0] * 10, "connect_success")[0]
    assert not stopping_of(StopRule("connect_success", 0.13, 6), [1.0] * 10, "connect_success")[0]


def paths_of(direct: Sequence[float], relayed: Sequence[float]) -> list[dict[str, Any]]:
    """Return trials of one cell, direct ones and relayed ones."""
    maker, rows = Maker(), []
    for number, value in enumerate((*direct, *relayed)):
        path = "direct" if number < len(direct) else "relayed"
        same: dict[str, Any] = {"trial": f"t{number}", "repeat": number, "src": "a", "dst": "b"}
        rows.append(maker.one("path", "connect_success", "1", 1.0, path=path, **same).as_dict())
        rows.append(maker.one("latency", "rtt_p50_ms", "ms", value, **same).as_dict())
    return rows


def test_each_path_must_be_narrow_by_itself() -> None:
    """Twenty direct trials made the interval of both narrow, which no table has; the relayed ones are all over."""
    direct = [3.0 + number / 1000 for number in range(20)]
    for relayed, enough in (([20.0, 60, 30, 50, 40, 70], False), ([40.0, 40.1, 40.2, 40.1], False), ([40.0] * 6, True)):
        records = paths_of(direct, relayed)
        stopping = Stopping(StopRule("rtt_p50_ms", 0.05, 6))
        stopping.update(records)
        key = cell_key(records[0])
        assert stopping.enough(key) == enough
        (reached,) = stopping.reached([key])
        assert reached["n"] == len(direct) + len(relayed)
    assert not Stopping(StopRule("rtt_p50_ms", 0.05, 6)).enough(key)


def test_a_time_that_never_comes_goes_on_to_the_cap() -> None:
    enough, reached = stopping_of(StopRule("time_to_direct_s", 0.5, 6), [None] * 8, "time_to_direct_s")
    assert not enough
    assert (reached["n"], reached["half_width"], reached["reason"]) == (8, None, "cap")


def test_narrow_cells_are_left_out_of_later_rounds(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO.replace("METRIC", "rtt_p50_ms"))
    trials = plan_trials(str(path)).trials
    assert len(trials) == 24
    records: list[dict[str, Any]] = []
    rounds: list[set[int]] = []

    def run(part: Sequence[Trial]) -> Tally:
        rounds.append({trial.repeat for trial in part})
        for trial in part:
            noisy = trial.nat_b == "symmetric"
            fields: dict[str, Any] = trial.model_dump(include={"overlay", "mode", "nat_a", "nat_b", "link", "params"})
            value = 40.0 + (trial.repeat % 4 * 20 if noisy else trial.repeat / 100)
            one = Maker().one(
                "latency", "rtt_p50_ms", "ms", value, **fields, topology=trial.topology.name, trial=trial.id
            )
            records.append(one.as_dict())
        return Tally(outcomes={"ok": len(part)})

    until = Until(metric="rtt_p50_ms", half_width=0.05)
    tally, reached = run_in_rounds(trials, trials, until, read=lambda: records, run=run)
    assert rounds[0] == {1, 2, 3, 4, 5, 6}
    assert tally.outcomes == {"ok": 6 + 12}
    assert sorted((cell["n"], cell["reason"]) for cell in reached) == [(6, "narrow enough"), (12, "cap")]
    # A resumed run has nothing left to do.
    left = [trial for trial in trials if trial.id not in {record["trial"] for record in records}]
    assert len(left) == 6
    before = len(rounds)
    run_in_rounds(trials, left, until, read=lambda: records, run=run)
    assert len(rounds) == before


@pytest.mark.parametrize("probe", ["latency", "path", "availability", "continuity", "rounds", "mpyc"])
def test_trial_and_record_agree_on_the_cell_whatever_the_probe(tmp_path: Path, probe: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO.replace("METRIC", "connect_success").replace("{latency: {}}", PROBES[probe]))
    trial = plan_trials(str(path)).trials[0]
    context = Context("run", "cafe0123", load_overlay("underlay"), None, "2026-11-23T12:00:00Z")
    records = [one.as_dict() for one in records_of_trial(trial, Done(outcome="failed"), 9.0, context)]
    assert {cell_key(record) for record in records} == {cell_key(trial.cell)}


PROBES = {
    "latency": "{path: {}, latency: {}}",
    "path": "{path: {deadline_s: 7}}",
    "availability": "{path: {}, availability: {duration_s: 20}}\ntimeline: [{at_s: 5, do: kill, to: a, for_s: 3}]",
    "continuity": "{path: {}, continuity: {duration_s: 20}}",
    "rounds": "{path: {}, rounds: {rounds: {chatty: 3}}}",
    "mpyc": "{path: {}, mpyc: {size: {dense: 10}}}",
}


def test_an_unknown_metric_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO.replace("METRIC", "rtt_p51_ms"))
    with pytest.raises(ScenarioError, match=r"s.yaml:7: until.metric: .*did you mean rtt_p"):
        plan_trials(str(path))
