"""What a report says of algebra, engine and emulation held together, and of what products would reach."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.report.population_plots import condition_name
from harness.report.population_times import percent
from harness.report.tables import NOTHING, TextTable
from harness.results.agreement import ENGINE_ALGEBRA, LAYERS, CellAgreement, Held, by_nats
from harness.results.counts import DIFFERENCE, FEWEST_RUNS, MOST_EXACT, POWER, Count


def lab_said(described: Mapping[str, Any]) -> str:
    """Return sentences on the lab's runs and what of them counts as direct; empty where there are none."""
    lab = described.get("emulated", ())
    if not lab:
        return ""
    if any("waited_s" not in cell for cell in lab):
        return " A path of the lab counts if it was direct by the lab's own deadline, which is not recorded here."
    deadline_s = described["deadline_s"]
    made = sorted(
        {f"run {cell['run']} at commit {cell['commit']}, link {cell['link']}" for cell in lab if "run" in cell}
    )
    of_lab = f" The lab's cells are those of {' and '.join(made)}." if made else ""
    longer = sorted({each for cell in lab for each in cell["waited_s"] if each != deadline_s})
    if not longer:
        return f" A path of the lab counts if it was direct within {deadline_s:g} s; so long the lab waited.{of_lab}"
    text = (
        f" A path of the lab counts if it was direct within {deadline_s:g} s and still was when the lab stopped "
        f"waiting, after {' or '.join(f'{each:g}' for each in longer)} s."
    )
    if untold := sum(cell["untold"] for cell in lab):
        text += f" {untold} of its pairs are left out: they were direct in the end, but it is not known since when."
    return text + of_lab


def agreement_table(cells: Sequence[CellAgreement], described: Mapping[str, Any], links: str | None) -> TextTable:
    """Return each two of the three layers held against each other.

    Args:
        links: those of the simulation, as people read them.
    """
    judged = [cell for cell in cells if cell.simulated is not None]
    of_lab = by_nats(judged)
    alone = {id(cell) for cell in judged if cell.emulated is None}
    own = [replace(cell, emulated=None) for cell in judged if _has_own_row(cell, of_lab)]
    shown = sorted([*of_lab, *own], key=lambda cell: not cell.complaints)
    rows = [
        (
            _name(cell),
            condition_name(cell.params),
            f"{cell.expected:.3f}",
            _count(cell.simulated),
            _count(cell.emulated),
            *(_held(cell.held.get(layers)) for layers in LAYERS),
            cell.reason if cell.complaints else "",
        )
        for cell in shown
    ]
    rest = [cell.held[ENGINE_ALGEBRA].verdict for cell in judged if id(cell) in alone and not cell.complaints]
    rows += [(f"{others} others, each", "", "", "", "", word, "", "", "") for word, others in Counter(rest).items()]
    header = ("cell", "technique", "algebra", "engine", "emulation", *LAYERS, "what the oracle says")
    return TextTable(
        "Algebra, engine, emulation", header, tuple(rows), frozenset({2}), _note(judged, of_lab, described, links)
    )


def _has_own_row(cell: CellAgreement, of_lab: Sequence[CellAgreement]) -> bool:
    """Tell whether the engine's worlds of this very cell differ from what is expected, and no other row says so."""
    if cell.held[ENGINE_ALGEBRA].verdict != "differ":
        return False
    return not any(one.cells == 1 and one == cell for one in of_lab)


def _name(cell: CellAgreement) -> str:
    if cell.emulated is None:
        return f"{cell.first} x {cell.second}" + (f" ({cell.shared_layers} shared)" if cell.shared_layers else "")
    nats = " x ".join(label or "public" for label in cell.nats)
    return f"{nats} ({cell.cells} cells)" if cell.cells > 1 else nats


