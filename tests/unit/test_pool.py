"""Many hosts as one: blocks, admission, losses; 200 random kills over 306 trials. The hosts are no processes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_host import FACTS, Heard
from pool_runs import FakeMember, campaign, lasting, plan
from rich.console import Console

from harness.campaign import run as runs
from harness.campaign.campaign import Campaign
from harness.errors import StorageError
from harness.hosts import pool as pools
from harness.hosts.contract import OnStep
from harness.hosts.placement import Placement
from harness.hosts.pool import Pool
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import Measured, Plan, Question
from harness.model.trial import Trial
from harness.results.store import RunFolder
from harness.trial.messages import Done


@pytest.fixture(autouse=True)
def same_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "harness_commit", lambda: FACTS.commit)
    monkeypatch.setattr(pools.platform, "python_version", lambda: None)


def test_a_block_stays_on_one_host_and_a_condition_sees_all(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    members = [FakeMember("one", 4), FakeMember("two", 2)]
    heard = Heard()
    tally = campaign(tmp_path, planned, Pool(members), heard).run(planned.trials)
    assert tally.outcomes == {"ok": len(planned.trials)} and [member.most for member in members] == [4, 2]
    hosts_of_block, hosts_of_condition = defaultdict(set), defaultdict(set)
    for row in RunFolder(tmp_path / "run").read().records:
        hosts_of_block[row["seed"]].add(row["host"])
        hosts_of_condition[row["nat_a"], row["nat_b"]].add(row["host"])
    assert {len(hosts) for hosts in hosts_of_block.values()} == {1}
    assert {len(hosts) for hosts in hosts_of_condition.values()} == {2}
    assert any(said.startswith("two: starting ") for said in heard.said), "progress says where"
    assert (tmp_path / "run" / "trials" / planned.trials[0].id / "seed.log").exists()


def test_placement_keeps_a_block_while_its_host_is_up_and_moves_it_when_not(tmp_path: Path) -> None:
    trials = plan(tmp_path).trials
    block = [trial for trial in trials if trial.seed == trials[0].seed]
    placement = Placement({"one": 1, "two": 1})
    first = placement.place(block[0])
    assert first is not None and placement.place(block[1]) is None, "its host is full, and the other is not its own"
    placement.leave(block[0].id)
    placement.down(first)
    other = placement.place(block[1])
    assert other not in (None, first)
    placement.back(first)
    placement.leave(block[1].id)
    assert placement.place(block[2]) == other


def test_two_hundred_kills_lose_nothing_and_count_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(pools, "LONGEST_PAUSE_S", 0.0)
    planned = plan(tmp_path, repeats=17)  # 306 trials
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    campaign(quiet, planned, Pool([FakeMember("one")])).run(planned.trials)
    members = [FakeMember(name) for name in ("one", "two", "three")]
    rng, kills = random.Random(19), 0
    pool = Pool(members)
    run = campaign(tmp_path, planned, pool)
    step = FakeMember.run

    async def run_or_die(member: FakeMember, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        nonlocal kills
        if kills < 200 and rng.random() < 0.6:
            kills += 1
            rng.choice(members).kill()
        return await step(member, trial, on_step)

    monkeypatch.setattr(FakeMember, "run", run_or_die)
    tally = run.run(planned.trials)
    assert kills == 200 and tally.outcomes == {"ok": 306}
    assert lasting(tmp_path / "run") == lasting(quiet / "run")
    lost = Counter(one["trial"] for one in pool.account()["hosts_lost"])
    ran = Counter(name for member in members for name in member.ran)
    assert lost and set(ran.values()) == {1}, "what had ended was not run again"
    assert not any(member.is_open for member in members)


def test_a_trial_that_always_ends_its_host_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "LONGEST_PAUSE_S", 0.0)
    planned = plan(tmp_path, repeats=1)
    members, step, bad = [FakeMember("one"), FakeMember("two")], FakeMember.run, planned.trials[1].id

    async def die_at_one(member: FakeMember, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        if trial == bad:
            member.kill()
        return await step(member, trial, on_step)

    monkeypatch.setattr(FakeMember, "run", die_at_one)
    monkeypatch.setattr(pools, "MOST_LOSSES", 3)
    tally = campaign(tmp_path, planned, Pool(members)).run(planned.trials)
    assert tally.outcomes["error"] >= 1 and sum(tally.outcomes.values()) == len(planned.trials)
    ends = {row["trial"]: row for row in RunFolder(tmp_path / "run").read().records if row["probe"] == "trial"}
    assert "3 times the host that ran it was lost" in ends[bad]["error"]


def test_when_all_hosts_are_gone_for_good_the_run_ends_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLAYBENCH_HOST_SILENCE_S", "0.05")
    monkeypatch.setattr(pools, "LONGEST_PAUSE_S", 0.01)
    planned, member, step = plan(tmp_path, repeats=1), FakeMember("one", 2), FakeMember.run

    async def die_for_good(one: FakeMember, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        if trial == planned.trials[6].id:
            one.kill()
            one.never_back = True
        return await step(one, trial, on_step)

    monkeypatch.setattr(FakeMember, "run", die_for_good)
    run = campaign(tmp_path, planned, Pool([member]))
    with pytest.raises(HostLost, match="all hosts are lost, and none comes back: host one: no route to it") as error:
        run.run(planned.trials)
    assert error.value.exit_code == 3
    finished = run.folder.finished_trials()
    run.folder.close()
    left = [trial for trial in planned.trials if trial.id not in finished]
    assert 0 < len(left) < len(planned.trials)
    monkeypatch.setattr(FakeMember, "run", step)
    other = Pool([FakeMember("other")])
    other.require(planned.trials, planned.overlays)
    resumed = RunFolder(tmp_path / "run")
    Campaign(
        folder=resumed, run="r", overlays=planned.overlays, host=other, facts=other.describe(), progress=Heard()
    ).run(left)
    assert len(lasting(tmp_path / "run")) == 2 * len(planned.trials)


def test_when_all_hosts_are_gone_while_nothing_is_in_flight_the_run_ends_too_and_its_manifest_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLAYBENCH_HOST_SILENCE_S", "0.05")
    monkeypatch.setattr(pools, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(pools, "MOST_LOSSES", 1)  # the trial in flight is given up and ends
    planned, member, step = plan(tmp_path, repeats=1), FakeMember("one", 1), FakeMember.run

    async def die_for_good(one: FakeMember, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        one.kill()
        one.never_back = True
        return await step(one, trial, on_step)

    async def run_for_a_while(run: Campaign, trials: Sequence[Trial]) -> None:
        await asyncio.wait_for(forever(run, trials), 20)

    forever = Campaign._run
    monkeypatch.setattr(Campaign, "_run", run_for_a_while)
    monkeypatch.setattr(FakeMember, "run", die_for_good)
    pool = Pool([member])
    monkeypatch.setattr(runs, "_open", lambda *_: pool)
    with pytest.raises(HostLost, match="all hosts are lost, and none comes back: host one: no route to it"):
        runs.run_trials(planned, runs.RunOptions(tmp_path / "run", hosts="one"), Console(quiet=True))
    assert [one["host"] for one in RunFolder(tmp_path / "run").manifest()["hosts_lost"]] == ["one"]


def test_what_a_full_host_ran_is_run_by_another_and_alone_it_stops_the_run(tmp_path: Path) -> None:
    planned = plan(tmp_path, repeats=1)
    full, other = FakeMember("full"), FakeMember("other")
    full.full = True
    pool = Pool([full, other])
    tally = campaign(tmp_path, planned, pool).run(planned.trials)
    assert tally.outcomes == {"ok": len(planned.trials)}
    assert {one["why"] for one in pool.account()["hosts_lost"]} == {"host full: no space left on device"}
    assert len(full.ran) <= full.slots, "no more than were in flight"
    alone = tmp_path / "alone"
    alone.mkdir()
    with pytest.raises(StorageError, match="host full: no space left on device"):
        campaign(alone, planned, Pool([full])).run(planned.trials)


def test_a_host_that_is_full_once_more_when_it_comes_back_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "LONGEST_PAUSE_S", 0.0)
    planned = plan(tmp_path, repeats=1)
    member, ask, opened = FakeMember("one"), FakeMember.ask, []

    async def full_when_second(one: FakeMember, question: Question) -> dict[str, Any]:
        if isinstance(question, Plan) and one.ran:
            opened.append(one.opened)
            if len(opened) == 1:
                raise StorageError("no space left on device")
        return await ask(one, question)

    monkeypatch.setattr(FakeMember, "ask", full_when_second)

    class Killing(Heard):
        def ended(self, *args: Any) -> None:
            super().ended(*args)
            if not opened:
                member.kill()

    run = campaign(tmp_path, planned, Pool([member]), Killing())
    asyncio.run(asyncio.wait_for(run._run(planned.trials), 30))
    assert run.tally.outcomes == {"ok": len(planned.trials)} and len(opened) == 2


def test_processors_are_told_of_over_all_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with `until` is several campaigns over one pool; each of them opens the hosts anew."""
    planned, ask, stolen = plan(tmp_path, repeats=1), FakeMember.ask, iter([1.5, 2.25])

    async def measured(member: FakeMember, question: Question) -> dict[str, Any]:
        return {"stolen_s": next(stolen)} if isinstance(question, Measured) else await ask(member, question)

    monkeypatch.setattr(FakeMember, "ask", measured)
    pool = Pool([FakeMember("one")])
    with pool.measuring() as found:
        first = campaign(tmp_path, planned, pool)
        first.run(planned.trials[:9])
        Campaign(
            folder=first.folder,
            run="r",
            overlays=planned.overlays,
            host=pool,
            facts=pool.describe(),
            progress=Heard(),
        ).run(planned.trials[9:])
    assert found == {"hosts": {"one": {"stolen_s": 3.75}}}
