"""Numbers that a scenario expects are judged with their intervals."""

from typing import Any

import pytest
from result_samples import Maker
from test_results_parties import mesh_of_five

from harness.results.judging import Bound, judge


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
        ([4.0, 4.1, 4.2, 4.0, 4.1, 4.0, 4.2], Bound("added_rtt_p50_ms", most=5), "met"),
        ([6.0, 6.1, 6.2, 6.0, 6.1, 6.0, 6.2], Bound("added_rtt_p50_ms", most=5), "broken"),
        ([4.0, 6.1, 6.2, 4.0, 6.1, 4.0, 6.2], Bound("added_rtt_p50_ms", most=5), "uncertain"),
        ([4.0], Bound("added_rtt_p50_ms", most=5), "met"),
        ([6.0], Bound("added_rtt_p50_ms", most=5), "broken"),  # one run has no interval: its value decides
        ([0.4] * 6, Bound("tcp_throughput_ratio", least=0.5), "broken"),
        ([0.6] * 6, Bound("tcp_throughput_ratio", least=0.5), "met"),
        ([0.6] * 6, Bound("tcp_throughput_ratio", least=0.5, most=0.55), "broken"),
        ([1.0] * 6 + [0.0], Bound("connect_success", least=0.95), "uncertain"),
        ([0.0] * 7, Bound("connect_success", least=0.95), "broken"),
        ([0.5, None, None, None, None, None, None], Bound("time_to_direct_s", most=5), "broken"),
        ([], Bound("added_rtt_p50_ms", most=5), "not measured"),
    ],
)
def test_a_bound_is_judged_with_the_interval(values: list[float | None], bound: Bound, expected: str) -> None:
    (found,) = judge(rows_of(bound.metric, values), [bound])
    assert found.judgement == expected
    assert bound.metric in found.text


def test_the_text_has_bound_estimate_interval_and_n() -> None:
    (found,) = judge(
        rows_of("added_rtt_p50_ms", [6.0, 6.1, 6.2, 6.3, 6.4, 6.5, 6.6]), [Bound("added_rtt_p50_ms", most=5)]
    )
    assert found.text.startswith("added_rtt_p50_ms: expected at most 5 ms, it was 6.3 ms (6")
    assert found.text.endswith("n = 7: broken")


def test_what_does_not_count_is_not_judged_and_failures_break_success() -> None:
    invalid = rows_of("added_rtt_p50_ms", [1.0] * 6, "invalid")
    assert judge(invalid, [Bound("added_rtt_p50_ms", most=5)])[0].judgement == "not measured"
    failed = rows_of("added_rtt_p50_ms", [], "failed") + rows_of("x", [None] * 10, "failed")
    assert judge(failed, [Bound("trial_success", least=0.9)])[0].judgement == "broken"


def test_pairs_of_one_trial_are_one_cluster() -> None:
    rows = [record.as_dict() for number in range(3) for record in mesh_of_five(f"t{number}", repeat=number)]
    (found,) = judge(rows, [Bound("hole_punch_success", least=0.95)])
    assert (found.found.n, found.found.value, found.judgement) == (30, 0.9, "uncertain")
    assert "clustered by 3 trials" in found.text
