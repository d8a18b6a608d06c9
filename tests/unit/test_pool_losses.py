"""What several trials notice of one lost host, sooner or later: it is opened again once, and by one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fake_host import FACTS
from pool_runs import FakeMember, campaign, plan

from harness.hosts import pool as pools
from harness.hosts.contract import OnStep
from harness.hosts.pool import Pool
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import Facts, Plan, Question
from harness.model.trial import Trial
from harness.overlay.contract import Deployment
from harness.trial.messages import Done, Job


@pytest.fixture(autouse=True)
def same_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "harness_commit", lambda: FACTS.commit)
    monkeypatch.setattr(pools.platform, "python_version", lambda: None)


class Slow(FakeMember):
    """Takes a while to be opened, and counts how many do it at a time."""

    opening = most_opening = 0

    async def open(self) -> None:
        self.opening += 1
        self.most_opening = max(self.most_opening, self.opening)
        await asyncio.sleep(0.02)
        await super().open()
        self.opening -= 1


class Late(FakeMember):
    """Tells of one of the trials that it lost only when it is asked to."""

    def __init__(self, name: str, slots: int) -> None:
        super().__init__(name, slots)
        self.late, self.tell = "", asyncio.Event()

    async def run(self, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        try:
            return await super().run(trial, on_step)
        except HostLost:
            if trial == self.late:
                self.late = ""
                await self.tell.wait()
            raise


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


def with_two(
    folder: Path, member: FakeMember, use: Callable[[Pool, Callable[[Trial], Any], Trial, Trial], Awaitable[None]]
) -> None:
    """Use a pool of one host, and two trials that have their places on it."""
    planned = plan(folder, repeats=1)
    pool = Pool([member])
    pool.require(planned.trials, planned.overlays)

    async def go() -> None:
        waiting = list(planned.trials)
        one = pool.choose(waiting)
        two = pool.choose([trial for trial in waiting if trial is not one])
        assert one is not None and two is not None

        def begin(trial: Trial) -> asyncio.Task[Done]:
            target = folder / trial.id
            target.mkdir()
            return asyncio.create_task(pool.run(Job(trial=trial, deployment=Deployment()), target, lambda _: None))

        try:
            await use(pool, begin, one, two)
        finally:
            await pool.close()

    asyncio.run(go())


def test_a_trial_whose_host_is_lost_before_it_begins_does_not_open_it_beside_another(tmp_path: Path) -> None:
    member = Slow("one", 2)

    async def use(pool: Pool, begin: Callable[[Trial], Any], one: Trial, two: Trial) -> None:
        first = begin(one)
        await until(lambda: member.live)
        member.kill()
        await until(lambda: not pool._placement.up)
        assert [done.outcome for done in await asyncio.gather(first, begin(two))] == ["ok", "ok"]

    with_two(tmp_path, member, use)
    assert member.most_opening == 1 and sorted(member.ran) == sorted(set(member.ran))


def test_late_news_of_a_loss_does_not_take_down_a_host_that_is_back(tmp_path: Path) -> None:
    member = Late("one", 2)

    async def use(pool: Pool, begin: Callable[[Trial], Any], one: Trial, two: Trial) -> None:
        member.late = two.id
        first, second = begin(one), begin(two)
        await until(lambda: len(member.live) == 2)
        member.kill()
        assert (await first).outcome == "ok", "run again on the host, which is back"
        opened = member.opened
        member.tell.set()
        assert (await second).outcome == "ok"
        assert member.opened == opened and len(pool.account()["hosts_lost"]) == 2

    with_two(tmp_path, member, use)


def test_a_fault_of_the_program_while_a_host_comes_back_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, member, ask = plan(tmp_path, repeats=1), FakeMember("one", 1), FakeMember.ask

    async def fails(one: FakeMember, question: Question) -> dict[str, Any]:
        if isinstance(question, Plan) and one.ran:
            raise ZeroDivisionError("of ours")
        return await ask(one, question)

    step = FakeMember.run

    async def die_once(one: FakeMember, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        if len(one.ran) == 2:
            one.kill()
        return await step(one, trial, on_step)

    monkeypatch.setattr(FakeMember, "ask", fails)
    monkeypatch.setattr(FakeMember, "run", die_once)
    run = campaign(tmp_path, planned, Pool([member]))
    with pytest.raises(ZeroDivisionError, match="of ours"):
        asyncio.run(asyncio.wait_for(run._run(planned.trials), 20))


def test_a_host_that_tells_what_no_host_of_this_program_tells_is_refused_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, ask = plan(tmp_path, repeats=1), FakeMember.ask

    async def newer(one: FakeMember, question: Question) -> dict[str, Any]:
        said = await ask(one, question)
        return (
            {**said, "commit": "fff", "weather": "fine"}
            if isinstance(question, Facts) and one.name == "newer"
            else said
        )

    monkeypatch.setattr(FakeMember, "ask", newer)
    pool = Pool([FakeMember("newer"), FakeMember("good")])
    campaign(tmp_path, planned, pool)
    said = "its facts are of another program: overlaybench there is at commit fff, here at abc"
    assert pool.account()["hosts_refused"] == {"newer": said}
