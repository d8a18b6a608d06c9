"""The curves of a population: one a technique, port mapping and IPv6 too, with what studies counted beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.figure import Figure

from harness.errors import ScenarioError
from harness.report.plots.style import SCREEN
from harness.report.population import population_of
from harness.report.population_plots import curves, figure_of_band
from harness.results.loading import load
from harness.scenario.load import POPULATIONS
from harness.simulation.describe import CURVE_POINTS, described
from harness.simulation.load import LoadedPopulation, load_population
from harness.simulation.plan import Plan
from harness.simulation.reweigh import require_same_cells
from harness.simulation.run import prepare, simulate

SAID = {
    "description": "small",
    "access": {
        "mapping": {"share": 0.4, "routers": [{"alias": "port-restricted", "port_mapping": ["pcp", "nat-pmp"]}]},
        "dual": {"share": 0.3, "routers": [{"alias": "symmetric", "ipv6_filtering": "APDF"}], "ipv6": True},
        "symmetric": {"share": 0.3, "routers": ["symmetric"]},
    },
    "matrix": {
        "technique": ["plain", "peer-reflexive"],
        "group": [2, 3],
        "also": [
            {"technique": "peer-reflexive", "port_mapping": True},
            {"technique": "peer-reflexive", "ipv6": True},
        ],
    },
    **{"worlds": 1, "groups": 1, "deadline_s": 3},
}
FIELD = load_population("field", POPULATIONS)


class Silent:
    def advance(self, worlds: int) -> None:
        """Say nothing."""


def written(folder: Path, **changes: Any) -> LoadedPopulation:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SAID | changes, sort_keys=False))
    return load_population(str(path), POPULATIONS)


def test_each_level_has_its_curve_and_its_worlds(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    plan = Plan(loaded.population)
    assert [condition.params["port_mapping"] for condition in plan.conditions] == [False] * 4 + [True] * 2 + [False] * 2
    assert [condition.params["ipv6"] for condition in plan.conditions] == [False] * 6 + [True] * 2
    assert len({world.id for world in plan}) == len(plan) == 4 * (6 + 1)
    # What is compared is the same world in all: only what the overlay may do differs.
    assert len({world.seed for world in plan if world.condition.group == 2}) == 6
    folder, left = prepare(loaded, tmp_path / "out", resume=False)
    simulate(loaded, folder, left, 1, Silent())
    found = population_of(load(tmp_path / "out"))
    assert found is not None
    data = found[1][0].data
    names = ["plain", "peer-reflexive", "peer-reflexive, port mapping", "peer-reflexive, IPv6"]
    assert list(dict.fromkeys(data["technique"])) == names
    at = {name: data[(data["technique"] == name) & (data["eim_share"] == 0.5)] for name in names}
    algebra = {name: float(part["algebra"].iloc[0]) for name, part in at.items()}
    # Of all pairs: EIM both 1/4, EIM and symmetric 1/2, symmetric both 1/4, of which a quarter both have IPv6.
    assert algebra == pytest.approx(dict(zip(names, (0.25, 0.25, 0.75, 0.25 + 0.25 / 4), strict=True)))
    for name, part in at.items():
        assert float(part["engine"].iloc[0]) == pytest.approx(algebra[name]), name


def test_cells_of_a_further_condition_are_asked_for_by_their_place(tmp_path: Path) -> None:
    folder, _ = prepare(written(tmp_path), tmp_path / "out", resume=False)
    also = SAID["matrix"]["also"]  # type: ignore[index]
    require_same_cells(written(tmp_path, matrix={"technique": ["plain"], "also": also[1:]}), folder.path)
    with pytest.raises(ScenarioError, match=r"matrix\.also: technique: plain, port_mapping: True"):
        more = [{"technique": "plain", "port_mapping": True}]
        require_same_cells(written(tmp_path, matrix={"technique": ["plain"], "also": more}), folder.path)


def test_the_published_page_has_a_curve_a_technique_and_the_studies_with_their_conditions() -> None:
    said = json.loads(json.dumps(described(FIELD)))
    plot = curves(said, [])
    assert list(dict.fromkeys(plot.data["technique"])) == [
        *("plain", "peer-reflexive", "port-prediction", "birthday"),
        *("peer-reflexive, port mapping", "peer-reflexive, IPv6"),
    ]
    means = plot.data.groupby("technique")["algebra"].mean()
    for name in ("port mapping", "IPv6"):
        assert means[f"peer-reflexive, {name}"] > means["peer-reflexive"] + 0.02
    studies = {band["name"] for band in said["bands"]}
    assert studies >= {
        *("Ford et al. 2005", "NATCracker 2009", "Halkes, Pouwelse 2010", "Richter et al. 2016"),
        *("Trautwein et al. 2025", "Tailscale 2025"),
    }
    assert all(band["conditions"] and band["source"] for band in said["bands"])


@pytest.mark.parametrize("name", sorted(path.stem for path in POPULATIONS.glob("*.yaml")))
def test_every_point_of_a_curve_is_a_whole_population(name: str) -> None:
    loaded = load_population(name, POPULATIONS)
    said = described(loaded)
    kinds = {access["eim"] for access in said["access"].values() if access["share"]}
    for condition in said["conditions"]:
        points = [point["eim"] for point in condition["curve"]]
        if len(kinds) == 2:
            assert (points[0], points[-1], len(points)) == (0.0, 1.0, CURVE_POINTS)
        else:
            assert points == [float(kinds == {True})], "nothing else can be made up of these types"
        for point in condition["curve"]:
            assert sum(cell[3] for cell in point["cells"]) == pytest.approx(1.0, abs=1e-5)


def test_a_population_of_one_kind_has_a_point_and_says_so() -> None:
    plot = curves(described(load_population("richter-2016", POPULATIONS)), [])
    assert set(plot.data["eim_share"]) == {1.0}
    assert "one point and no curve" in plot.caption
    plot.draw(Figure(figsize=(SCREEN.width_in, plot.height_in)))
    assert "no curve" not in curves(described(FIELD), []).caption


def test_figures_that_count_no_pairs_are_not_drawn_on_the_scale_of_pairs() -> None:
    said = described(FIELD)
    plot = curves(said, [])
    figure = Figure(figsize=(SCREEN.width_in, plot.height_in))
    plot.draw(figure)
    of_pairs, counted = ({text.get_text() for text in axes.texts} for axes in figure.axes)
    assert of_pairs == {"Halkes, Pouwelse 2010", "Trautwein et al. 2025", "Tailscale 2025"}
    assert counted == {
        "Ford et al. 2005: 82 % of NATs, punchable",
        "NATCracker 2009: 52 to 88 % of NATs, punchable",
        "Richter et al. 2016: 38 % of ISPs, with a carrier's NAT",
        "Halkes, Pouwelse 2010: 64 % of peers, punchable",
    }
    bars = {bar.get_hatch() for bar in figure.axes[1].patches}
    assert bars == {None, "////"}, "a share of ISPs is no place on the axis"
    assert "for which the axis is only a percentage scale" in plot.caption


def test_a_study_is_the_same_figure_wherever_it_is_named() -> None:
    bands: dict[tuple[str, str, str], set[str]] = {}
    for path in POPULATIONS.glob("*.yaml"):
        for band in load_population(path.stem, POPULATIONS).population.bands:
            bands.setdefault((band.name, band.of, band.measures), set()).add(band.model_dump_json())
    assert {key: len(said) for key, said in bands.items() if len(said) > 1} == {}
    (richter,) = bands["Richter et al. 2016", "ISPs", "carrier-nat"]
    assert json.loads(richter)["high_percent"] == 38, "who considers a carrier's NAT has none"


def test_a_folder_of_before_has_figures_of_paths_alone() -> None:
    band = {"name": "x", "low_percent": 60, "high_percent": 80, "of": "pairs", "conditions": "", "source": ""}
    said = described(FIELD) | {"bands": [band, band | {"of": "NATs"}]}
    figure = Figure()
    curves(said, []).draw(figure)
    assert [len(axes.texts) for axes in figure.axes] == [1, 1]
    assert figure_of_band(band | {"of": "NATs"}) == "60 to 80 % of NATs"
