"""docs/claim.md says what the published folders say."""

from pathlib import Path

import pytest

from bench.claim_page import filled
from harness.scenario.planned import plan_trials

ROOT = Path(__file__).parents[2]


def test_the_page_is_that_of_the_published_figures() -> None:
    text = (ROOT / "docs" / "claim.md").read_text()
    assert filled(text, ROOT / "results") == text, "python -m bench.claim page"


def test_a_place_for_figures_that_there_are_none_of_is_no_place() -> None:
    with pytest.raises(KeyError):
        filled("<!-- figures: nonsense -->\n<!-- end of figures -->", ROOT / "results")


def test_the_scenarios_are_those_that_the_page_describes() -> None:
    whole = plan_trials("claim").trials
    assert {trial.params["n"] for trial in whole} == set(range(2, 11))
    assert {trial.params["link_s"]["name"] for trial in whole} == {
        f"{ratio}x-{where}" for ratio in (1, 4, 25) for where in ("near", "far")
    }
    assert {trial.mode for trial in whole} == {"underlay", "mesh", "relay", "hub"}
    small = plan_trials("claim-small").trials
    assert {trial.params["link"]["rate_mbit"] for trial in (*whole, *small)} == {20}
    for trial in plan_trials("claim-outage").trials:
        (item,) = trial.timeline
        assert (item.at_s, item.for_s, item.do, item.to) == ((5.0,), (10.0,), "kill", "s")
        assert trial.params["n"] == 3
