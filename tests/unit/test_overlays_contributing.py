"""The worked example in CONTRIBUTING.md is an adapter that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.overlay.contract import EndpointKind, Overlay
from harness.overlay.support import kinds_of
from harness.scenario.load import load_topology

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def examples() -> dict[str, Overlay]:
    """Every adapter on the page, by name."""
    found: dict[str, Overlay] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if "def render(" not in code:  # a probe's
            continue
        scope: dict[str, Any] = {"__name__": "contributing"}
        exec(compile(code, str(PAGE), "exec"), scope)  # noqa: S102  # our own page
        (adapter,) = (one for one in scope.values() if isinstance(one, type) and one.__module__ == "contributing")
        found[adapter.name] = adapter()
    return found


# What each renders for four members: services, and endpoints of its kind.
EXPECTED = {"socat": (8, 4), "socat-tls": (36, 12), "http-store": (1, 12)}


def test_there_is_a_worked_example_of_every_kind() -> None:
    kinds = [kinds_of(overlay) for overlay in examples().values()]
    assert kinds == [{kind} for kind in get_args(EndpointKind)]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_worked_example_offers_the_contract_and_renders(name: str) -> None:
    overlay = examples()[name]
    assert isinstance(overlay, Overlay)
    source = load_topology("parties")
    trial = Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay=name,
        mode="hub",
        topology=source.resolve(source.complete({"n": 4})),
        probes=Probes.model_validate({"path": {}}),
    )
    deployment = overlay.render(trial)
    ends = (*deployment.endpoints, *deployment.streams, *deployment.contents)
    assert (len(deployment.services), len(ends)) == EXPECTED[name]
    assert deployment.kinds == kinds_of(overlay)
    assert deployment.members == {"p1", "p2", "p3", "p4"}


def test_the_files_and_commands_that_it_names_exist() -> None:
    text = PAGE.read_text()
    root = PAGE.parent
    for path in re.findall(r"`((?:harness|tests|overlays)/[\w/]+\.py)`", text):
        assert (root / path).is_file(), path
