"""A comparison as Markdown for a pull request, as JSON, and as a page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.report.markup import to_markdown
from harness.report.tables import TextTable
from harness.results.changes import Change
from harness.results.compare import Comparison
from harness.results.metrics import metric_of

_HEADER = (
    *("subject", "metric", "verdict", "change", "95 % interval", "base", "new"),
    *("Cliff's delta", "p (Holm)", "pairs"),
)
_NUMERIC = frozenset(range(3, 10))


def verdict_line(comparison: Comparison) -> str:
    """The verdict in one or two sentences."""
    counts = Counter(change.verdict for change in comparison.changes)
    rule = comparison.rule
    if counts["regression"]:
        found = f"{counts['regression']} regression(s) at alpha = {rule.alpha:g} after Holm's correction."
    else:
        found = f"No regression found at alpha = {rule.alpha:g} after Holm's correction; that does not say equal."
    if counts["undecided"]:
        found += (
            f" {counts['undecided']} of {len(comparison.changes)} comparisons had too few pairs to show anything;"
            f" about {comparison.pairs_needed} pairs a subject are needed (--repeat)."
        )
    return found


def remarks(comparison: Comparison) -> list[str]:
    """What a reader must know to judge the comparison."""
    matching = comparison.matching
    lines = [f"{name} differs: base {old}, new run {new}" for name, (old, new) in matching.changed.items()]
    if not matching.by_seed:
        lines.append("the runs share no seed: trials are paired by cell and repeat only")
    for name, cells in (("base", matching.only_base), ("new run", matching.only_new)):
        if cells:
            more = f" and {len(cells) - 5} more" if len(cells) > 5 else ""
            lines.append(f"only in the {name}: {'; '.join(cells[:5])}{more}")
    if comparison.shift.factor > 1.1:
        moved = ", ".join(f"{name} x {ratio:.2f}" for name, ratio in comparison.shift.ratios.items())
        lines.append(
            f"the machine itself moved between the runs ({moved}): "
            f"what changed by less than a factor of {comparison.shift.factor:.2f} is not called"
        )
    if comparison.left_out:
        lines.append(f"the machines differ, so absolutes are left out: {', '.join(comparison.left_out)}")
    return lines


def changes_table(changes: Sequence[Change], title: str) -> TextTable:
    """The changes as text."""
    rows = [
        (
            change.subject,
            change.metric,
            change.verdict,
            change_text(change),
            interval_text(change),
            number(change.base, change),
            number(change.new, change),
            f"{change.delta + 0.0:+.2f}",
            f"{change.p_corrected:.2g}",
            str(change.pairs),
        )
        for change in changes
    ]
    return TextTable(title, _HEADER, tuple(rows), _NUMERIC)


def change_text(change: Change) -> str:
    """The change with its share of the baseline."""
    text = number(change.change, change, sign=True)
    if metric_of(change.metric).estimator == "proportion" or not (math.isfinite(change.base) and change.base):
        return text
    return f"{text} ({100 * change.change / change.base:+.0f} %)" if abs(change.change) < 1e8 else text


def interval_text(change: Change) -> str:
    """The change's interval; a dash for one pair, which has none."""
    if math.isnan(change.low):
        return "-"
    low, high = (number(end, change, sign=True) for end in (change.low, change.high))
    unit = " %" if change.unit == "1" else f" {change.unit}"
    if low.endswith(unit) and high.endswith(unit):
        return f"[{low.removesuffix(unit)}, {high.removesuffix(unit)}]{unit}"
    return f"[{low}, {high}]"


def number(value: float, change: Change, *, sign: bool = False) -> str:
    """A value with its unit, as many digits as matter; beyond a deadline it is just `late`."""
    if math.isnan(value):
        return "-"
    if math.isinf(value) or abs(value) >= 1e8:
        return "late" if value > 0 else "no more late"
    value = value + 0.0
    plus = "+" if sign else ""
    if change.unit == "1":
        return f"{100 * value:{plus}.1f} %"
    return f"{value:{plus}.3g} {change.unit}"


def to_summary(comparison: Comparison, base: str, new: str) -> str:
    """Markdown for a pull request: the verdict, what changed, and all the rest folded away."""
    told = [change for change in comparison.changes if change.verdict in {"regression", "improvement"}]
    rest = [change for change in comparison.changes if change not in told]
    parts = [f"## overlaybench: `{new}` against `{base}`", verdict_line(comparison)]
    if notes := remarks(comparison):
        parts.append("\n".join(f"- {note}" for note in notes))
    if told:
        parts.append(to_markdown(changes_table(told, "Changes")).rstrip())
    if rest:
        table = to_markdown(changes_table(rest, "All others")).rstrip()
        parts.append(f"<details><summary>{len(rest)} other comparisons</summary>\n\n{table}\n\n</details>")
    parts.append(
        "The change is the median over pairs of new minus base, which need not be the difference of the two medians; "
        "Cliff's delta is +1 where every new value is worse."
    )
    return "\n\n".join(parts) + "\n"


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON-ready data; numbers that JSON lacks become null."""
    return {
        "regressions": len(comparison.regressions),
        "verdict": verdict_line(comparison),
        "alpha": comparison.rule.alpha,
        "remarks": remarks(comparison),
        "changes": [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in asdict(change).items()
            }
            for change in comparison.changes
        ],
    }
