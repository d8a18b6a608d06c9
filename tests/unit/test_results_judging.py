"""Numbers that a scenario expects are judged with their intervals."""

from typing import Any

import pytest
from mesh_samples import mesh_of_five
from parties_behind_nats import parties_behind_nats
from result_samples import Maker

from harness.model.expectation import ExpectedNumber
from harness.results.expectations import Expected
from harness.results.frame import records_frame
from harness.results.judging import Judged, figures_of, judge, judge_cells
from harness.results.statistics import clopper_pearson, runs_to_exclude
from harness.results.summary import summarise


def rows_of(metric: str, values: list[float | None], outcome: str = "ok") -> list[dict[str, Any]]:
    maker, rows = Maker(), []
    for number, value in enumerate(values):
        same = {"trial": f"t{number}", "repeat": number, "outcome": outcome}
        rows.append(maker.one("latency", metric, "ms", value, src="a", dst="b", **same).as_dict())
        rows.append(maker.one("trial", "duration_s", "s", 9, **same).as_dict())
    return rows


@pytest.mark.parametrize(
    ("values", "bound", "expected"),
    [
        ([4.0, 4.1, 4.2, 4.0, 4.1, 4.0, 4.2], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "met"),
        ([6.0, 6.1, 6.2, 6.0, 6.1, 6.0, 6.2], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "not met"),
        ([4.0, 6.1, 6.2, 4.0, 6.1, 4.0, 6.2], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "not decided"),
        # Fewer than six have no interval of 95 %: nothing is shown, but that all of them break the bound is a fact.
        ([4.0], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "not decided"),
        ([6.0], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "against it"),
        ([4.0, 4.2], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "not decided"),
        ([6.0, 6.2], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "against it"),
        ([4.0, 6.2], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "not decided"),
        ([4.0, 4.2, 4.1, 4.0, 4.3], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "not decided"),
        ([4.0, 4.2, 4.1, 4.0, 4.3, 4.1], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "met"),
        ([1.0] * 2, ExpectedNumber(metric="connect_success", min=1), "met"),
        ([0.4] * 6, ExpectedNumber(metric="tcp_throughput_ratio", min=0.5), "not met"),
        ([0.6] * 6, ExpectedNumber(metric="tcp_throughput_ratio", min=0.5), "met"),
        ([0.6] * 6, ExpectedNumber(metric="tcp_throughput_ratio", min=0.5, max=0.55), "not met"),
        # No sample shows that a rate is 1: at least 1 asks that none failed.
        ([1.0] * 6, ExpectedNumber(metric="connect_success", min=1), "met"),
        ([1.0] * 6 + [0.0], ExpectedNumber(metric="connect_success", min=1), "not met"),
        ([0.0] * 6, ExpectedNumber(metric="pmtu_black_hole", max=0), "met"),
        ([1.0] * 6, ExpectedNumber(metric="connect_success", min=0.95), "not decided"),
        ([1.0] * 6 + [0.0], ExpectedNumber(metric="connect_success", min=0.95), "not decided"),
        ([0.0] * 7, ExpectedNumber(metric="connect_success", min=0.95), "not met"),
        # Six of seven late, or one, is what one in eight such samples shows where the median is at the bound.
        ([0.5, None, None, None, None, None, None], ExpectedNumber(metric="time_to_direct_s", max=5), "not decided"),
        ([0.5, *[None] * 9], ExpectedNumber(metric="time_to_direct_s", max=5), "not met"),
        ([], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "not measured"),
    ],
)
def test_a_bound_is_judged_with_the_interval(values: list[float | None], bound: ExpectedNumber, expected: str) -> None:
    (found,) = judge(rows_of(bound.metric, values), bound)
    assert found.judgement == expected
    assert bound.metric in found.text


def test_the_text_has_bound_estimate_interval_and_n() -> None:
    rows = rows_of("added_rtt_p50_ms", [6.0, 6.1, 6.2, 6.3, 6.4, 6.5, 6.6])
    (found,) = judge(rows, ExpectedNumber(metric="added_rtt_p50_ms", max=5), "nebula_mesh")
    assert found.text.startswith("nebula_mesh: expected added_rtt_p50_ms at most 5 ms, it was 6.3 ms (6")
    assert found.text.endswith("median; order statistics of 7 runs (covers 98.4 %); n = 7)")
    (found,) = judge(rows[:2], ExpectedNumber(metric="added_rtt_p50_ms", max=5))
    assert found.text.endswith(
        "it was 6 ms (one run; no interval; n = 1); 1 repeat gives no confidence, 6 would be enough"
    )
    (found,) = judge(rows[:4], ExpectedNumber(metric="added_rtt_p50_ms", max=8))
    assert found.text.endswith("n = 2); 2 repeats give at most 50 % confidence, 6 would be enough")
    rates = rows_of("connect_success", [1.0] * 6)
    (found,) = judge(rates, ExpectedNumber(metric="connect_success", min=0.95))
    assert found.text.endswith("n = 6); exactly 0.5407 to 1; 72 repeats without a failure would be enough")