def _note(
    judged: Sequence[CellAgreement], of_lab: Sequence[CellAgreement], described: Mapping[str, Any], links: str | None
) -> str:
    held = [f"{ENGINE_ALGEBRA}: of {len(judged)} simulated cells {_tally(judged, ENGINE_ALGEBRA)}"]
    held += [f"{layers}: of {len(of_lab)} rows with a lab {_tally(of_lab, layers)}" for layers in LAYERS[1:] if of_lab]
    text = (
        f"{'; '.join(held)}. Each verdict is of two layers, and beside it is the difference of their rates in "
        "percentage points with its 99 % interval (Wilson's; between two samples Newcombe's). Two layers differ where "
        "an exact test says so at 1 % (binomial against the algebra; between two samples Barnard's, or Fisher's where "
        f"one has more than {MOST_EXACT} runs), and agree where so many runs would have shown "
        f"{100 * DIFFERENCE:.0f} points with a power of {100 * POWER:.0f} %; else there are too few runs to tell. So "
        "`agree` rules out no difference that lies within the interval. The verdict is the test's: near 0 and 100 % "
        "the interval, which is an approximation, may leave out zero where the test finds no difference. Such a test "
        "finds a difference where there is none at most once in a hundred times, so one or another of some hundreds of "
        "cells may differ by chance. Conditions of one cell use the same seeds: what differs by chance in one is "
        "likely to differ in the others as well."
    )
    text += f" Links of the simulation: {links or 'not recorded'}."
    if of_lab:
        text += (
            " A row with a lab is of all cells in which the same NATs are in effect, because the lab has these once: "
            "their simulated worlds are added up, and the algebra is the mean. The lab's runs of these NATs are the "
            "same in every condition. Cells without a lab have a row only where they differ."
        )
        lab_links = sorted({str(cell["link"]) for cell in described["emulated"] if cell.get("link")})
        text += (
            f" Links of the lab: {' and '.join(lab_links) or 'not recorded'}; the algebra's rates are for the links of "
            "the simulation."
        )
    else:
        text += " Only cells that differ have a row."
    return text + lab_said(described)


def _tally(cells: Sequence[CellAgreement], layers: str) -> str:
    found = Counter(cell.held[layers].verdict for cell in cells)
    return f"{found['agree']} agree, {found['differ']} differ, {found['cannot tell']} have too few runs to tell"


def _held(held: Held | None) -> str:
    if held is None:
        return NOTHING
    between, low, high = (f"{100 * each:+.1f}" for each in (held.between, held.low, held.high))
    return f"{held.verdict}: {between} [{low}, {high}]"


def _count(count: Count | None) -> str:
    if count is None:
        return NOTHING
    low, high = count.interval()
    return f"{count.successes}/{count.runs} [{low:.3f}, {high:.3f}]"


def _runs(count: int | None) -> str:
    return NOTHING if count is None else str(count)


def declared_table(described: Mapping[str, Any]) -> TextTable:
    """Return what the technique that each product's adapter declares would reach, and what a lab saw of it."""
    rows = []
    for level in described["declared"]:
        within_s = level.get("emulated_within_s")
        rows.append(
            (
                level["overlay"],
                condition_name(level),
                "no" if level["ipv6"] else "yes",
                percent(level["pairs"]),
                percent(level.get("pairs_with_lab")),
                _runs(level.get("lab_runs")),
                percent(level.get("lab_covers"), 0),
                percent(level.get("emulated_expected")),
                percent(level.get("emulated")),
                NOTHING if within_s is None else f"{within_s:g}",
                _runs(level.get("emulated_runs")),
                ", ".join(level.get("differs", ())),
            )
        )
    header = (
        "overlay",
        "declares",
        "IPv4 only here",
        "pairs direct %, as declared",
        "with the lab's cells %",
        "lab runs behind that",
        "lab has % of pairs",
        "lab's cells: expected %",
        "seen %",
        "within s",
        "lab runs",
        "differ",
    )
    return TextTable(
        "What products would reach", header, tuple(rows), frozenset(range(3, 11)), _declared_note(described)
    )


def _declared_note(described: Mapping[str, Any]) -> str:
    dual = math.fsum(each["share"] for each in described["access"].values() if each.get("ipv6"))
    deadline_s = described["deadline_s"]
    text = (
        "As declared: what the technique that each adapter declares of its product can reach at most, by the algebra. "
        "A row that names port mapping or IPv6 counts them where an access has them; the adapter says whether the "
        "product, as it is deployed here, asks routers for ports or runs over IPv6. IPv4 only here: the adapter "
        f"deploys the product over IPv4 alone, so that the {percent(dual, 0)} % of peers who have IPv6 gain nothing "
        "from it; compare such rows with each other alone."
    )
    if not described.get("emulated"):
        return text
    return text + (
        f" With the lab's cells: the same with the lab's own rate within {deadline_s:g} s in each cell where that "
        f"differs from what is declared (exact test at 1 %) and is of {FEWEST_RUNS} runs or more; fewer tell no rate. "
        "A rate that is taken only where it differs is likely to be further off than the true one, so this column is "
        "an indication. The next two columns have the number of lab runs behind these rates, 0 where none was taken, "
        f"and the share of all pairs in cells that the lab has.{lab_said(described)} Expected and seen are means over "
        "the lab's cells, whatever their shares. Both are within the seconds that the row names, for which the lab "
        "waited: techniques are declared without a pace, and a product that needs longer differs. All cells that "
        "differ within these seconds are named with their counts, however few their runs."
    )
