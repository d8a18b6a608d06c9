"""What the plots show: nothing cut off, every subject told apart, direct and other paths each with its median."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from result_samples import Maker

from harness.report.plots.figure import Plot, figure_of, rounded, save
from harness.report.plots.heatmap import heatmap_plot, matrix_of
from harness.report.plots.hubcost import outage_plots
from harness.report.plots.latency import distributions, latency_plots
from harness.report.plots.scales import around, fit_differences, up_to
from harness.report.plots.strips import strip_plot
from harness.report.plots.style import PAPER_STYLE, STYLES, Look, Style, applied, looks
from harness.report.plots.times import time_plot
from harness.report.tables import groups, middle
from harness.results import declared
from harness.results.frame import records_frame
from harness.results.metrics import shown
from harness.results.pairs import pairs_frame


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    campaign = Maker(full=True).campaign(2)
    return pairs_frame(records_frame([record.as_dict() for trial in campaign for record in trial]))


def look_of(trials: pd.DataFrame) -> dict[tuple[str, str], Look]:
    return looks([subject for subject, _ in groups(trials)])


def samples_of(trials: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "trial": row.trial,
                "src": "a",
                "dst": "b",
                "seq": range(100),
                "rtt_ms": row.rtt_p50_ms + np.arange(100) % 7,
            }
        )
        for row in trials.itertuples()
    )


def plots_of(trials: pd.DataFrame) -> Iterator[Plot]:
    look = look_of(trials)
    for metric, label in (
        ("added_rtt_p50_ms", "median RTT minus the underlay's (ms)"),
        ("link_lateness_p99_us", "99th percentile (us)"),
        ("rss_mib", "largest resident memory of a node (MiB)"),
    ):
        wide = trials.assign(**{metric: trials[metric] * np.where(trials["path"] == "direct", 1, 40)})
        yield from strip_plot(wide, declared.Plot("strip", "any", metric, metric, label), look)
    yield from time_plot(trials, "time_to_direct_s", look, title="direct")
    yield from latency_plots(samples_of(trials), trials, look)
    matrix = matrix_of(trials[trials["overlay"] == "nebula"], "nebula", "mesh")
    assert matrix is not None
    yield heatmap_plot(matrix)


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
def test_no_text_is_cut_off(trials: pd.DataFrame, style: Style) -> None:
    for plot in plots_of(trials):
        with applied(style):
            figure = figure_of(plot, style)
            FigureCanvasAgg(figure).draw()
            for text in figure.findobj(Text):
                assert isinstance(text, Text)
                if text.get_visible() and text.get_text().strip():
                    box = text.get_window_extent()
                    inside = box.x0 > -1 and box.y0 > -1 and box.x1 < figure.bbox.x1 + 1 and box.y1 < figure.bbox.y1 + 1
                    assert inside or not _shown(text, figure), (plot.name, text.get_text(), box)


def _shown(text: Text, figure: Figure) -> bool:
    """Whether it is drawn at all: ticks beyond the limits keep their labels."""
    (axes,) = figure.axes
    ticks = [*axes.get_xticklabels(which="both"), *axes.get_yticklabels(which="both")]
    return not any(text is tick for tick in ticks) or bool(
        axes.bbox.padded(1).contains(*text.get_transform().transform(text.get_position()))
    )


def test_so_many_subjects_have_looks_of_their_own() -> None:
    subjects = [("underlay", "underlay"), *((f"overlay{number}", "mesh") for number in range(24))]
    found = looks(subjects)
    assert len({(look.colour, look.marker) for look in found.values()}) == 25


def test_direct_and_relayed_runs_have_a_median_each(trials: pd.DataFrame) -> None:
    nebula = trials[trials["overlay"] == "nebula"]
    (plot,) = strip_plot(nebula, declared.Plot("strip", "any", "added_rtt_p50_ms", "t", "ms"), look_of(trials))
    figure = Figure()
    plot.draw(figure)
    bars = [one for one in figure.axes[0].collections if isinstance(one, LineCollection)]
    drawn = sorted(float(bar.get_segments()[0][0][0]) for bar in bars)
    of_path = [nebula[nebula["path"] == path]["added_rtt_p50_ms"].median() for path in ("direct", "relayed")]
    assert drawn == pytest.approx(of_path)


def test_lost_packets_count_in_the_plot_as_in_the_table(trials: pd.DataFrame) -> None:
    """Two of three runs lost half of their packets: the median is lost, not that of the run that is left."""
    row = trials[(trials["overlay"] == "nebula") & (trials["path"] == "direct")].iloc[[0]]
    runs = pd.concat(
        [row.assign(trial=f"t{n}", rtt_rise_p50_ms=value) for n, value in enumerate((40.0, np.inf, np.inf))]
    )
    assert middle(runs["rtt_rise_p50_ms"]) == "lost"
    (plot,) = strip_plot(runs, _declared("rtt_rise_p50_ms"), look_of(trials))
    figure = Figure()
    plot.draw(figure)
    (axes,) = figure.axes
    (bar,) = (one for one in axes.collections if isinstance(one, LineCollection))
    assert bar.get_segments()[0][0][0] == 1.0 and bar.get_transform() == axes.get_yaxis_transform()
    crosses = [one for one in axes.collections if one.get_transform() == axes.get_yaxis_transform()]
    assert len(plot.data) == 3 and "lost" in plot.caption and crosses
    assert not strip_plot(runs.iloc[1:], _declared("rtt_rise_p50_ms"), look_of(trials)), "nothing to draw an axis by"


def test_a_share_of_pairs_is_called_so(trials: pd.DataFrame) -> None:
    row = trials[trials["overlay"] == "nebula"].iloc[[0]]
    pairs = pd.concat([row.assign(src=src, dst="p9") for src in ("p1", "p2", "p3")])
    for rows, unit in ((pairs, "pairs of members"), (row, "trials")):
        (plot,) = time_plot(rows, "time_to_connect_s", look_of(trials), title="t")
        figure = Figure()
        plot.draw(figure)
        assert figure.axes[0].get_ylabel() == f"share of {unit}"


def _declared(metric: str) -> declared.Plot:
    """Return the plot that a probe declares."""
    (plot,) = (plot for one in shown().values() for plot in one.plots if plot.metric == metric)
    return plot


def test_a_share_of_the_underlay_shows_where_the_underlay_is(trials: pd.DataFrame) -> None:
    (plot,) = strip_plot(trials, _declared("tcp_throughput_ratio"), look_of(trials))
    figure = Figure()
    plot.draw(figure)
    (axes,) = figure.axes
    assert any(list(line.get_xdata()) == [1.0, 1.0] for line in axes.lines)
    assert axes.get_xlim()[1] > 1.0


def test_differences_near_zero_and_below_it_are_not_spread_over_decades() -> None:
    with mpl.rc_context():
        axes = Figure().subplots()
        fit_differences(axes, np.array([-0.3, 0.002, 1.5, 180.0]), "ms")
        assert axes.get_xscale() == "symlog"
        ends = axes.transData.transform([(-0.3, 0), (0.002, 0), (1.5, 0), (180.0, 0)])[:, 0]
        assert np.diff(ends).min() > 0
        assert ends[1] - ends[0] < 0.2 * (ends[3] - ends[0])
        plain = Figure().subplots()
        fit_differences(plain, np.array([-0.3, 0.002, 15.0]), "ms")
        assert plain.get_xscale() == "linear"


def test_from_ten_runs_on_the_band_is_not_the_worst_run(trials: pd.DataFrame) -> None:
    row = trials[trials["overlay"] == "underlay"].iloc[[0]]
    for runs, highest in ((9, 500.0), (10, 40.0)):
        some = pd.concat([row.assign(trial=f"t{number}") for number in range(runs)])
        samples = samples_of(some).assign(rtt_ms=40.0)
        samples.loc[samples["trial"] == "t0", "rtt_ms"] = 500.0
        assert distributions(samples, some)["rtt_high_ms"].max() == highest


def test_coordinates_are_rounded_and_texts_are_not() -> None:
    svg = '<path d="M 1.23456 -7.891011"/><use x="5.555555" y="2.5"/><text style="font: 0.125px">0.005</text>'
    want = '<path d="M 1.23 -7.89"/><use x="5.56" y="2.5"/><text style="font: 0.125px">0.005</text>'
    assert rounded(svg) == want


def test_subjects_are_told_apart_without_colours() -> None:
    found = looks([(f"vpn{number}", "mesh") for number in range(13)])
    assert len({look.marker for look in found.values()}) == 13
    modes = looks([("a", "mesh"), ("a", "hub"), ("a", "relay"), ("underlay", "underlay")])
    assert len({look.dashes for look in modes.values()}) == 4


def test_a_matrix_says_what_its_shades_and_hatches_mean(trials: pd.DataFrame) -> None:
    matrix = matrix_of(trials[trials["overlay"] == "nebula"], "nebula", "mesh")
    assert matrix is not None
    figure = Figure()
    heatmap_plot(matrix).draw(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["always direct", "never direct", "fewer than 10 runs"]


def test_ticks_cover_the_points_and_the_axis_says_what_it_shows(trials: pd.DataFrame) -> None:
    (plot,) = strip_plot(trials, _declared("tcp_throughput_mbit"), look_of(trials))
    figure = Figure()
    plot.draw(figure)
    (axes,) = figure.axes
    values = plot.data["tcp_throughput_mbit"]
    assert min(axes.get_xticks()) <= values.min() and max(axes.get_xticks()) >= values.max()
    assert axes.get_xlabel() == "TCP throughput, Mbit/s"
    assert around(0.13, 2.6) == (0.1, 5.0) and around(1.0, 10.0) == (1.0, 10.0)
    assert (up_to(1.14), up_to(2.0)) == (pytest.approx(1.2), pytest.approx(2.0))


@pytest.mark.parametrize(("suffix", "mark"), [("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_a_plot_is_saved_in_other_forms_as_well_and_the_same_twice(
    trials: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, mark: bytes
) -> None:
    monkeypatch.setattr("harness.report.plots.figure.FigureCanvasAgg", FigureCanvasAgg)
    monkeypatch.setattr("harness.report.plots.figure.FigureCanvasPdf", FigureCanvasPdf)
    (plot,) = strip_plot(trials, _declared("tcp_throughput_mbit"), look_of(trials))
    for name in ("one", "two"):
        save(plot, tmp_path / name, PAPER_STYLE)
    first, second = ((tmp_path / name / f"{plot.name}.{suffix}").read_bytes() for name in ("one", "two"))
    assert first.startswith(mark) and first == second


def test_each_subject_of_an_outage_has_a_panel_with_its_name() -> None:
    subjects = [("refmesh", "mesh"), ("refmesh", "hub"), ("openvpn", "hub")]
    samples = pd.concat(
        pd.DataFrame({"overlay": o, "mode": m, "condition": "", "since_s": range(-2, 5), "share": 1.0})
        for o, m in subjects
    )
    (plot,) = outage_plots(samples, looks(subjects))
    figure = Figure()
    plot.draw(figure)
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert sorted(shown) == ["openvpn hub", "refmesh hub", "refmesh mesh"]
