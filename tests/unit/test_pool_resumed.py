"""A run over several hosts that goes on later: blocks stay on their hosts, and what each has seen is known still."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_host import FACTS
from pool_runs import FakeMember, plan
from rich.console import Console

from harness.campaign import run as runs
from harness.campaign.campaign import Campaign
from harness.hosts import pool as pools
from harness.hosts.placement import Placement, condition_of
from harness.hosts.pool import Pool
from harness.model.trial import Trial
from harness.results.store import RunFolder


@pytest.fixture(autouse=True)
def same_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "harness_commit", lambda: FACTS.commit)
    monkeypatch.setattr(pools.platform, "python_version", lambda: None)


def test_a_resumed_run_splits_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned, out = plan(tmp_path), tmp_path / "run"
    whole = Campaign._run

    async def some(run: Campaign, trials: Sequence[Trial]) -> None:
        # Of half the blocks the underlay alone: what is left of them belongs where that ran.
        await whole(run, [one for one in trials if one.mode == "underlay" or random.Random(one.seed).random() < 0.5])

    for act, resume in ((some, False), (whole, True)):
        members = [FakeMember("one", 3), FakeMember("two", 2)]
        monkeypatch.setattr(Campaign, "_run", act)
        monkeypatch.setattr(runs, "_open", lambda *_, members=members: Pool(members))
        runs.run_trials(planned, runs.RunOptions(out, hosts="hosts", resume=resume), Console(quiet=True))
    hosts = defaultdict[int, set[str | None]](set)
    for record in RunFolder(out).read().records:
        hosts[record["seed"]].add(record["host"])
    assert len(RunFolder(out).finished_trials()) == len(planned.trials)
    assert len(hosts) == 24 and {len(names) for names in hosts.values()} == {1}
    assert len({name for names in hosts.values() for name in names}) == 2


def test_what_hosts_have_seen_before_counts(tmp_path: Path) -> None:
    """Of a condition that somebody saw once who is gone, one more host is to see the rest, and a known one the less."""
    trials = [trial for trial in plan(tmp_path, 3).trials if trial.mode == "underlay"]
    condition = condition_of(trials[0])
    one, two, three = [trial for trial in trials if condition_of(trial) == condition]
    placement = Placement({"a": 4, "b": 4})
    placement.resume([(one, "a")])
    assert placement.place(two) == "b", "a has seen it"
    assert placement.place(three) is not None
    busy = Placement({"a": 1, "b": 1})
    busy.resume([(one, "of an earlier part"), (two, "a")])
    elsewhere = next(trial for trial in trials if condition_of(trial) != condition)
    busy.resume([(elsewhere, "b")])
    assert busy.place(elsewhere) == "b"
    assert busy.choose([three]) is three and busy.host_of(three.id) == "a", "two have seen it: none waits for a third"
    again = Placement({"a": 4, "b": 4})
    again.resume([(one, "of an earlier part")])
    assert again.place(one.model_copy(update={"id": "rest"})) in ("a", "b"), "the block's host is no longer here"


def test_a_host_that_was_mended_and_admitted_is_no_longer_told_as_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, out = plan(tmp_path, repeats=1), tmp_path / "run"
    for commit, resume in (("aaa", False), (FACTS.commit, True)):
        members = [FakeMember("one"), FakeMember("two", commit=commit)]
        monkeypatch.setattr(runs, "_open", lambda *_, members=members: Pool(members))
        runs.run_trials(planned, runs.RunOptions(out, hosts="hosts", resume=resume), Console(quiet=True))
        said = RunFolder(out).manifest()["hosts_refused"]
        assert set(said) == ({"two"} if commit == "aaa" else set())
