"""A comparison as Markdown for a pull request, as JSON, and as a page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.report.markup import to_markdown
from harness.report.tables import TextTable
from harness.results.changes import CellChange, Change
from harness.results.compare import Comparison
from harness.results.metrics import metric_of
from harness.results.numbers import plain
from harness.results.session import Shift

_HEADER = (
    *("subject", "metric", "verdict", "change", "95 % interval", "base", "new"),
    *("Cliff's delta", "p (Holm)", "trials", "cells"),
)
_NUMERIC = frozenset(range(3, 10))
_MOST_CELLS = 3
_MOST_TOLD = 5
HOW_TO_READ = (
    "Base, new and change are each the median over cells (of rates the mean), so that the change need not be new minus "
    "base. Cliff's delta is +1 if every new value is worse, and -1 if every one is better. Detectable: the smallest "
    "change that these trials would have shown with a power of 90 %. late: not by the deadline."
)
# What the summary shows before it folds the rest away.
TOLD = frozenset({"regression", "improvement", "worse, not yet certain"})


def verdict_line(comparison: Comparison) -> str:
    """Return the verdict in a few sentences."""
    counts = Counter(change.verdict for change in comparison.changes)
    rule, total = comparison.rule, len(comparison.changes)
    if counts["regression"]:
        found = (
            f"{counts['regression']} regression{'s' * (counts['regression'] > 1)} at alpha = {rule.alpha:g} "
            "after Holm's correction."
        )
    elif counts["undecided"] == total:
        found = "Nothing was judged: there are too few trials to show any change."
    else:
        found = (
            f"No regression found at alpha = {rule.alpha:g} after Holm's correction. That does not mean that "
            "the runs are equal."
        )
    if counts["worse, not yet certain"]:
        more = " more" if counts["regression"] else ""
        found += f" {counts['worse, not yet certain']}{more} got worse, but not yet with certainty."
    if counts["undecided"]:
        found += f" {counts['undecided']} of {total} comparisons had too few trials to show any change."
    if comparison.repeats_needed:
        found += (
            f" With the noise of these runs, about {comparison.repeats_needed} repeats per cell (--repeat) would show "
            "changes of twice the minimum effect in all open comparisons, with a power of 90 %."
        )
    return found


def remarks(comparison: Comparison, circumstances: Sequence[str] = ()) -> list[str]:
    """Return what a reader must know to judge the comparison; `circumstances` are those of `Differences`."""
    matching = comparison.matching
    lines = [f"{name} differs: base {old}, new run {new}" for name, (old, new) in matching.changed.items()]
    lines += circumstances
    for name, cells in (("base", matching.only_base), ("new run", matching.only_new)):
        if cells:
            lines.append(f"only in the {name}: {_first(cells)}")
    if comparison.lacking:
        lines.append(f"measured in some trials only: {_first(comparison.lacking)}")
    if moved := _moved(comparison.shift):
        lines.append(
            f"the machine itself changed between the runs ({moved}): a change that the change of its control "
            "explains, by its direction and size, is reported as `machine moved`"
        )
    lines += comparison.remarks
    if comparison.left_out:
        lines.append(
            "not compared, because the two runs measured them with different settings or on machines of different "
            f"kinds: {', '.join(comparison.left_out)}"
        )
    return lines


def _moved(shift: Shift) -> str:
    """Return which controls moved, if any moved by as much as a reader must know."""
    by_factor = [f"{name} x {ratio:.2f}" for name, ratio in shift.ratios.items()] if shift.largest > 1.1 else []
    own = [f"the underlay's {name} {step:+.3g}" for name, step in shift.own.items() if step]
    far = [
        f"outliers of {name} {100 * rise:+.0f} percentage points"
        for name, rise in shift.outliers.items()
        if rise >= 0.05
    ]
    return ", ".join([*by_factor, *own, *far])


def _first(told: Sequence[str]) -> str:
    """Return the first few of what is told, and how many more there are."""
    more = f"; and {len(told) - _MOST_TOLD} more, all in --json" if len(told) > _MOST_TOLD else ""
    return "; ".join(told[:_MOST_TOLD]) + more


def changes_table(changes: Sequence[Change], title: str) -> TextTable:
    """Return the changes as text."""
    rows = [
        (
            change.subject,
            change.what,
            verdict_text(change),
            change_text(change),
            interval_text(change),
            number(change.base, change),
            number(change.new, change),
            f"{change.delta + 0.0:+.2f}",
            f"{change.p_corrected:.2g}",
            "/".join(map(str, change.trials)),
            cells_text(change),
        )
        for change in changes
    ]
    return TextTable(title, _HEADER, tuple(rows), _NUMERIC)


def verdict_text(change: Change) -> str:
    """Return the verdict; beside "no difference found" the smallest change that these trials can detect."""
    if change.verdict != "no difference found" or change.findable is None:
        return change.verdict
    if not math.isfinite(change.findable) or (change.unit == "1" and change.findable > 1):
        return f"{change.verdict} (detectable: none)"
    share = f" ({100 * change.findable / abs(change.base):.0f} %)" if _has_share(change) else ""
    return f"{change.verdict} (detectable: {number(change.findable, change)}{share})"


def _has_share(change: Change) -> bool:
    """Tell whether changes are given as shares of the baseline, too."""
    return metric_of(change.metric).estimator != "proportion" and math.isfinite(change.base) and change.base != 0


def cells_text(change: Change) -> str:
    """Return which cells changed for certain, and by how much; or that trials which are far off decided."""
    named = [cell for cell in change.cells if cell.cell in change.named]
    texts = [f"{cell.cell} ({_shift_text(cell, change)})" for cell in named[:_MOST_CELLS]]
    if len(named) > _MOST_CELLS:
        texts.append(f"and {len(named) - _MOST_CELLS} more of {len(change.cells)} cells")
    if change.outliers_worse:
        base, new = change.outliers
        texts.append(f"{100 * new:.0f} % of the values are above twice the median (base: {100 * base:.0f} %)")
    return "; ".join(texts)


def _shift_text(cell: CellChange, change: Change) -> str:
    return f"{number(cell.base, change)} to {number(cell.new, change)}"


def change_text(change: Change) -> str:
    """Return the change with its share of the baseline."""
    text = number(change.change, change, sign=True)
    if not _has_share(change):
        return text
    return f"{text} ({100 * change.change / change.base:+.0f} %)" if math.isfinite(change.change) else text


def interval_text(change: Change) -> str:
    """Return the change's interval; a dash for one pair, which has none."""
    if math.isnan(change.low):
        return "-"
    low, high = (number(end, change, sign=True) for end in (change.low, change.high))
    unit = " %" if change.unit == "1" else f" {change.unit}"
    if low.endswith(unit) and high.endswith(unit):
        return f"[{low.removesuffix(unit)}, {high.removesuffix(unit)}]{unit}"
    return f"[{low}, {high}]"


