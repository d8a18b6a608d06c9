"""A published simulation is of the bundled population as it is now, whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("--worlds", "--groups", "--seed")
MANIFESTS = {
    path.parent.name: said
    for path in sorted(ROOT.glob("results/*/manifest.json"))
    if (said := json.loads(path.read_bytes())).get("engine") == "simulated"
}


def test_there_is_one() -> None:
    assert "population" in MANIFESTS


@pytest.mark.parametrize("said", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_what_is_published_is_of_the_bundled_file_as_it_is(said: dict[str, Any]) -> None:
    """Else its page shows other shares, types or figures than the file beside it; `make population` renews it."""
    digest = hashlib.sha256((ROOT / said["scenario_file"]).read_bytes()).hexdigest()
    assert digest == said["scenario_sha256"], said["scenario_file"]
    assert digest == hashlib.sha256(said["scenario_text"].encode()).hexdigest()


@pytest.mark.parametrize("said", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_what_is_published_is_no_part_of_it(said: dict[str, Any]) -> None:
    assert [word for word in said["command"] if word.split("=")[0] in PARTS] == []
