"""The verdict of a report: its sentences, and what its numbers are of."""

import re

import pandas as pd
from made_runs import frame_of
from result_samples import Maker

from harness.report.facts import never_came
from harness.report.verdict import verdict
from harness.results.declared import NEVER
from harness.results.pairs import pairs_frame


def test_verdict_is_three_sentences_with_numbers() -> None:
    sentences = verdict(pairs_frame(frame_of(repeats=3)))
    assert len(sentences) == 3
    assert "All 108 trials are ok" in sentences[0]
    assert "refmesh mesh in 5 of 6 pairs of NATs (never for symmetric x symmetric)" in sentences[1]
    one = frame_of(repeats=3)
    one = one[(one["nat_a"] == "full-cone") & (one["nat_b"] == "symmetric")]
    # A rate with an interval is of one cell: over cells it would be that of their choice.
    assert "refmesh mesh in 3 of 3 trials (95 % interval 44 to 100 %)" in verdict(pairs_frame(one))[1]
    assert "(medians of each overlay): over a direct path" in sentences[2] and "over a relay or hub, +2" in sentences[2]


def test_the_verdict_pools_no_overlay_with_another() -> None:
    """One overlay adds 1.5 ms and the other 31.5: what lies between them would be that of neither."""
    slow = frame_of(Maker(slower_ms=30.0), repeats=3)
    both = pd.concat([frame_of(repeats=3), slow[slow["overlay"] == "nebula"].assign(overlay="slow")])
    both["trial"] = both["overlay"].astype(str) + both["trial"].astype(str)
    (cost,) = (one for one in verdict(pairs_frame(both)) if one.startswith("Compared with"))
    assert re.search(r"over a direct path, \+1\.\d to \+31\.\d ms of round-trip time", cost), cost


def test_a_verdict_over_several_conditions_says_so() -> None:
    both = pd.concat([frame_of(Maker(params={"mtu": mtu})).assign(run=str(mtu)) for mtu in (1280, 1500)])
    both["trial"] = both["trial"].astype(str) + both["run"]
    assert "(medians of each overlay over 2 conditions): over a direct path" in verdict(pairs_frame(both))[2]


def test_events_that_never_came_are_told_in_a_sentence() -> None:
    frame = frame_of(repeats=3)
    assert never_came(frame) == ""
    of_two = frame[frame["trial"].isin(list(frame["trial"].unique()[:2]))].drop_duplicates("trial")
    missed = of_two.assign(outcome="error", error=NEVER, phase="after reboot ra", value=None)
    said = never_came(pd.concat([frame, missed]))
    assert said.startswith("In 2 of 108 trials the traffic ended before an event could happen (reboot ra in 2)")
