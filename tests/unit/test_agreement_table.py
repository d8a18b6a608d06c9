"""The table that holds algebra, engine and lab together: a verdict and an interval for each two of them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.report.population_lab import agreement_table
from harness.report.tables import TextTable
from harness.results.agreement import ENGINE_ALGEBRA, LAB_ALGEBRA, LAB_ENGINE, CellAgreement, by_nats
from harness.results.counts import Count, difference

PARAMS = {"technique": "birthday", "port_mapping": False, "ipv6": False, "group": 2}
LAB = {"link": "fibre", "run": "abc", "commit": "123", "waited_s": [10.0], "untold": 0}


def cell(first: str, simulated: Count, emulated: Count | None = None, **says: Any) -> CellAgreement:
    said: dict[str, Any] = {"params": PARAMS, "expected": 1.0, "nats": ("cgn", first), "reason": "it follows"} | says
    shared = {"second": "carrier", "shared_layers": 0, "share": 0.1}
    return CellAgreement(first=first, simulated=simulated, emulated=emulated, **shared, **said)


def table_of(*cells: CellAgreement, lab: bool = True) -> TextTable:
    return agreement_table(cells, {"deadline_s": 10.0, "emulated": [LAB] if lab else []}, "8 ms one way")


def rows_of(table: TextTable) -> list[dict[str, str]]:
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def test_each_two_layers_have_a_verdict_and_an_interval_of_their_own() -> None:
    """A row said `agree` or `differ` of all three together, so a lab of one trial made every one of them untold."""
    (row,) = rows_of(table_of(cell("strict", Count(100, 100), Count(1, 1))))
    assert row[ENGINE_ALGEBRA] == "agree: +0.0 [-6.2, +0.0]"
    assert row[LAB_ENGINE].startswith("too few runs: +0.0 [-86.9, ")
    assert row[LAB_ALGEBRA] == "too few runs: +0.0 [-86.9, +0.0]"
    (row,) = rows_of(table_of(cell("strict", Count(100, 100), Count(20, 30))))
    assert row[ENGINE_ALGEBRA].startswith("agree")
    assert row[LAB_ENGINE].startswith("differ: -33.3 [-5")
    assert row[LAB_ALGEBRA].startswith("differ: -33.3 [-")
    assert row["the oracle's reason"] == "it follows"


def test_the_interval_of_a_difference_is_newcombes() -> None:
    """The first row of his table II, 56/70 against 48/80, at 95 %; tables here have 99 %."""
    assert difference(Count(56, 70), Count(48, 80), 0.95) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    low, high = difference(Count(56, 70), Count(48, 80))
    assert low < 0.0524
    assert high > 0.3339
    assert (low, high) == pytest.approx(tuple(-each for each in difference(Count(48, 80), Count(56, 70))[::-1]))
    assert difference(Count(0, 10), Count(10, 10))[0] == -1.0


def test_cells_in_which_the_same_nats_are_in_effect_are_one_row_with_a_lab() -> None:
    """Else one trial of the lab looked like as many as there are types of access that do alike."""
    alike = [
        cell("dual", Count(50, 50), Count(3, 3), nats=("cgn", "symmetric"), expected=1.0),
        cell("mapping", Count(30, 50), Count(3, 3), nats=("cgn", "symmetric"), expected=0.5),
    ]
    other = cell("strict", Count(100, 100), Count(30, 30))
    one, two = by_nats([*alike, other])
    assert (one.simulated, one.emulated, one.cells) == (Count(80, 100), Count(3, 3), 2)
    assert (one.expected, one.share) == (pytest.approx(0.75), pytest.approx(0.2))
    assert two == other
    table = table_of(*alike, other)
    assert [row["cell"] for row in rows_of(table)] == ["cgn x symmetric (2 cells)", "cgn x strict"]
    assert f"{LAB_ENGINE}: of 2 rows with lab runs 1 agree, 0 differ, 1 have too few runs" in table.note
    # In another condition they are another row: with port mapping they do otherwise.
    mapped = cell("dual", Count(50, 50), Count(3, 3), nats=("cgn", "symmetric"), params=PARAMS | {"port_mapping": True})
    assert len(by_nats([*alike, mapped])) == 2


def test_a_cell_that_differs_among_others_that_are_added_up_has_its_own_row() -> None:
    good, bad = (cell(name, Count(k, 100), Count(9, 9), nats=("cgn", "x")) for name, k in (("a", 100), ("b", 90)))
    rows = rows_of(table_of(good, bad))
    assert [row["cell"] for row in rows] == ["cgn x x (2 cells)", "b x carrier"]
    assert [row["emulation"][:3] for row in rows] == ["9/9", "-"], "the lab's runs stand once"
    assert all(row[ENGINE_ALGEBRA].startswith("differ") for row in rows)
    # Where the row is of that cell alone it would say the same twice.
    assert len(rows_of(table_of(bad))) == 1


def test_the_note_has_both_links_and_what_chance_does() -> None:
    table = table_of(cell("strict", Count(100, 100), Count(9, 9)))
    assert "Links of the simulation: 8 ms one way." in table.note
    assert "Links of the lab: fibre; the algebra's rates are for the links of the simulation." in table.note
    assert "use the same seeds" in table.note
    alone = table_of(*(cell(name, Count(100, 100)) for name in "abc"), cell("d", Count(3, 3)), lab=False)
    assert [(row["cell"], row[ENGINE_ALGEBRA]) for row in rows_of(alone)] == [
        ("3 others, each", "agree"),
        ("1 others, each", "cannot tell"),
    ]
    assert f"{ENGINE_ALGEBRA}: of 4 simulated cells 3 agree, 0 differ, 1 have too few runs" in alone.note
    assert "Links of the lab" not in alone.note


def test_a_cell_that_is_a_row_by_itself_is_that_very_cell() -> None:
    """Weighted by itself 0.1 came out as another number, so a cell that differs stood there twice."""
    alone = cell("strict", Count(3, 3), Count(9, 9), expected=0.1)
    assert by_nats([alone]) == [alone]
    assert [row["cell"] for row in rows_of(table_of(alone))] == ["cgn x strict"]
