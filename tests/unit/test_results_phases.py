"""What followed an event is of the path that the pair took then, in table, CSV, expectations and comparison alike."""

from typing import Any

import pytest
from result_samples import Maker

from harness.model.expectation import ExpectedNumber
from harness.report.measured import all_tables
from harness.results.compare import compare
from harness.results.frame import records_frame
from harness.results.judging import judge
from harness.results.matching import match
from harness.results.pairs import pairs_frame
from harness.results.phases import phases_frame
from harness.results.summary import summarise

AFTER = "after block_udp a"


def trials(run: str = "run-1", relayed_s: float = 2.0) -> list[dict[str, Any]]:
    """Return twelve trials, all direct before the event, half of them relayed after it."""
    maker, rows = Maker(run), []
    for repeat in range(12):
        relayed = repeat % 2
        same = {"trial": f"t{repeat}", "repeat": repeat, "seed": repeat}
        pair = same | {"src": "a", "dst": "b"}
        after = pair | {"phase": AFTER, "path": "relayed" if relayed else "direct"}
        noise = 0.001 * repeat
        rows += [
            maker.one("path", "connect_success", "1", 1, **pair | {"path": "direct"}),
            maker.one("latency", "rtt_p50_ms", "ms", 10 + noise, **pair | {"path": "direct"}),
            maker.one("continuity", "event_at_s", "s", 5, **same | {"phase": AFTER}),
            maker.one("continuity", "phase_answered_ratio", "1", 0.5 if relayed else 1.0, **after),
            maker.one("continuity", "event_gap_s", "s", (relayed_s if relayed else 0.3) + noise, **after),
            maker.one("trial", "duration_s", "s", 5, **same),
        ]
    return [row.as_dict() for row in rows]


def test_summary_and_table_agree_on_the_path_after_an_event() -> None:
    records = records_frame(trials())
    summary = summarise(records)
    rows = summary[summary["metric"] == "phase_answered_ratio"]
    assert dict(zip(rows["path"], rows["estimate"], strict=True)) == {"direct": 1.0, "relayed": 0.5}
    assert set(rows["n"]) == {6}
    before = summary[summary["metric"] == "rtt_p50_ms"]
    assert (list(before["path"]), list(before["n"])) == (["direct"], [12])
    (table,) = (one for one in all_tables(pairs_frame(records), phases_frame(records)) if "phase" in one.header)
    column = table.header.index("answered")
    assert sorted(row[column] for row in table.rows) == ["100 %", "50 %"]


@pytest.mark.parametrize(("path", "value"), [("direct", 1.0), ("relayed", 0.5)])
def test_a_bound_with_a_path_is_of_the_phases_own(path: str, value: float) -> None:
    bound = ExpectedNumber(metric="phase_answered_ratio", min=0.9, path=(path,))  # type: ignore[arg-type]
    (judged,) = judge(trials(), bound)
    assert (judged.found.value, judged.found.n, judged.phase) == (value, 6, AFTER)
    assert judged.judgement == ("met" if path == "direct" else "not met")
    (before,) = judge(trials(), ExpectedNumber(metric="rtt_p50_ms", max=20, path=("direct",)))
    assert (before.found.n, before.judgement) == (12, "met")


def test_compare_tells_the_paths_after_an_event_apart() -> None:
    base, new = records_frame(trials("a")), records_frame(trials("b", relayed_s=6.0))
    (sample,) = (one for one in match(base, new, ["event_gap_s"]).samples if one.metric == "event_gap_s")
    assert sorted(cell.name.rpartition(", ")[2] for cell in sample.cells) == ["direct", "relayed"]
    found = [one for one in compare(base, new).changes if one.metric == "event_gap_s"]
    assert [(one.verdict, one.phase) for one in found if one.subject == "refmesh mesh"] == [("regression", AFTER)]
