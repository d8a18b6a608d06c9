"""Timelines in tables, plot, summary and comparison: event by event, and never pooled over events."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from result_samples import Maker

from harness.report.html import write_report
from harness.report.measured import all_tables
from harness.report.plots.figure import figure_of
from harness.report.plots.style import STYLES, looks
from harness.report.plots.timeline import binned, spans, timeline_plot
from harness.report.tables import groups
from harness.results.compare import compare
from harness.results.frame import records_frame
from harness.results.metrics import shown
from harness.results.pairs import pairs_frame
from harness.results.phases import moments, phase_order, phases_frame
from harness.results.record import Record
from harness.results.store import RunFolder
from harness.results.summary import summarise
from harness.results.traffic import traffic_of

BEFORE, DOWN, UP = "before kill s", "after kill s", "after the end of kill s"
CSV = "trials/{}/overlay-a-b-continuity.csv"


def trial(name: str, overlay: str, mode: str, *, down_s: float | None, up_s: float | None) -> list[Record]:
    """Return a trial whose server dies at 3 s and is back at 6 s; it ends at 10 s."""
    maker = Maker(params={"continuity_s": 10.0})
    same = {"trial": name, "overlay": overlay, "mode": mode, "nat_a": "port-restricted", "nat_b": "port-restricted"}
    pair = same | {"src": "a", "dst": "b", "evidence": CSV.format(name), "path": "direct"}
    found = [maker.one("path", "connect_success", "1", 1, **pair | {"evidence": None})]
    for phase, recovery_s, share in ((BEFORE, -1.0, 1.0), (DOWN, down_s, 0.5), (UP, up_s, 0.9)):
        found.append(maker.one("continuity", "phase_answered_ratio", "1", share, **pair, phase=phase))
        if phase != BEFORE:
            found.append(maker.one("continuity", "event_recovery_s", "s", recovery_s, **pair, phase=phase))
            at_s = 3.0 if phase == DOWN else 6.0
            found.append(maker.one("continuity", "event_at_s", "s", at_s, **same, phase=phase))
    found.append(maker.one("continuity", "continuity_longest_gap_s", "s", 2.0, **pair))
    return [*found, maker.one("trial", "duration_s", "s", 20, **same)]


def run_of(*trials: list[Record]) -> pd.DataFrame:
    return records_frame([record.as_dict() for one in trials for record in one])


RECORDS = run_of(
    trial("t1", "nebula", "mesh", down_s=0.1, up_s=0.2), trial("t2", "openvpn", "hub", down_s=None, up_s=1.5)
)


def test_a_row_per_event_in_the_order_of_the_timeline() -> None:
    rows = phases_frame(RECORDS)
    assert phase_order(rows) == [BEFORE, DOWN, UP] and moments(rows) == [(DOWN, 3.0), (UP, 6.0)]
    assert list(rows.loc[rows["trial"] == "t2", "deadline_s"]) == pytest.approx([np.nan, 7.0, 4.0], nan_ok=True)
    tables = {table.title: table for table in all_tables(pairs_frame(RECORDS), rows)}
    table = tables["Event by event"]
    place = table.header.index("answer after (s)")
    assert [(row[:2], row[place]) for row in table.rows] == [
        (("nebula mesh", BEFORE), "-"),
        (("nebula mesh", DOWN), "0.10"),
        (("nebula mesh", UP), "0.20"),
        (("openvpn hub", BEFORE), "-"),
        (("openvpn hub", DOWN), ">7"),
        (("openvpn hub", UP), "1.50"),
    ]
    assert not any(phase in str(tables["Overlays"].rows) for phase in (DOWN, UP)), "phases make no conditions of these"


def test_the_summary_has_a_row_for_each_event() -> None:
    found = summarise(RECORDS)
    rows = found[(found["metric"] == "event_recovery_s") & (found["overlay"] == "openvpn")]
    assert dict(zip(rows["phase"], rows["estimate"], strict=True)) == {DOWN: np.inf, UP: 1.5}


def test_what_an_event_did_is_compared_with_what_the_same_event_did() -> None:
    def run(up_s: float) -> pd.DataFrame:
        return run_of(
            *(trial(f"t{n}", "nebula", "mesh", down_s=0.1 + n / 1000, up_s=up_s + n / 1000) for n in range(12))
        )

    changes = compare(run(0.2), run(4.0)).changes
    told = {(one.phase, one.metric): one for one in changes if one.metric == "event_recovery_s"}
    assert set(told) == {(DOWN, "event_recovery_s"), (UP, "event_recovery_s")}
    assert told[UP, "event_recovery_s"].verdict == "regression"
    assert told[DOWN, "event_recovery_s"].verdict == "no difference found"


def traffic() -> pd.DataFrame:
    sent = np.arange(0, 10, 0.1)
    lost = (sent > 3.2) & (sent < 5)
    return pd.DataFrame(
        {
            "trial": "t1",
            "src": "a",
            "dst": "b",
            "flow": "traffic",
            "sent_s": sent,
            "rtt_ms": np.where(lost, np.nan, 20.0),
            "way": np.where(sent > 5, "relayed", "direct"),
        }
    )


def test_spans_tell_what_was_answered_and_by_which_way() -> None:
    found = binned(traffic(), pairs_frame(RECORDS))
    assert found["asked"].sum() == 100 and found["answered"].sum() == traffic()["rtt_ms"].count()
    assert found.loc[found["from_s"] > 5.1, "way"].eq("relayed").all()
    assert (found.loc[found["answered"] == 0, "from_s"].between(3.0, 5.0)).all()
    assert spans(phases_frame(RECORDS)) == [("kill s", 3.0, 6.0)]


def test_the_plot_shows_events_and_silence() -> None:
    (wanted,) = (plot for one in shown().values() for plot in one.plots if plot.kind == "timeline")
    rows = pairs_frame(RECORDS)
    look = looks([subject for subject, _ in groups(rows)])
    (plot,) = timeline_plot(traffic(), phases_frame(RECORDS), rows, wanted, look)
    with mpl.rc_context():
        figure = figure_of(plot, STYLES["screen"])
    assert "kill s" in {text.get_text() for text in figure.axes[0].texts}
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["nebula mesh"]
    assert timeline_plot(traffic().iloc[:0], phases_frame(RECORDS), rows, wanted, look) == []


def test_the_page_draws_it_from_the_files_of_the_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "dies"}, [])
    for one in (trial("t1", "nebula", "mesh", down_s=0.1, up_s=0.2),):
        folder.append(one)
    evidence = folder.path / CSV.format("t1")
    evidence.parent.mkdir(parents=True)
    traffic().drop(columns=["trial", "src", "dst"]).to_csv(evidence, index=False)
    folder.finish()
    found = traffic_of(folder.path, RECORDS[RECORDS["trial"] == "t1"], "phase_answered_ratio")
    assert len(found) == 100, "each file once, whatever the number of phases"
    page = write_report(folder.path).read_text()
    assert "Event by event" in page and (folder.path / "plots" / "timeline.svg").exists()