@pytest.mark.parametrize(
    ("values", "bound", "expected", "exact"),
    [
        # 1 - 0.025: Wilson's interval ends at 0.79 and called this shown.
        ([0.0], {"min": 0.8}, "against it", (0, 0.975)),
        ([0.0] * 3, {"min": 0.8}, "not met", (0, 0.7076)),
        ([1.0], {"max": 0.2}, "against it", (0.025, 1)),
        ([1.0, 0.0], {"min": 0.95}, "not decided", (0.0126, 0.9874)),
        # Wilson: 0.7813 to 1.
        ([1.0] * 14, {"min": 0.78}, "not decided", (0.7684, 1)),
        ([1.0] * 6 + [0.0] * 6, {"min": 0.78}, "not decided", (0.2109, 0.7891)),
    ],
)
def test_a_rate_is_judged_by_its_exact_interval(
    values: list[float | None], bound: dict[str, float], expected: str, exact: tuple[float, float]
) -> None:
    (found,) = judge(rows_of("connect_success", values), ExpectedNumber(metric="connect_success", **bound))
    assert (found.judgement, found.exact) == (expected, pytest.approx(exact, abs=1e-4))


def test_a_rate_that_each_of_few_repeats_breaks_says_how_many_would_show_it() -> None:
    (found,) = judge(rows_of("connect_success", [0.0]), ExpectedNumber(metric="connect_success", min=0.8))
    assert found.text.endswith(
        "n = 1); exactly 0 to 0.975; every repeat breaks it; 3 such repeats would be enough for `not met`"
    )


def test_pairs_of_few_trials_are_no_more_than_the_trials() -> None:
    """Two trials of five members each, in which no pair connects: as much as two failures, not as twenty."""
    rows = [record.as_dict() for number in range(2) for record in mesh_of_five(f"t{number}", repeat=number)]
    for row in rows:
        row["value"] = 0.0 if row["metric"] == "connect_success" else row["value"]
    (found,) = judge(rows, ExpectedNumber(metric="connect_success", min=0.8))
    assert (found.judgement, found.exact) == ("against it", pytest.approx((0, 0.8419), abs=1e-4))


def test_what_does_not_count_is_not_judged_and_failures_break_success() -> None:
    invalid = rows_of("added_rtt_p50_ms", [1.0] * 6, "invalid")
    assert judge(invalid, ExpectedNumber(metric="added_rtt_p50_ms", max=5))[0].judgement == "not measured"
    failed = rows_of("added_rtt_p50_ms", [], "failed") + rows_of("x", [None] * 10, "failed")
    assert judge(failed, ExpectedNumber(metric="trial_success", min=0.9))[0].judgement == "not met"


def test_pairs_of_one_trial_are_one_cluster() -> None:
    rows = [record.as_dict() for number in range(3) for record in mesh_of_five(f"t{number}", repeat=number)]
    (found,) = judge(rows, ExpectedNumber(metric="hole_punch_success", min=0.95))
    assert (found.found.n, found.found.value, found.judgement) == (30, 0.9, "not decided")
    assert "clustered by 3 trials" in found.text


def mixed(direct_ms: float, relayed_ms: float, each: int = 6) -> list[dict[str, Any]]:
    """Return a cell whose path was direct in half of its trials and relayed in the others."""
    maker, rows = Maker(), []
    for number in range(2 * each):
        path, value = ("direct", direct_ms) if number % 2 else ("relayed", relayed_ms)
        same = {"trial": f"t{number}", "repeat": number, "src": "a", "dst": "b"}
        rows += [
            maker.one("path", "connect_success", "1", 1.0, path=path, **same),
            maker.one("path", "hole_punch_success", "1", float(path == "direct"), path=path, **same),
            maker.one("latency", "added_rtt_p50_ms", "ms", value, **same),
            # Of the other way, and of the whole trial, by probes that know no path.
            maker.one("latency", "owd_p50_ms", "ms", value / 2, **same | {"src": "b", "dst": "a"}),
            maker.one("cost", "rss_mib", "MiB", value, **same | {"src": None, "dst": None}),
            maker.one("trial", "duration_s", "s", 9, **same | {"src": None, "dst": None}),
        ]
    return [row.as_dict() for row in rows]


