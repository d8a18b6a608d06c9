"""What explains a change: a control of its own kind that moved in the same direction, in typical and in odd trials."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import pytest
from compared_runs import run_of, verdict
from result_samples import Maker

from harness.results.compare import COMPARED, compare
from harness.results.frame import records_frame
from harness.results.metrics import METRICS
from harness.results.session import shift_between


def scaled(run: pd.DataFrame, factor: float, *metrics: str, overlay: str | None = None) -> pd.DataFrame:
    chosen = run["metric"].astype(str).isin(metrics)
    if overlay is not None:
        chosen &= run["overlay"].astype(str) == overlay
    return run.assign(value=run["value"].where(~chosen, run["value"] * factor))


@pytest.mark.parametrize(
    ("factor", "metric", "control"),
    [(1.3, "rtt_p50_ms", "underlay_rtt_p50_ms"), (1.6, "time_to_ready_s", "lab_start_s")],
)
@pytest.mark.parametrize(("moved", "expected"), [(1.0, "regression"), (0.8, "regression"), (1.4, "machine moved")])
def test_a_control_that_moved_the_other_way_explains_nothing(
    factor: float, metric: str, control: str, moved: float, expected: str
) -> None:
    """Round trips took 30 % longer over an underlay that was quicker by 13 %: that was "machine moved"."""
    base, new = run_of(6, seed=1), run_of(6, seed=2)
    new = scaled(scaled(new, factor, metric, overlay="nebula"), moved, control)
    assert verdict(compare(base, new), "nebula mesh", metric) == expected


@pytest.mark.parametrize(("moved", "expected"), [(1.0, "improvement"), (1.2, "improvement"), (0.85, "machine moved")])
def test_nor_does_it_explain_what_got_better(moved: float, expected: str) -> None:
    base, new = run_of(6, seed=1), run_of(6, seed=2)
    new = scaled(scaled(new, 0.75, "rtt_p50_ms", overlay="nebula"), moved, "underlay_rtt_p50_ms")
    assert verdict(compare(base, new), "nebula mesh", "rtt_p50_ms") == expected


def test_a_quotient_is_explained_by_its_denominator() -> None:
    """The overlay carries what it carried, 20 Mbit/s in links that had 50 and have 70: its share is no regression."""
    base, new = run_of(6, seed=1), run_of(6, seed=2)
    new = scaled(scaled(new, 1.4, "underlay_tcp_throughput_mbit"), 1 / 1.4, "tcp_throughput_ratio")
    assert verdict(compare(base, new), "nebula mesh", "tcp_throughput_ratio") == "machine moved"


def of_figures(
    seed: int,
    figures: Mapping[str, float],
    *,
    factor: float = 1.0,
    odd: float = 0.0,
    subjects: Collection[str] = ("iroh",),
) -> pd.DataFrame:
    """Three cells of ten trials; values are noisy by 3 %, times the factor, five times that in `odd` of the trials."""
    maker, rng, records = Maker(), np.random.default_rng(seed), []
    for subject in subjects:
        for cell in range(3):
            for repeat in range(10):
                same = {
                    "trial": f"{subject}-{cell}-{repeat}",
                    "repeat": repeat,
                    "nat_a": f"n{cell}",
                    "nat_b": "cgn",
                    "overlay": subject,
                    "mode": "underlay" if subject == "underlay" else "mesh",
                }
                pair = same | {"src": "a", "dst": "b"}
                records.append(maker.one("path", "connect_success", "1", 1, path="direct", **pair))
                far = 5.0 if repeat < odd * 10 else 1.0
                for metric, value in figures.items():
                    own = factor if METRICS[metric].better != "higher" else 1 / factor
                    one = value * own * far * np.exp(rng.normal(0, 0.03))
                    records.append(maker.one("x", metric, METRICS[metric].unit, one, **pair))
                records.append(maker.one("trial", "duration_s", "s", 5, **same))
    return records_frame([record.as_dict() for record in records])


@pytest.mark.parametrize(
    ("metric", "control", "inverse"),
    [
        ("stream_rtt_p50_ms", "underlay_stream_rtt_p50_ms", False),
        ("stream_connect_p50_ms", "underlay_stream_connect_p50_ms", False),
        ("content_goodput_mbit", "underlay_content_goodput_mbit", False),
        ("content_last_byte_s", "underlay_content_goodput_mbit", True),
        ("concurrent_jain_index", "underlay_concurrent_jain_index", False),
    ],
)
def test_what_the_underlay_of_the_same_lab_tells_is_asked(metric: str, control: str, inverse: bool) -> None:
    """Streams took half as long again, those of the underlay as well: two regressions."""
    base, new = of_figures(1, {metric: 20.0, control: 15.0}), of_figures(2, {metric: 20.0, control: 15.0}, factor=1.5)
    lower = METRICS[metric].better == "lower"
    alone = scaled(base, 1.0)
    slower = scaled(alone, 1 / 1.5 if inverse or not lower else 1.5, control)
    worse = new.assign(value=new["value"].where(new["metric"].astype(str) != control, slower["value"]))
    assert verdict(compare(base, worse), "iroh", metric) == "machine moved"
    same = new.assign(value=new["value"].where(new["metric"].astype(str) != control, base["value"]))
    assert verdict(compare(base, same), "iroh", metric) == "regression"


def test_every_figure_with_one_of_the_underlay_beside_it_has_a_control() -> None:
    """A probe that measures the underlay of the same lab does so for this."""
    base = of_figures(1, {name: 10.0 for name in METRICS if METRICS[name].estimator != "proportion"})
    shift = shift_between(base, scaled(base, 1.5, *METRICS), links_changed=False)
    spoken = {name.replace("underlay_", ""): name for name in METRICS if "underlay_" in name}
    for metric in COMPARED:
        if metric in spoken and spoken[metric] not in COMPARED:
            assert shift.factor(metric) * shift.factor(metric, rise=False) > 1, metric


def test_loss_is_explained_by_the_underlay_s_own_and_that_is_no_regression() -> None:
    """Two per cent were lost everywhere; the underlay's own loss was called a regression."""
    base, new = run_of(6, seed=1), run_of(6, seed=2)
    lost = new["metric"].astype(str) == "loss_ratio"
    everywhere = compare(base, new.assign(value=new["value"].where(~lost, 0.02)))
    for subject in ("underlay", "nebula mesh", "refmesh hub"):
        assert verdict(everywhere, subject, "loss_ratio") == "machine moved"
    assert everywhere.regressions == []
    alone = lost & (new["overlay"].astype(str) == "nebula")
    assert verdict(compare(base, new.assign(value=new["value"].where(~alone, 0.02))), "nebula mesh", "loss_ratio") == (
        "regression"
    )


