"""The local host with workers that only talk: turns, silence, death. No process is started."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from harness.hosts import local
from harness.hosts.contract import BUSY_FILE
from harness.hosts.local import LocalHost
from harness.machine.quiet import Wanted
from harness.scenario.planned import plan_trials
from harness.trial.messages import Done, Job, Step, Turn, WantTurn

SCENARIO = """\
description: x
topology: two-sites
matrix: {nat_a: [full-cone, symmetric, port-restricted]}
overlays: {underlay: }
probes: {path: {deadline_s: 1}}
"""


class FakeWorker:
    """Says its lines; a line that asks for a turn is followed by the next one when the turn is granted."""

    def __init__(self, said: list[bytes], log: Path, name: str, events: list[str]) -> None:
        self._said, self._name, self._events = said, name, events
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        log.write_text("last words\n")

    async def line(self) -> bytes:
        await self._may_go_on.wait()
        if not self._said:
            await asyncio.Event().wait()
        line = self._said.pop(0)
        if b'"want"' in line:
            self._may_go_on.clear()
        if not line:
            self.ended.set_result(7)
        return line

    def grant(self) -> None:
        self._events.append(f"granted {self._name}")
        self._may_go_on.set()

    async def end(self) -> None:
        self._events.append(f"ended {self._name}")


def line(message: WantTurn | Step | Done) -> bytes:
    return message.model_dump_json().encode() + b"\n"


def run_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[], list[bytes]],
    jobs: int = 3,
    look: Callable[[], Wanted] = lambda: Wanted(0.0, 0.0, "pressure"),
) -> tuple[list[Done], list[str]]:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    planned = plan_trials(str(tmp_path / "mine.yaml"))
    events: list[str] = []

    async def main() -> list[Done]:
        host = LocalHost(label=str(tmp_path), jobs=jobs, overlays=planned.overlays, look=look)

        async def start(name: str, folder: Path) -> FakeWorker:
            events.append(f"started {name}")
            return FakeWorker(said(), folder / "worker.log", name, events)

        monkeypatch.setattr(host._workers, "start", start)

        def one(number: int) -> Awaitable[Done]:
            trial = planned.trials[number]
            folder = tmp_path / trial.id
            folder.mkdir()
            job = Job(trial=trial, deployment=planned.overlays[trial.overlay].render(trial))
            return host.run(job, folder, lambda text: events.append(f"{text} {trial.id}"))

        return list(await asyncio.gather(*(one(number) for number in range(3))))

    return asyncio.run(main()), events


def test_load_runs_alone_and_in_the_order_of_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> list[bytes]:
        return [line(WantTurn(turn="exclusive")), line(Step(text="loading")), line(Done(outcome="ok"))]

    done, events = run_all(tmp_path, monkeypatch, said)
    assert [one.outcome for one in done] == ["ok", "ok", "ok"]
    loading = [event.split()[1] for event in events if event.startswith("granted")]
    for name in loading:  # between a grant and the end of the same trial nobody else is granted anything
        between = events[events.index(f"granted {name}") : events.index(f"ended {name}")]
        assert [event for event in between if event.startswith("granted")] == [f"granted {name}"]


def test_each_load_is_preceded_by_a_look_at_what_others_want_and_no_other_turn_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Wanted] = []

    def look() -> Wanted:
        looks.append(Wanted(float(len(looks)), 0.02 * len(looks), "pressure"))
        return looks[-1]

    def said() -> list[bytes]:
        turns: list[Turn] = ["shared", "exclusive", "waiting", "exclusive"]
        return [*(line(WantTurn(turn=turn)) for turn in turns), line(Done(outcome="ok"))]

    run_all(tmp_path, monkeypatch, said, look=look)
    kept = [json.loads(path.read_text()) for path in tmp_path.glob(f"*/{BUSY_FILE}")]
    one = {"share": 0.02, "waited_s": 0.0, "by": "pressure", "is_busy": False}
    assert kept == [[one, one]] * 3
    assert len(looks) == 2 * 2 * 3


@pytest.mark.parametrize("turn", ["waiting", "shared"])
def test_turns_of_one_kind_run_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: Turn) -> None:
    _, events = run_all(tmp_path, monkeypatch, lambda: [line(WantTurn(turn=turn)), line(Done(outcome="ok"))])
    granted = [number for number, event in enumerate(events) if event.startswith("granted")]
    ended = [number for number, event in enumerate(events) if event.startswith("ended")]
    assert len(granted) == len(ended) == 3
    assert max(granted) < max(ended)


def test_no_more_trials_are_live_than_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, events = run_all(tmp_path, monkeypatch, lambda: [line(Done(outcome="ok"))], jobs=1)
    names = [event.split() for event in events if event.split()[0] in ("started", "ended")]
    assert [word for word, _ in names] == ["started", "ended"] * 3
    assert all(names[i][1] == names[i + 1][1] for i in range(0, 6, 2))


def test_a_worker_that_dies_is_an_error_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, events = run_all(tmp_path, monkeypatch, lambda: [line(Step(text="building")), b""])
    assert {(one.outcome, one.error) for one in done} == {("error", "the worker ended with status 7: last words")}
    assert sum(event.startswith("ended") for event in events) == 3


def test_a_worker_that_falls_silent_is_an_error_and_frees_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "PATIENCE_S", 0.0)
    monkeypatch.setattr(local, "longest_silence_s", lambda _trial: 0.01)
    done, events = run_all(tmp_path, monkeypatch, list, jobs=1)
    assert [one.outcome for one in done] == ["error"] * 3
    assert "fell silent" in str(done[0].error)
    assert sum(event.startswith("ended") for event in events) == 3
