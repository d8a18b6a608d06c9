"""Histories of meshes: what one pair of members lost on one path is found, and no other pair or path hides it."""

from __future__ import annotations

import csv
import io
from itertools import combinations
from pathlib import Path

import pytest
from made_histories import manifest_of
from matplotlib.figure import Figure
from result_samples import Maker

from harness.report.plots.history import history_plot
from harness.report.trend import to_csv
from harness.results.frame import records_frame
from harness.results.history import history_of
from harness.results.loading import Results
from harness.results.record import Record
from harness.results.trend import Trend, trend

WHERE = "no NAT x no NAT"


def mesh(version: int, *, direct: int, direct_ms: float, trials: int = 10) -> Results:
    """Return a run of three members; one pair of three is direct in so many trials, all else relayed at 40 ms."""
    maker, records = Maker(f"run {version}"), list[Record]()
    for trial in range(trials):
        same = {"trial": f"t{trial}", "repeat": trial, "seed": trial, "topology": "parties"}
        for number, (src, dst) in enumerate(combinations(("p1", "p2", "p3"), 2)):
            path = "direct" if number == 0 and trial < direct else "relayed"
            pair = same | {"src": src, "dst": dst, "path": path}
            rtt_ms = direct_ms if path == "direct" else 40.0
            rtt_ms *= 1 + 0.001 * ((7 * trial + 3 * version + number) % 10)
            records.append(maker.one("path", "connect_success", "1", 1.0, **pair))
            records.append(maker.one("path", "hole_punch_success", "1", float(path == "direct"), **pair))
            records.append(maker.one("latency", "rtt_p50_ms", "ms", rtt_ms, **pair | {"path": None}))
        records.append(maker.one("trial", "duration_s", "s", 5.0, **same))
    return Results(Path(f"v{version}"), manifest_of(version), [], records_frame([r.as_dict() for r in records]), ())


def slower_from(place: int, *, versions: int = 8, direct: int = 5) -> Trend:
    return trend(history_of([mesh(v, direct=direct, direct_ms=9.0 if v >= place else 3.0) for v in range(versions)]))


@pytest.mark.parametrize("direct", [10, 5])
def test_a_direct_path_that_got_three_times_as_slow_is_no_longer_hidden_by_relayed_ones(direct: int) -> None:
    """The session's median over three pairs was 40 ms before and after."""
    (found,) = slower_from(4, direct=direct).regressions
    assert (found.change.metric, found.at) == ("rtt_p50_ms", "c4")
    assert found.change.named == (f"{WHERE}, p1 - p2" + (", direct" if direct < 10 else ""),)


def test_pairs_that_change_their_path_are_no_slower_paths() -> None:
    """From the fifth version on three of eight direct trials are left: of paths nothing changed."""
    runs = [mesh(v, direct=8 if v < 4 else 3, direct_ms=3.0) for v in range(8)]
    found = trend(history_of(runs))
    assert {one.change.metric for one in found.regressions} == {"hole_punch_success"}
    (series,) = [one for one in found.series if one.metric == "rtt_p50_ms"]
    names = [f"{WHERE}, {part}" for part in ("p1 - p2, direct", "p1 - p2, relayed", "p1 - p3", "p2 - p3")]
    assert [part.name for part in series.parts] == names
    medians = {part.name: round(float(values[0])) for part, values in zip(series.parts, series.matrix.T, strict=True)}
    assert list(medians.values()) == [3, 40, 40, 40]
    rows = csv.DictReader(io.StringIO(to_csv([series], ["r"] * 8)))
    assert {row["cell"] for row in rows} == set(names)


def test_the_plot_shows_each_pair_and_path_by_itself() -> None:
    (series,) = [one for one in slower_from(4).series if one.metric == "rtt_p50_ms"]
    plot = history_plot(series, (), 1)
    assert set(plot.data["cell"]) == {part.name for part in series.parts}
    plot.draw(Figure())


def test_a_path_that_later_versions_alone_took_is_compared_with_nothing() -> None:
    runs = [mesh(v, direct=0 if v < 4 else 10, direct_ms=300.0) for v in range(8)]
    found = trend(history_of(runs))
    assert [one.change.metric for one in found.regressions] == []
