"""Repeats in rounds: cells whose interval is narrow enough already are left out of the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.campaign.campaign import Tally
from harness.model.scenario import Until
from harness.model.trial import Trial
from harness.results.cells import cell_key
from harness.results.stopping import Stopping, StopRule

Records = Sequence[Mapping[str, Any]]


def run_in_rounds(
    planned: Sequence[Trial],
    left: Sequence[Trial],
    until: Until,
    *,
    read: Callable[[], Records],
    run: Callable[[Sequence[Trial]], Tally],
) -> tuple[Tally, list[dict[str, Any]]]:
    """Run the trials that are left; return what came of them, and how far each cell got and why it stopped.

    The first `until.at_least` repeats are one round, every later repeat is one of its own. `read` gives all records so
    far (those of a resumed run included), `run` runs some trials.
    """
    stopping = Stopping(StopRule(until.metric, until.half_width, until.at_least))
    stopping.update(read())
    tally = Tally()
    rounds: dict[int, list[Trial]] = {}
    for trial in left:
        rounds.setdefault(max(trial.repeat, until.at_least), []).append(trial)
    for number in sorted(rounds):
        part = [trial for trial in rounds[number] if not stopping.enough(cell_key(trial.cell))]
        if not part:
            continue
        one = run(part)
        tally.add(one)
        stopping.update(read())
        if one.interrupted:
            tally.interrupted = one.interrupted
            break
    return tally, stopping.reached(cell_key(trial.cell) for trial in planned)
