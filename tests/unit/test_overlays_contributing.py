"""The worked example in CONTRIBUTING.md is an adapter that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.overlay.contract import Overlay
from harness.scenario.load import load_topology

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def test_the_worked_example_offers_the_contract_and_renders() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    scope: dict[str, Any] = {}
    exec(compile(code.group(1), str(PAGE), "exec"), scope)  # noqa: S102  # our own page
    overlay = scope["Socat"]()
    assert isinstance(overlay, Overlay)
    source = load_topology("parties")
    trial = Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay="socat",
        mode="hub",
        topology=source.resolve(source.complete({"n": 4})),
        probes=Probes.model_validate({"path": {}}),
    )
    deployment = overlay.render(trial)
    assert list(deployment.endpoints) == ["p1", "p2", "p3", "p4"]
    assert len(deployment.services) == 8


def test_the_files_and_commands_that_it_names_exist() -> None:
    text = PAGE.read_text()
    root = PAGE.parent
    for path in re.findall(r"`((?:harness|tests|overlays)/[\w/]+\.py)`", text):
        assert (root / path).is_file(), path
