"""What the reader of a comparison is told: numbers with their digits, words where there is no number."""

import json
from dataclasses import replace

import numpy as np
import pytest
from compared_runs import run_of

from harness.report.comparison import number as shown_number
from harness.report.comparison import to_json, to_summary, verdict_line
from harness.results.changes import Change
from harness.results.compare import compare


def test_censored_changes_are_words_and_no_numbers() -> None:
    base, new = run_of(6, seed=1), run_of(6, seed=2)
    late = (new["overlay"].astype(str) == "nebula") & (new["metric"].astype(str) == "time_to_direct_s")
    new = new.assign(value=new["value"].where(~late, np.nan))
    comparison = compare(base, new)
    change = next(c for c in comparison.regressions if (c.subject, c.metric) == ("nebula mesh", "time_to_direct_s"))
    assert np.isinf(change.change)
    text = json.dumps(to_json(comparison), allow_nan=False)
    assert "1000000000.0" not in text and '"late"' in text and "| late " in to_summary(comparison, "a", "b")


@pytest.fixture(scope="module")
def change() -> Change:
    """Return some change, to be told with other numbers."""
    return compare(run_of(1, seed=1), run_of(1, seed=2)).changes[0]


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1500.0, "B", "1500 B"),
        (-20.0, "B", "-20 B"),
        (1234567.0, "B", "1234567 B"),
        (1280.0, "count", "1280 count"),
        (0.98765, "1", "98.8 %"),
        (48.26, "Mbit/s", "48.3 Mbit/s"),
        (0.0123456, "s", "0.0123 s"),
    ],
)
def test_sizes_counts_and_shares_keep_their_digits(change: Change, value: float, unit: str, shown: str) -> None:
    assert shown_number(value, replace(change, unit=unit)) == shown


def test_nothing_judged_is_said() -> None:
    one = run_of(1, seed=1)
    one = one[(one["overlay"].astype(str) == "nebula") & (one["nat_a"].astype(str) == one["nat_b"].astype(str))]
    assert verdict_line(compare(one, one)).startswith("Nothing was judged")
