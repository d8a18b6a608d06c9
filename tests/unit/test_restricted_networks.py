"""The scenario that asks every overlay in every mode who gets out of a restricted network, and what can be asked."""

from __future__ import annotations

from pathlib import Path

from harness.overlay.registry import load_overlay, overlay_names
from harness.scenario.load import load_scenario
from tests.lab.test_overlay_contract import LARGE_BUILDS

RUN = Path(__file__).parents[1] / "run.sh"


def test_it_has_every_overlay_in_every_mode() -> None:
    asked = {
        name: set(use.modes)
        for name, use in load_scenario("restricted-networks", overlay_names()).scenario.overlays.items()
    }
    assert asked == {name: set(load_overlay(name).modes) for name in overlay_names()}


def test_what_is_built_from_source_is_built_before_the_tests_or_said_to_be_large() -> None:
    """Otherwise its contract test fails on a machine that could build it, where nobody did."""
    lines = [line for line in RUN.read_text().splitlines() if '/overlaybench" install' in line]
    before = {word for line in lines for word in line.split()}
    needed = {name: {one.program for one in load_overlay(name).requirements() if one.build} for name in overlay_names()}
    there = set().union(*(programs for name, programs in needed.items() if name in before))
    assert {name for name, programs in needed.items() if programs - there} == LARGE_BUILDS