def number(value: float, change: Change, *, sign: bool = False) -> str:
    """Return a value with its unit, as many digits as matter; beyond a deadline it is just `late`."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "late" if value > 0 else "no longer late"
    value = value + 0.0
    plus = "+" if sign else ""
    if change.unit == "1":
        return f"{100 * value:{plus}.1f} %"
    return f"{plain(value, sign=sign)} {change.unit}"


def to_summary(comparison: Comparison, base: str, new: str, circumstances: Sequence[str] = ()) -> str:
    """Return Markdown for a pull request: the verdict, what changed, and all the rest folded away."""
    told = [change for change in comparison.changes if change.verdict in TOLD]
    rest = [change for change in comparison.changes if change not in told]
    parts = [f"## overlaybench: `{new}` against `{base}`", verdict_line(comparison)]
    if notes := remarks(comparison, circumstances):
        parts.append("\n".join(f"- {note}" for note in notes))
    if told:
        parts.append(to_markdown(changes_table(told, "Changes")).rstrip())
    if rest:
        table = to_markdown(changes_table(rest, "Other comparisons")).rstrip()
        parts.append(f"<details><summary>{len(rest)} other comparisons</summary>\n\n{table}\n\n</details>")
    parts.append(HOW_TO_READ)
    return "\n\n".join(parts) + "\n"


def to_json(comparison: Comparison, circumstances: Sequence[str] = ()) -> dict[str, Any]:
    """Return the comparison as JSON-ready data; numbers that JSON lacks become null."""
    return {
        "regressions": len(comparison.regressions),
        "verdict": verdict_line(comparison),
        "alpha": comparison.rule.alpha,
        "remarks": remarks(comparison, circumstances),
        "repeats_needed": comparison.repeats_needed,
        "only_base": comparison.matching.only_base,
        "only_new": comparison.matching.only_new,
        "lacking": list(comparison.lacking),
        "changes": [plain_json(asdict(change)) for change in comparison.changes],
    }


def plain_json(value: Any) -> Any:
    """Return what JSON has; beyond a deadline is the text `late` or `no longer late`, no number is null."""
    if isinstance(value, dict):
        return {key: plain_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "late" if value > 0 else "no longer late"
    return value