@pytest.mark.parametrize(("with_the_underlay", "expected"), [(True, "machine moved"), (False, "regression")])
def test_trials_that_are_far_off_are_held_against_those_of_the_control(with_the_underlay: bool, expected: str) -> None:
    """The machine was busy in a fifth of the trials: round trips took five times as long, the underlay's as well."""
    figures = {"rtt_p50_ms": 20.0, "underlay_rtt_p50_ms": 18.0}
    subjects = ("iroh", "nebula", "refmesh")
    base, new = (of_figures(n, figures, odd=odd, subjects=subjects) for n, odd in ((1, 0.0), (2, 0.2)))
    if not with_the_underlay:
        calm = of_figures(3, figures, subjects=subjects)
        own = new["metric"].astype(str) == "underlay_rtt_p50_ms"
        new = new.assign(value=new["value"].where(~own, calm["value"]))
    assert verdict(compare(base, new), "all subjects", "rtt_p50_ms") == expected


def test_a_typical_change_beside_odd_trials_of_the_machine_is_still_called() -> None:
    figures = {"rtt_p50_ms": 20.0, "underlay_rtt_p50_ms": 18.0}
    base = of_figures(1, figures)
    new = scaled(of_figures(2, figures, odd=0.4), 1.3, "rtt_p50_ms")
    found = compare(base, new)
    assert verdict(found, "iroh", "rtt_p50_ms") == "regression"
    assert not any(change.outliers_worse for change in found.regressions)


def test_a_larger_lab_that_takes_longer_to_build_is_no_slower_machine() -> None:
    """From five members to ten a lab took twice as long to build, which hid daemons that took three times as long."""

    def of_size(run: pd.DataFrame, n: int) -> pd.DataFrame:
        params = [
            json.dumps({**json.loads(str(p)), "n": n}, sort_keys=True, separators=(",", ":")) for p in run["params"]
        ]
        return run.assign(params=params)

    base, new = run_of(6, seed=1), scaled(run_of(6, seed=2), 2.0, "lab_start_s")
    slow = scaled(new, 3.0, "time_to_ready_s")
    assert verdict(compare(base, slow), "nebula mesh", "time_to_ready_s") == "machine moved"
    assert verdict(compare(of_size(base, 5), of_size(slow, 10)), "nebula mesh", "time_to_ready_s") == "regression"
    renamed = slow.assign(topology="others")
    assert verdict(compare(base, renamed), "nebula mesh", "time_to_ready_s") == "regression"
    assert verdict(compare(base, slow, same_lab=False), "nebula mesh", "time_to_ready_s") == "regression"