def test_no_bound_is_judged_by_a_median_between_two_paths() -> None:
    rows = mixed(direct_ms=3, relayed_ms=41)
    found = judge(rows, ExpectedNumber(metric="added_rtt_p50_ms", max=25), "cell")
    assert [(one.path, one.found.value, one.judgement) for one in found] == [
        ("direct", 3.0, "met"),
        ("relayed", 41.0, "not met"),
    ]
    (direct,) = judge(rows, ExpectedNumber(metric="added_rtt_p50_ms", max=25, path=("direct",)))
    assert (direct.path, direct.judgement) == ("direct", "met")
    for metric in ("owd_p50_ms", "rss_mib"):
        assert {one.path: one.judgement for one in judge(rows, ExpectedNumber(metric=metric, max=25))}[
            "direct"
        ] == "met"
    (punched,) = judge(rows, ExpectedNumber(metric="hole_punch_success", min=0.9))
    assert (punched.found.value, punched.judgement) == (0.5, "not met"), "over all paths: it is about them"
    figures = figures_of(rows)
    assert (figures["added_rtt_p50_ms [direct]"], figures["hole_punch_success"]) == (3.0, 0.5)


def test_a_rate_is_judged_for_each_pair_of_nats_as_summary_csv_has_it() -> None:
    """Two of three pairs punch in each of ten trials: "0.6667 (0.4608 to 0.824)" was an interval of a choice."""
    records = parties_behind_nats(10)
    rows = [record.as_dict() for record in records]
    found = judge(rows, ExpectedNumber(metric="hole_punch_success", min=0.6), "cell")
    assert {one.nats: (one.found.value, one.found.n, one.judgement) for one in found} == {
        "full-cone x port-restricted": (1.0, 10, "met"),
        "full-cone x symmetric": (1.0, 10, "met"),
        "port-restricted x symmetric": (0.0, 10, "not met"),
    }
    assert found[-1].text.startswith("cell, port-restricted x symmetric: expected hole_punch_success at least 0.6")
    assert figures_of(rows)["hole_punch_success [port-restricted x symmetric]"] == 0.0
    summary = summarise(records_frame(rows))
    of_metric = summary[summary["metric"] == "hole_punch_success"]
    assert of_metric.loc[of_metric["over"] == "pairs", "ci_low"].isna().all()
    of_pairs = of_metric[of_metric["over"] == "runs"]
    intervals = sorted(zip(of_pairs["estimate"], of_pairs["ci_low"], of_pairs["ci_high"], strict=True))
    assert intervals == sorted((one.found.value, one.found.low, one.found.high) for one in found)
    # What is no rate of pairs is judged as before.
    assert [one.nats for one in judge(rows, ExpectedNumber(metric="trial_success", min=0.6))] == [""]


def test_a_bound_on_a_path_that_no_pair_took_is_broken_unless_another_is_allowed() -> None:
    """Hole punching is gone altogether: the direct paths that should be quick are none."""
    bound = ExpectedNumber(metric="added_rtt_p50_ms", max=5, path=("direct",))
    rows = [row for row in mixed(3, 41) if row["trial"] in {"t0", "t2"}]
    by_trial = {name: [row for row in rows if row["trial"] == name] for name in ("t0", "t2")}

    def of(*paths: str) -> Judged:
        (found,) = judge_cells([Expected(name, "c", paths=paths, numbers=(bound,)) for name in by_trial], by_trial)
        return found

    assert of().is_broken and of("direct").is_broken
    assert of().text == (
        "c, direct: expected added_rtt_p50_ms at most 5 ms, it was never measured; no pair took that path"
    )
    for paths in (("relayed",), ("direct", "relayed")):
        assert (of(*paths).judgement, of(*paths).is_broken) == ("not decided", False)
        assert of(*paths).text.endswith("no pair took that path, and the scenario allows another")


def test_a_cell_is_its_repeats_and_what_cannot_be_done_is_not_judged() -> None:
    bound = ExpectedNumber(metric="added_rtt_p50_ms", max=5)
    rows = rows_of("added_rtt_p50_ms", [4.0, 4.1])
    by_trial = {name: [row for row in rows if row["trial"] == name] for name in ("t0", "t1")}
    by_trial["other"] = [row | {"outcome": "unsupported"} for row in by_trial["t0"]]
    expected = [Expected(name, cell, numbers=(bound,)) for name, cell in (("t0", "c"), ("t1", "c"), ("other", "d"))]
    (found,) = judge_cells([*expected, Expected("never ran", "e", numbers=(bound,))], by_trial)
    assert (found.cell, found.found.n, found.judgement) == ("c", 2, "not decided")


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_how_many_runs_exclude_a_rate_is_what_the_exact_interval_says(rate: float) -> None:
    needed = runs_to_exclude(rate)
    assert clopper_pearson(0.0, needed)[1] <= rate < clopper_pearson(0.0, needed - 1)[1]
    assert runs_to_exclude(1e-9) > 10**9, "at once, and not after as many steps"
