"""Intervals in a paper's tables: of one cell alone, since the NATs of several were chosen and not drawn."""

from collections.abc import Sequence

import pandas as pd
import pytest
from result_samples import Maker

from harness.report.measured import all_tables
from harness.report.tables import TextTable
from harness.results.frame import records_frame
from harness.results.pairs import pairs_frame
from harness.results.phases import phases_frame

NATS = ("full-cone", "restricted-cone", "port-restricted", "symmetric", "cgn", "none")


def trials(cells: Sequence[str], repeats: int = 10) -> pd.DataFrame:
    """Return records of cells without chance: the NAT alone decides about paths, black holes and gaps."""
    maker, rows = Maker(), []
    for number, nat in enumerate(cells):
        late = number % 2
        for repeat in range(repeats):
            noise = 0.01 * repeat
            same = {"trial": f"{nat}-{repeat}", "repeat": repeat, "seed": repeat, "nat_a": nat, "nat_b": nat}
            pair = same | {"src": "a", "dst": "b", "path": "relayed" if late else "direct"}
            after = pair | {"phase": "after kill s"}
            rows += [
                maker.one("path", "connect_success", "1", 1, **pair | {"params": {"deadline_s": 15}}),
                maker.one("path", "hole_punch_success", "1", 1 - late, **pair),
                maker.one("path", "time_to_direct_s", "s", None if late else 3 + noise, **pair),
                maker.one("latency", "added_rtt_p50_ms", "ms", 10 + 20 * number + noise, **pair),
                maker.one("mtu", "pmtu_black_hole", "1", late, **pair),
                maker.one("continuity", "event_at_s", "s", 5, **same | {"phase": "after kill s"}),
                maker.one("continuity", "event_gap_s", "s", 1 + 5 * number + noise, **after),
                maker.one("trial", "duration_s", "s", 5, **same),
            ]
    return records_frame([row.as_dict() for row in rows])


def tables(records: pd.DataFrame) -> list[TextTable]:
    return all_tables(pairs_frame(records), phases_frame(records), intervals=True)


def texts(records: pd.DataFrame) -> list[str]:
    return [text for table in tables(records) for row in table.rows for text in row]


def test_what_is_over_chosen_nats_has_no_interval_but_says_over_how_many_cells() -> None:
    found = texts(trials(NATS))
    assert not [text for text in found if "[" in text]
    assert "3/6 cells" in found and ">15 (6 cells)" in found
    assert {"10/30 (3 cells)", "0/30 (3 cells)", "30/30 (3 cells)"} & set(found), "black holes"
    assert "50.0 (3 cells)" in found, "added RTT of the direct cells"
    assert any(text.endswith("(3 cells)") and text.startswith("11.") for text in found), "gaps after an event"
    overview = tables(trials(NATS))[0]
    assert "60 trials in 6 cells" in overview.note and "95 %" not in overview.note
    assert "hole punch and direct after (s): over all paths" in overview.note


def test_one_cell_has_its_intervals() -> None:
    found = texts(trials(NATS[:1]))
    assert not [text for text in found if "cells" in text]
    assert "10/10 [72, 100 %]" in found and "0/10 [0, 28 %]" in found
    assert any(text.startswith("10.0 [10.0, 10.1]") for text in found)
    notes = [table.note for table in tables(trials(NATS[:1]))]
    assert sum("95 % intervals" in note for note in notes) >= 2
    assert not [note for note in notes if "In parentheses" in note]


@pytest.mark.parametrize("several", [False, True])
def test_a_rate_of_pairs_behind_different_nats_has_no_interval(several: bool) -> None:
    """Ten trials of one cell, three members each: which of the pairs have a black hole is set by their NATs."""
    maker, rows = Maker(), []
    nats = {"p": "symmetric", "q": "full-cone" if several else "symmetric", "r": "symmetric"}
    for repeat in range(10):
        facts = {name: {"nat": nat} for name, nat in nats.items()}
        same = {"trial": f"t{repeat}", "repeat": repeat, "seed": repeat, "pair": facts}
        for src, dst in (("p", "q"), ("p", "r"), ("q", "r")):
            pair = same | {"src": src, "dst": dst, "path": "direct"}
            rows.append(maker.one("path", "connect_success", "1", 1, **pair))
            rows.append(maker.one("mtu", "pmtu_black_hole", "1", float(src == "q"), **pair))
        rows.append(maker.one("trial", "duration_s", "s", 5, **same))
    found = [text for text in texts(records_frame([row.as_dict() for row in rows])) if text.startswith("10/30")]
    assert len(found) == 1 and ("[" in found[0]) is not several
