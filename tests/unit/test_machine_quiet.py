"""Load begins when others leave the processors, or says that they did not: by readings that are made up."""

from __future__ import annotations

import asyncio
import json
from itertools import count, cycle
from pathlib import Path

import pytest

from harness.campaign.busy import busy_of
from harness.hosts.contract import BUSY_FILE
from harness.machine.quiet import (
    IN_ALL_S,
    LOOK_S,
    PATIENCE_S,
    PAUSE_S,
    Allowance,
    By,
    Quietness,
    Wanted,
    allowance_of,
    is_busy,
    read_wanted,
    wait_for_quiet,
    wanted_share,
)
from harness.report.facts import began_busy


def proc(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"stat": "cpu  100 0 100 600 200 0 0 0 0 0\n", **files}.items():
        path = folder / name.replace("_", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


PRESSURE = "some avg10=90.99 avg60=9.0 avg300=8.1 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
SCHEDSTAT = "version 15\ntimestamp 1\ncpu0 0 0 0 0 0 0 9 1000000000 5\ndomain0 3 1\ncpu1 0 0 0 0 0 0 9 500000000 5\n"


def test_the_best_that_a_kernel_tells_is_read(tmp_path: Path) -> None:
    both = proc(tmp_path / "both", pressure_cpu=PRESSURE, schedstat=SCHEDSTAT)
    assert read_wanted(both, lambda: 7.0) == Wanted(7.0, 2.5, "pressure")
    assert read_wanted(proc(tmp_path / "old", schedstat=SCHEDSTAT), lambda: 7.0) == Wanted(7.0, 1.5, "run delay")
    neither = read_wanted(proc(tmp_path / "neither", pressure_cpu="", schedstat="version 15\n"), lambda: 7.0)
    assert neither.by == "use" and neither.waited_s > 0


def test_the_machines_own_can_be_read_by_anybody() -> None:
    before, after = read_wanted(), read_wanted()
    assert before.by == after.by and 0 <= wanted_share(before, after) <= 1


@pytest.mark.parametrize(
    ("waited_s", "by", "share", "busy"),
    [
        (0.0, "pressure", 0.0, False),
        (0.004, "pressure", 0.08, False),
        (0.03, "pressure", 0.6, True),
        (0.2, "run delay", 1.0, True),
        (0.03, "use", 0.6, False),
        (0.048, "use", 0.96, True),
    ],
)
def test_wanted_in_vain_is_busy(waited_s: float, by: By, share: float, busy: bool) -> None:
    found = wanted_share(Wanted(5.0, 1.0, by), Wanted(5.05, 1.0 + waited_s, by))
    assert found == pytest.approx(share) and is_busy(found, by) is busy


def wait(busy_looks: float, allowance: Allowance) -> tuple[Quietness, float, list[str]]:
    """Tell what comes of a machine that is busy for so many looks, and how long it took."""
    clock, waited, said = [0.0], [0.0], list[str]()
    shares = (1.0 if number < busy_looks else 0.0 for number in count())
    ends = cycle([False, True])

    def look() -> Wanted:
        if next(ends):
            waited[0] += LOOK_S * next(shares)
        return Wanted(clock[0], waited[0], "pressure")

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    found = asyncio.run(wait_for_quiet(allowance, look, sleep, said.append))
    return found, clock[0], said


def test_a_quiet_machine_is_looked_at_for_milliseconds() -> None:
    found, took_s, said = wait(0, allowance := Allowance())
    assert found == Quietness(0.0, 0.0, "pressure", is_busy=False)
    assert took_s == LOOK_S and LOOK_S <= 0.05 and not said and allowance.left_s == IN_ALL_S


def test_load_waits_until_others_are_done_and_says_for_what() -> None:
    found, _, said = wait(3, Allowance())
    assert not found.is_busy and found.waited_s == pytest.approx(3 * (PAUSE_S + LOOK_S))
    assert said == ["waiting: other processes wait for the processors 100 % of the time"]


def test_a_machine_that_stays_busy_holds_nobody_up_for_long() -> None:
    allowance = Allowance()
    found, took_s, _ = wait(float("inf"), allowance)
    assert found.is_busy and found.share == 1 and took_s <= PATIENCE_S + 2 * LOOK_S + PAUSE_S
    more = [wait(float("inf"), allowance) for _ in range(50)]
    assert all(one.is_busy for one, _, _ in more), "they start, and it is told"
    assert took_s + sum(took for _, took, _ in more) <= IN_ALL_S + 51 * LOOK_S
    assert more[-1][1] == pytest.approx(LOOK_S)


def test_a_runs_rounds_have_one_allowance() -> None:
    assert allowance_of("runs/one") is allowance_of("runs/one") is not allowance_of("runs/two")


def test_the_manifest_has_each_trials_busiest_load_and_the_report_warns(tmp_path: Path) -> None:
    looks = {
        "a": [Quietness(0.01, 0.0, "pressure", is_busy=False)],
        "b": [Quietness(0.02, 0.6, "pressure", is_busy=False), Quietness(0.83, 5.1, "pressure", is_busy=True)],
    }
    for name, found in looks.items():
        (tmp_path / "trials" / name).mkdir(parents=True)
        (tmp_path / "trials" / name / BUSY_FILE).write_text(json.dumps([vars(one) for one in found]))
    (tmp_path / "trials" / "killed").mkdir()
    (tmp_path / "trials" / "killed" / BUSY_FILE).write_text("[")
    busy = busy_of(tmp_path)
    assert busy == {
        "a": {"share": 0.01, "waited_s": 0.0, "by": "pressure", "began_busy": False},
        "b": {"share": 0.83, "waited_s": 5.7, "by": "pressure", "began_busy": True},
    }
    said = began_busy({"busy": busy})
    assert said.startswith(
        "1 of 2 trials that load the machine began while other processes were waiting for its processors (up to 83 %"
    )
    assert said.endswith("(b).") and "waited 6 s in all" in said
    assert began_busy({"busy": {"a": busy["a"]}}) == began_busy({}) == ""
