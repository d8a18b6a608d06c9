"""Numbers that a scenario expects are judged with their intervals."""

from typing import Any

import pytest
from mesh_samples import mesh_of_five
from result_samples import Maker

from harness.model.expectation import ExpectedNumber
from harness.results.expectations import Expected
from harness.results.judging import figures_of, judge, judge_cells


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
        ([4.0], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "met"),
        # One run has no interval: its value decides.
        ([6.0], ExpectedNumber(metric="added_rtt_p50_ms", max=5), "not met"),
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
        ([0.5, None, None, None, None, None, None], ExpectedNumber(metric="time_to_direct_s", max=5), "not met"),
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
    assert found.text.endswith("bootstrap 95 % over runs; n = 7)")
    (found,) = judge(rows[:2], ExpectedNumber(metric="added_rtt_p50_ms", max=5))
    assert "it was 6 ms (one run; no interval; n = 1)" in found.text


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


def test_a_path_that_no_pair_took_decides_nothing() -> None:
    (found,) = judge(mixed(3, 41), ExpectedNumber(metric="added_rtt_p50_ms", max=5, path=("asymmetric",)))
    assert found.judgement == "not decided" and "no pair took that path" in found.text


def test_a_cell_is_its_repeats_and_what_cannot_be_done_is_not_judged() -> None:
    bound = ExpectedNumber(metric="added_rtt_p50_ms", max=5)
    rows = rows_of("added_rtt_p50_ms", [4.0, 4.1])
    by_trial = {name: [row for row in rows if row["trial"] == name] for name in ("t0", "t1")}
    by_trial["other"] = [row | {"outcome": "unsupported"} for row in by_trial["t0"]]
    expected = [Expected(name, cell, numbers=(bound,)) for name, cell in (("t0", "c"), ("t1", "c"), ("other", "d"))]
    (found,) = judge_cells([*expected, Expected("never ran", "e", numbers=(bound,))], by_trial)
    assert (found.cell, found.found.n, found.judgement) == ("c", 2, "met")
