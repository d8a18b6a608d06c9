"""A published simulation is of the bundled population as it is now, whole, and comes out the same for a stranger."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.results.frame import records_frame
from harness.results.loading import load
from harness.scenario.load import POPULATIONS
from harness.simulation.contract import engines
from harness.simulation.describe import described
from harness.simulation.load import load_population
from harness.simulation.plan import Plan
from harness.simulation.records import OfRun, records_of
from harness.simulation.world import run_world

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


def differing(one: Any, other: Any, at: str = "") -> list[str]:
    """Return where two JSON values differ; figures may by what another machine's libm rounds otherwise."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return [f"{at}: {sorted(one.keys() ^ other.keys())}"]
        return [found for key in one for found in differing(one[key], other[key], f"{at}/{key}")]
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return [f"{at}: {len(one)} and {len(other)}"]
        return [
            found
            for number, two in enumerate(zip(one, other, strict=True))
            for found in differing(*two, f"{at}/{number}")
        ]
    if isinstance(one, float) and isinstance(other, float):
        return [] if one == pytest.approx(other, rel=1e-9, abs=1e-9) else [f"{at}: {one} and {other}"]
    return [] if one == other else [f"{at}: {one} and {other}"]


def test_a_difference_in_any_place_is_found() -> None:
    one: dict[str, Any] = {"a": [{"b": 0.5, "c": "x"}], "d": 1}
    assert differing(one, json.loads(json.dumps(one))) == []
    for other in ({"a": [{"b": 0.51, "c": "x"}], "d": 1}, {"a": [], "d": 1}, {"a": one["a"]}, one | {"d": 2}):
        assert len(differing(one, other)) == 1


OF_THE_ALGEBRA = ("deadline_s", "access", "conditions", "bands")
# The lab's columns of a product's row are no expectations.
OF_A_PRODUCT = ("overlay", "technique", "asks_by", "ipv6", "pairs")


def algebra_of(said: dict[str, Any]) -> dict[str, Any]:
    products = [{key: row[key] for key in OF_A_PRODUCT} for row in said["declared"]]
    return {key: said[key] for key in OF_THE_ALGEBRA} | {"declared": products}


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_algebra_expects_what_is_published(name: str) -> None:
    """Of shares, cells, groups, curves and products; `make population` renews them."""
    published = json.loads((ROOT / "results" / name / "population.json").read_bytes())
    loaded = load_population(MANIFESTS[name]["scenario"], POPULATIONS)
    now = json.loads(json.dumps(described(loaded, published["emulated"])))
    assert differing(algebra_of(published), algebra_of(now))[:5] == []


WORLDS = 20
# What says by which program a world was run.
OF_THE_RUN = ["run", "overlay_version"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_worlds_that_are_run_again_come_out_as_published(name: str) -> None:
    """A stranger who runs some of its worlds must get their records, to the microsecond; `make population` renews them.

    They are spread over the plan, so over techniques, cells and groups.
    """
    said = MANIFESTS[name]
    loaded = load_population(said["scenario"], POPULATIONS)
    plan, engine = Plan(loaded.population), engines()[loaded.population.engine]
    assert len(plan) == said["worlds"]
    worlds = [plan.world(len(plan) * (2 * number + 1) // (2 * WORLDS)) for number in range(WORLDS)]
    records = load(ROOT / "results" / name).records
    published = records[records["trial"].isin([world.id for world in worlds])]
    assert published["trial"].nunique() == WORLDS
    run = OfRun("", loaded.name, loaded.population, None)
    again = records_frame(
        [record.as_dict() for world in worlds for record in records_of(run, world, run_world(plan.spec(world), engine))]
    )
    different = {str(world.id) for world in worlds if rows_of(published, world.id) != rows_of(again, world.id)}
    assert different == set()


def rows_of(records: pd.DataFrame, trial: str) -> list[dict[str, Any]]:
    rows = records[records["trial"] == trial].drop(columns=OF_THE_RUN).astype(object)
    return rows.where(rows.notna(), None).to_dict(orient="records")
