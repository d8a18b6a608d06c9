"""Facts that one file states and all others take from there: a second list is one that will disagree."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

import harness
from harness.link.choose import choose_backend
from harness.model.scenario import Scenario
from harness.model.trial import Trial
from harness.model.words import MODES, LinkBackendName, LinkChoice
from harness.report.order import subject_key

HARNESS = Path(harness.__file__).parent


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('"mesh", "direct"', "model/words.py"),
        ('"netem", "userlink"', "model/words.py"),
        ('"granted"', "trial/messages.py"),
        ('b"granted', "trial/messages.py"),
        ('frozenset({"load_1min"', "hosts/contract.py"),
        ("def utc_now", "results/times.py"),
        ("def _now() -> str", "results/times.py"),
    ],
)
def test_it_stands_in_one_file(text: str, where: str) -> None:
    stated = {file.relative_to(HARNESS).as_posix() for file in HARNESS.rglob("*.py") if text in file.read_text()}
    assert stated <= {where}


def test_scenario_and_trial_offer_the_same_links_and_every_backend_can_be_asked_for() -> None:
    assert Scenario.model_fields["links"].annotation == Trial.model_fields["links"].annotation == LinkChoice
    with pytest.raises(ValueError, match=", ".join(get_args(LinkBackendName))):
        choose_backend("pigeons")


def test_subjects_are_ordered_as_modes_are_and_unknown_modes_come_last() -> None:
    shown = sorted((("x", mode) for mode in reversed((*MODES, "later"))), key=subject_key)
    assert tuple(mode for _, mode in shown) == (*MODES, "later")
