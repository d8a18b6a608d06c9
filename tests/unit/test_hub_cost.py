"""What a hub costs, told from records whose truth is known: also where the claim is refuted."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from page_checks import ask_page
from result_samples import Maker

from harness.model.link import parse_link
from harness.report.html import write_report
from harness.report.hubcost import hub_cost
from harness.report.hubcost_tables import cost_table, crossover_table
from harness.report.hubcost_words import bottleneck, crossover, single_point
from harness.report.markup import to_latex
from harness.results.frame import records_frame
from harness.results.hubcost import Cost, computations, costs, crossovers
from harness.results.loading import Results
from harness.results.outages import outages
from harness.results.record import Record
from harness.results.store import RunFolder

ACCESS = {"name": "20M", "delay_ms": 2, "rate_mbit": 20, "queue_ms": 100}
LINKS = {
    1: {"name": "1x-near", "delay_ms": 2, "rate_mbit": 20, "queue_ms": 100},
    4: {"name": "4x-near", "delay_ms": 2, "rate_mbit": 80, "queue_ms": 100},
    25: {"name": "25x-far", "delay_ms": 40, "rate_mbit": 500, "queue_ms": 100},
}
MESH, HUB = ("refmesh", "mesh"), ("refmesh", "hub")


class Runs:
    """Records of computations, a trial at a time."""

    def __init__(self) -> None:
        self.maker = Maker()
        self.records: list[Record] = []
        self.host = ""

    def trial(self, subject: tuple[str, str], n: int, ratio: int, repeat: int, **figures: float | None) -> None:
        params: dict[str, Any] = {"n": n, "link": ACCESS, "link_s": LINKS[ratio]}
        same: dict[str, Any] = {
            "trial": f"{subject[0]}-{subject[1]}-{n}-{ratio}-{repeat}",
            "overlay": subject[0],
            "mode": subject[1],
            "topology": "parties",
            "params": params,
            "repeat": repeat,
            "seed": 1000 * n + 10 * ratio + repeat,
            "link": f"20M s={LINKS[ratio]['name']}",
        }
        if self.host:
            same["host"] = self.host
        for metric, value in figures.items():
            probe = "rounds" if metric.endswith("completion_s") else "availability"
            self.records.append(self.maker.one(probe, metric, "s", value, **same))
        self.records.append(self.maker.one("trial", "duration_s", "s", 9.0, **same))

    @property
    def frame(self) -> pd.DataFrame:
        return records_frame([record.as_dict() for record in self.records])


def by_the_rates(subjects: tuple[tuple[str, str], ...] = (MESH, HUB), repeats: int = 6) -> Runs:
    """Return a world in which the rates alone decide: a hub takes max(1, n / ratio) times as long, give or take 1 %."""
    runs = Runs()
    for n in (2, 4, 7):
        for ratio in LINKS:
            for repeat in range(repeats):
                for subject in subjects:
                    times = max(1.0, n / ratio) if subject[1] == "hub" else 1.0
                    noise = 1 + 0.01 * ((repeat * 7 + n) % 3 - 1) * (1 if subject[1] == "hub" else -1)
                    runs.trial(subject, n, ratio, repeat, bulk_completion_s=n * times * noise)
    return runs


def test_computations_know_their_parties_and_their_servers_link() -> None:
    rows = computations(by_the_rates(repeats=1).frame)
    assert len(rows) == 18
    assert set(rows["workload"]) == {"bulk"} and set(rows["n"]) == {2, 4, 7}
    assert {(hub.name, hub.ratio, hub.delay_ms) for hub in rows["hub"]} == {
        ("1x-near", 1.0, 2.0),
        ("4x-near", 4.0, 2.0),
        ("25x-far", 25.0, 40.0),
    }


def test_the_crossover_is_found_where_it_was_put() -> None:
    found = crossovers(costs(computations(by_the_rates().frame)))
    assert {one.hub.ratio: (one.expected, one.found) for one in found} == {1: (2, 2), 4: (7, 7), 25: (None, None)}
    _, sentence = crossover(found)
    assert sentence == "bulk: as expected in 3 of 3 decided cases, as far as the n measured can tell."
    assert [row[-1] for row in crossover_table(found).rows] == ["yes"] * 3


def test_one_repeat_finds_no_crossover_and_no_absence_of_one() -> None:
    assert crossovers(costs(computations(by_the_rates(repeats=1).frame))) == []


def test_a_crossover_elsewhere_is_said() -> None:
    runs = by_the_rates()
    for record in list(runs.records):
        if record.mode == "hub" and record.params["link_s"]["name"] == "4x-near" and record.metric.startswith("bulk"):
            runs.records[runs.records.index(record)] = Record(**{**record.as_dict(), "value": 40.0})
    _, sentence = crossover(crossovers(costs(computations(runs.frame))))
    assert "in 2 of 3 decided cases" in sentence
    assert (
        "but refmesh hub with server's link 4x-near was clearly slower from n = 2 on (expected: from n = 7 on)"
        in sentence
    )


def judged(hub_s: list[float | None], mesh_s: list[float | None]) -> tuple[Cost, list[str]]:
    """One cell in which hub and mesh took so long."""
    runs = Runs()
    for subject, times in ((HUB, hub_s), (MESH, mesh_s)):
        for repeat, value in enumerate(times):
            runs.trial(subject, 4, 4, repeat, bulk_completion_s=value)
    found = costs(computations(runs.frame))
    return found[0], bottleneck(found)


def test_an_interval_that_holds_one_refutes_the_claim() -> None:
    cost, sentences = judged([1.0, 1.1, 0.9, 1.0, 1.05, 0.95], [1.0] * 6)
    assert cost.judgement == "as fast"
    assert "in 0 of 1 comparisons with a mesh. In 1 the claim is refuted: the server cost at most 10 %." in sentences[0]
    assert "95 %" not in sentences[0], "six repeats have an interval"
    assert "which refutes the claim, for refmesh hub with 4 parties and server's link 4x-near" in sentences[1]
    assert cost_table([cost]).rows[0][-1] == "not slower: refuted"


def test_a_hub_that_wins_is_said_to_win() -> None:
    cost, sentences = judged([0.5] * 6, [1.0] * 6)
    assert cost.judgement == "faster"
    assert "in 1 of them it was faster than the mesh" in sentences[0]


def test_a_slower_hub_confirms_it() -> None:
    cost, sentences = judged([3.0, 3.1, 2.9] * 2, [1.0] * 6)
    assert cost.judgement == "slower" and cost.ratio.value == pytest.approx(3.0)
    assert "in 1 of 1 comparisons" in sentences[0] and "refuted" not in sentences[0]
    assert "at worst 3 times as long: refmesh hub, 4 parties, server's link 4x-near" in sentences[1]


def test_a_bottleneck_that_hardly_costs_anything_is_said_to() -> None:
    cost, sentences = judged([1.03, 1.04, 1.02] * 2, [1.0] * 6)
    assert cost.judgement == "slower"
    assert "In 1 of these it took less than 10 % longer." in sentences[0]
    assert "less than" not in judged([3.0, 3.1, 2.9] * 2, [1.0] * 6)[1][0]


def test_one_repeat_decides_nothing() -> None:
    cost, sentences = judged([3.0], [1.0])
    assert cost.judgement == "undecided"
    assert "not decided" in sentences[0]


def test_what_never_came_is_slower_than_anything() -> None:
    cost, _ = judged([None] * 6, [1.0] * 6)
    assert cost.judgement == "slower" and cost.ratio.value == float("inf")
    assert "late" in cost_table([cost]).rows[0][5]


def test_only_what_shares_a_seed_is_compared() -> None:
    runs = Runs()
    for repeat in range(3):
        runs.trial(MESH, 4, 4, repeat, bulk_completion_s=1.0 + repeat)
        runs.trial(HUB, 4, 4, repeat, bulk_completion_s=2.0 + 2 * repeat)
    runs.trial(HUB, 4, 4, 9, bulk_completion_s=1000.0)
    (cost,) = costs(computations(runs.frame))
    assert (cost.ratio.n, cost.ratio.low, cost.ratio.high) == (3, 2.0, 2.0)


def test_a_hub_without_a_mesh_of_its_own_is_held_against_each_and_not_against_the_luckiest() -> None:
    runs = Runs()
    for repeat in range(3):
        runs.trial(MESH, 4, 4, repeat, bulk_completion_s=2.0)
        runs.trial(("wireguard", "mesh"), 4, 4, repeat, bulk_completion_s=1.0)
        runs.trial(("openvpn", "hub"), 4, 4, repeat, bulk_completion_s=3.0)
        runs.trial(HUB, 4, 4, repeat, bulk_completion_s=4.0)
    openvpn, wireguard = ("openvpn", "hub"), ("wireguard", "mesh")
    found = [(cost.subject, cost.mesh, cost.ratio.value) for cost in costs(computations(runs.frame))]
    assert found == [(openvpn, MESH, 1.5), (openvpn, wireguard, 3.0), (HUB, MESH, 2.0)]


def test_crossovers_against_several_meshes_are_several() -> None:
    runs = by_the_rates((MESH, ("openvpn", "hub")), repeats=6)
    for n, ratio, repeat in [(n, ratio, repeat) for n in (2, 4, 7) for ratio in LINKS for repeat in range(6)]:
        runs.trial(("wireguard", "mesh"), n, ratio, repeat, bulk_completion_s=1000.0)
    found = {one.mesh: one.found for one in crossovers(costs(computations(runs.frame))) if one.hub.ratio == 1}
    assert found == {MESH: 2, ("wireguard", "mesh"): None}, "one mesh's times are not taken for another's"


def outage(subject: tuple[str, str], share: float, repeats: int = 3) -> Runs:
    runs = Runs()
    for repeat in range(repeats):
        runs.trial(
            subject,
            3,
            25,
            repeat,
            availability=share,
            coasted_s=0.1 if share < 1 else None,
            rounds_recovery_s=6.0,
            overlay_recovery_s=2.0,
            tcp_recovery_s=4.0,
        )
    return runs


def test_who_stops_with_the_server_is_named_and_who_does_not() -> None:
    runs = outage(HUB, 0.02)
    runs.records += outage(MESH, 1.0).records
    found = outages(runs.frame)
    assert {one.subject: one.judgement for one in found} == {HUB: "stopped", MESH: "went on"}
    said = " ".join(single_point(found))
    assert "The server was a single point of failure for refmesh hub: rounds stopped when it died." in said
    assert "no single point of failure for refmesh mesh: rounds went on without it" in said
    assert "refmesh hub 6.0 s (overlay 2.0 s, TCP 4.0 s)" in said
    assert "Contrary to the claim" not in said


def test_a_mesh_that_stops_is_against_the_claim() -> None:
    said = " ".join(single_point(outages(outage(MESH, 0.1).frame)))
    assert "Contrary to the claim, refmesh mesh stopped." in said


def written(tmp_path: Path) -> Path:
    runs = by_the_rates((("underlay", "underlay"), MESH, HUB), repeats=3)
    runs.records += outage(HUB, 0.02).records
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 2, "scenario": "claim", "description": "what a hub costs"}, [])
    shares = folder.path / "shares.csv"
    shares.write_text("since_s,share\n" + "\n".join(f"{step},{float(step < 0)}" for step in range(-5, 20)) + "\n")
    for _, trial in groupby(runs.records, key=lambda one: one.trial):
        folder.append(
            [
                Record(**{**one.as_dict(), "evidence": "shares.csv"}) if one.metric == "availability" else one
                for one in trial
            ]
        )
    return folder.path


def test_the_page_has_the_chapter_with_plots_and_tables_at_any_width(tmp_path: Path) -> None:
    page = write_report(written(tmp_path))
    text = page.read_text()
    assert "What a hub costs" in text and "single point of failure for refmesh hub" in text
    names = {path.stem for path in (page.parent / "plots").glob("hub-*.csv")}
    assert names == {
        *(f"hub-completion-bulk-{name}" for name in ("1x-near", "4x-near", "25x-far")),
        "hub-outage",
        "hub-ratio-bulk",
    }
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for dark in (False, True):
        assert ask_page(page, wide, width=390, dark=dark) == 0


def test_a_run_without_computations_has_no_such_chapter() -> None:
    records = records_frame([record.as_dict() for trial in Maker().campaign(1) for record in trial])
    assert hub_cost(Results(Path(), {}, [], records, ())) is None


def test_tables_are_fit_for_latex() -> None:
    results = Results(Path(), {}, [], by_the_rates(repeats=3).frame, ())
    chapter = hub_cost(results)
    assert chapter is not None and len(chapter.tables) == 3
    for table in chapter.tables:
        assert len({len(row) for row in (table.header, *table.rows)}) == 1
        assert re.search(r"\\toprule.*\\bottomrule", to_latex(table), re.DOTALL)
    assert json.loads(json.dumps(chapter.sentences)) == chapter.sentences
    assert parse_link(ACCESS).label == "20M"


def test_links_without_rates_are_compared_and_have_no_crossover() -> None:
    runs = by_the_rates(repeats=3)
    plain = [
        Record(**{**one.as_dict(), "params": {"n": one.params["n"], "link_s": "continental"}}) for one in runs.records
    ]
    rows = computations(records_frame([record.as_dict() for record in plain]))
    found = costs(rows)
    assert {(cost.n, cost.hub.name, cost.ratio.n) for cost in found} == {(n, "continental", 9) for n in (2, 4, 7)}
    assert crossovers(found) == []
    chapter = hub_cost(Results(Path(), {}, [], records_frame([record.as_dict() for record in plain]), ()))
    assert chapter is not None and chapter.tables[0].rows[0][1] == "11.25 ms"
