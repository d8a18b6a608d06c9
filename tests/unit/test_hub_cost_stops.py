"""What a server's death did to a computation: stopped, degraded or neither, by one rule, and of how many trials."""

from __future__ import annotations

import pytest
from test_hub_cost import HUB, Runs, outage

from harness.report.hubcost_words import single_point
from harness.results.outages import outages


@pytest.mark.parametrize(
    ("share", "coasted_s", "judgement"),
    [
        (0.02, 0.1, "stopped"),
        (0.4, 3.0, "stopped"),
        (0.4, None, "degraded"),
        (0.7, 3.0, "degraded"),
        (0.7, None, "degraded"),
        (0.95, 3.0, "went on"),
    ],
)
def test_fewer_rounds_are_a_stop_only_where_a_round_stalled(
    share: float, coasted_s: float | None, judgement: str
) -> None:
    """A path of a third of the rate is degraded: rounds go on, more slowly."""
    runs = Runs()
    for repeat in range(6):
        runs.trial(HUB, 3, 25, repeat, availability=share, coasted_s=coasted_s)
    (found,) = outages(runs.frame)
    assert found.judgement == judgement


def test_trials_that_differ_decide_nothing_and_few_are_said_to_be_few() -> None:
    runs = Runs()
    for repeat in range(6):
        runs.trial(HUB, 3, 25, repeat, availability=0.02 if repeat % 2 else 0.95, coasted_s=0.1 if repeat % 2 else None)
    (found,) = outages(runs.frame)
    assert found.judgement == "undecided" and "For refmesh hub the trials do not decide it." in single_point([found])[0]
    assert not any("rests on" in sentence for sentence in single_point([found]))
    assert "This rests on 3 trials of each overlay; a 95 % interval takes 6." in " ".join(
        single_point(outages(outage(HUB, 0.02).frame))
    )


def test_a_server_that_stays_away_is_not_said_to_be_back() -> None:
    runs = Runs()
    for repeat in range(3):
        runs.trial(HUB, 3, 25, repeat, availability=0.02, coasted_s=0.1, rounds_recovery_s=None)
    said = " ".join(single_point(outages(runs.frame)))
    assert "In the trials of refmesh hub the server did not come back before the traffic ended." in said
    assert "Time from the server's return" not in said
