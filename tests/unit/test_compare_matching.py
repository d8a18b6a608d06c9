"""Which trials of two runs are compared with one another."""

import numpy as np
import pytest
from compared_runs import run_of

from harness.results.compare import compare
from harness.results.matching import match


def test_another_link_is_compared_and_said() -> None:
    other = run_of(seed=2)
    other["link"] = "slow"
    matching = compare(run_of(seed=1), other).matching
    assert matching.changed == {"link": ("dsl", "slow")}
    assert matching.only_base == []


def test_cells_of_one_run_alone_are_named() -> None:
    base, new = run_of(seed=1), run_of(seed=2)
    new = new[new["overlay"].astype(str) != "nebula"]
    comparison = compare(base, new)
    assert any("nebula" in cell for cell in comparison.matching.only_base)
    assert not any(change.subject.startswith("nebula") for change in comparison.changes)


def test_trials_are_matched_by_cell() -> None:
    base, new = run_of(3, seed=1), run_of(3, seed=2)
    sample = next(s for s in match(base, new, {"rtt_p50_ms"}).samples if s.subject == "openvpn hub")
    assert sample.trials == (18, 18) and len(sample.cells) == 6
    assert "full-cone x symmetric" in {cell.name for cell in sample.cells}
    mine = base[(base["overlay"] == "openvpn") & (base["metric"] == "rtt_p50_ms")]
    assert sorted(np.concatenate([cell.side(new=False) for cell in sample.cells])) == pytest.approx(
        sorted(mine["value"])
    )


def test_seeds_that_only_one_run_has_drop_nothing() -> None:
    new = run_of(3, seed=2)
    new["seed"] = new["seed"] + 1  # two of three are shared
    sample = match(run_of(3, seed=1), new, {"rtt_p50_ms"}).samples[0]
    assert sample.trials == (18, 18)
    fewer = new[new["repeat"] == 0]
    assert match(run_of(3, seed=1), fewer, {"rtt_p50_ms"}).samples[0].trials == (18, 6)


def test_both_directions_of_a_trial_are_one_value() -> None:
    samples = match(run_of(1, seed=1), run_of(1, seed=2), {"tcp_throughput_mbit"}).samples
    assert {cell.values.size for sample in samples for cell in sample.cells} == {2}
