"""The comparison of two runs as a self-contained page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.report.comparison import HOW_TO_READ, TOLD, change_text, changes_table, remarks, verdict_line
from harness.report.facts import asked, machine, reproduce
from harness.report.page import render
from harness.results.changes import Change
from harness.results.compare import Comparison
from harness.results.files import write_atomically
from harness.results.loading import Results
from harness.results.metrics import metric_of

# Bars reach this share of the baseline to either side; longer ones are cut, their numbers are not.
_REACH = 1.0


@dataclass(frozen=True)
class Bar:
    """A change as a bar; positions in percent of the bar's width."""

    name: str
    text: str
    kind: str
    zero: float
    low: float
    width: float
    at: float


def write_comparison(
    comparison: Comparison, base: Results, new: Results, path: Path, circumstances: Sequence[str] = ()
) -> None:
    """Write the page."""
    told = [change for change in comparison.changes if change.verdict in TOLD]
    rest = [change for change in comparison.changes if change not in told]
    tables = [changes_table(told, "What changed")] if told else []
    if rest:
        tables.append(changes_table(rest, "All other comparisons" if told else "All comparisons"))
    page = render(
        "comparison.html.j2",
        base=str(base.path),
        new=str(new.path),
        verdict=verdict_line(comparison),
        remarks=remarks(comparison, circumstances),
        tables=tables,
        rows=bars(told),
        how_to_read=HOW_TO_READ,
        alpha=comparison.rule.alpha,
        base_facts=[*asked(base), *reproduce(base.manifest), *machine(base.manifest)],
        new_facts=[*asked(new), *reproduce(new.manifest), *machine(new.manifest)],
    )
    write_atomically(path, page.encode())


def bars(changes: Sequence[Change]) -> list[Bar]:
    """Return bars of the changes that have a baseline to be a share of."""
    found = []
    for change in changes:
        scale = 1.0 if metric_of(change.metric).estimator == "proportion" else abs(change.base)
        if not scale or not math.isfinite(scale) or not math.isfinite(change.change):
            continue
        low, at, high = (
            _place(value / scale) for value in (_or(change.low, change), change.change, _or(change.high, change))
        )
        found.append(
            Bar(f"{change.subject}: {change.what}", change_text(change), change.verdict, 50.0, low, high - low, at)
        )
    return found


def _or(value: float, change: Change) -> float:
    return change.change if math.isnan(value) else value


def _place(share: float) -> float:
    return 50 + 50 * max(-_REACH, min(_REACH, share)) / _REACH
