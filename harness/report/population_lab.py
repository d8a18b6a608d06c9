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
        return " A path in the lab counts as direct if it was so by the lab's own deadline, which is not recorded here."
    deadline_s = described["deadline_s"]
    made = sorted(
        {f"run {cell['run']} at commit {cell['commit']}, link {cell['link']}" for cell in lab if "run" in cell}
    )
    of_lab = f" The lab's cells come from {' and '.join(made)}." if made else ""
    longer = sorted({each for cell in lab for each in cell["waited_s"] if each != deadline_s})
    if not longer:
        return (
            f" A path in the lab counts as direct if it was so within {deadline_s:g} s, the time for which the "
            f"lab waited.{of_lab}"
        )
    text = (
        f" A path in the lab counts as direct if it was so within {deadline_s:g} s and still when the lab stopped "
        f"waiting, after {' or '.join(f'{each:g}' for each in longer)} s."
    )
    if untold := sum(cell["untold"] for cell in lab):
        text += (
            f" {untold} of its pairs are left out, because they were direct in the end but it is not known since when."
        )
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
    header = ("cell", "technique", "algebra", "engine", "emulation", *LAYERS, "the oracle's reason")
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
    held += [
        f"{layers}: of {len(of_lab)} rows with lab runs {_tally(of_lab, layers)}" for layers in LAYERS[1:] if of_lab
    ]
    text = (
        f"{'; '.join(held)}. Each of the three columns compares two layers: a verdict, the difference of their rates "
        "in percentage points, and its 99 % interval (Wilson's; between two samples Newcombe's). Differ: an exact "
        "test finds a difference at 1 % (binomial against the algebra; between two samples Barnard's, or Fisher's if "
        f"one has more than {MOST_EXACT} runs). Agree: it finds none, although so many runs would have shown "
        f"{100 * DIFFERENCE:.0f} points with a power of {100 * POWER:.0f} %; smaller differences within the interval "
        "remain possible. Otherwise there are too few runs. Near 0 and 100 % the interval is approximate and may "
        "exclude zero although the test finds no difference; the verdict is the test's. The test finds a difference "
        "where there is none at most once in a hundred times, so that a few of several hundred cells may differ by "
        "chance. Conditions of one cell use the same seeds: what differs by chance in one is likely to differ in the "
        "others as well."
    )
    text += f" Links of the simulation: {links or 'not recorded'}."
    if of_lab:
        text += (
            " A row with lab runs covers all cells in which the same NATs are in effect, because the lab has these "
            "NATs only once: the simulated worlds of these cells are added up, and the algebra is their mean. The "
            "lab's runs of these NATs are the same in every condition. Cells without lab runs have a row only if "
            "they differ."
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
    return f"{found['agree']} agree, {found['differ']} differ, {found['cannot tell']} have too few runs"


def _held(held: Held | None) -> str:
    if held is None:
        return NOTHING
    between, low, high = (f"{100 * each:+.1f}" for each in (held.between, held.low, held.high))
    verdict = "too few runs" if held.verdict == "cannot tell" else held.verdict
    return f"{verdict}: {between} [{low}, {high}]"


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
        "pairs direct (%), as declared",
        "the same with lab rates (%)",
        "lab runs used",
        "pairs that the lab covers (%)",
        "lab's cells: expected (%)",
        "lab's cells: seen (%)",
        "within (s)",
        "lab runs",
        "cells that differ",
    )
    return TextTable(
        "What products would reach", header, tuple(rows), frozenset(range(3, 11)), _declared_note(described)
    )


def _declared_note(described: Mapping[str, Any]) -> str:
    dual = math.fsum(each["share"] for each in described["access"].values() if each.get("ipv6"))
    deadline_s = described["deadline_s"]
    text = (
        "As declared: the most that the technique declared by the product's adapter can reach, by the algebra. Port "
        "mapping and IPv6 count in rows that name them, where the type of access has them; the adapter says whether "
        "the product, as deployed here, asks routers for ports or runs over IPv6. IPv4 only here: the adapter "
        f"deploys the product over IPv4 alone, so that the {percent(dual, 0)} % of peers who have IPv6 gain nothing "
        "from it; compare such rows only with each other."
    )
    if not described.get("emulated"):
        return text
    return text + (
        f" The same with lab rates: in each cell where the lab's rate within {deadline_s:g} s differs from what is "
        f"declared (exact test at 1 %) and rests on {FEWEST_RUNS} runs or more, the lab's rate is used. Because it is "
        "used only where it differs, it tends to exaggerate, so that this column is an indication only. The next two "
        "columns give the number of lab runs used (0: no rate was replaced), and the share of all pairs in cells "
        f"that the lab covers.{lab_said(described)} Expected and seen are means over the lab's cells, regardless of "
        "their shares, within the time for which the lab waited (the column within): techniques are declared without "
        "a speed, so that a slower product differs. The last column names every cell that differs, with its counts, "
        "however few its runs."
    )
