"""Whether the instrument can be trusted: what was observed of NATs and links, and what did not count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.report.order import subject_name
from harness.report.seen import saw
from harness.report.tables import TextTable
from harness.results.statistics import as_floats

_FIGURES = (
    ("link_lateness_p99_us", "lateness of the link emulator, 99th percentile", "us", 0),
    ("repeated_measurements", "measurements of a trial that were repeated because a link was late", "", 0),
    ("lab_start_s", "lab start", "s", 2),
    ("fixed_overhead_s", "fixed overhead of a trial", "s", 2),
    ("duration_s", "duration of a trial", "s", 1),
)


_MOST_TROUBLES, _LONGEST_WHY = 50, 200


@dataclass(frozen=True)
class Quality:
    """The appendix. `nats` tells per declared label what was observed, `skipped` what could not be measured and why."""

    figures: TextTable
    nats: TextTable
    skipped: TextTable
    troubles: TextTable
    backends: list[str]
    claims_checked: int
    claims_wrong: list[str]


def quality_of(records: pd.DataFrame, trials: pd.DataFrame) -> Quality:
    """Return the instrument's own figures from a run's records and trials."""
    rows = []
    for metric, name, unit, digits in _FIGURES:
        values = as_floats(records.loc[records["metric"] == metric, "value"].dropna())
        if values.size:
            low, middle, high = np.quantile(values, [0, 0.5, 1])
            rows.append((name, *(f"{value:.{digits}f}" for value in (low, middle, high)), unit, str(values.size)))
    figures = TextTable(
        "The instrument's own figures",
        ("figure", "smallest", "median", "largest", "unit", "trials"),
        tuple(rows),
        frozenset({1, 2, 3, 5}),
    )
    carried = records[["link_backend", "link_accounts"]].astype(object).drop_duplicates().dropna(subset="link_backend")
    backends = sorted(
        name if not isinstance(accounts, str) else f"{name} (accounted for: {accounts})"
        for name, accounts in carried.itertuples(index=False, name=None)
    )
    claimed = trials[(trials["path"] != "") & (trials["path_claimed"] != "")]
    wrong = claimed[claimed["path"] != claimed["path_claimed"]]
    sentences = [
        f"{row.trial}: the overlay says {row.path_claimed}, {saw(str(row.engine), str(row.path))}"
        for row in wrong.itertuples(index=False)
    ]
    return Quality(figures, _nats(trials), _skipped(records), _troubles(trials), backends, len(claimed), sentences)


def _skipped(records: pd.DataFrame) -> TextTable:
    """Return the probes that were not run on what an overlay offers; for an unsupported mode its trial says so."""
    rows = records[(records["outcome"] == "unsupported") & (records["probe"] != "trial")]
    counts = Counter(
        (subject_name(str(row.overlay), str(row.mode)), str(row.probe), _why(row.error)) for row in rows.itertuples()
    )
    return TextTable(
        "What was not measured, with the reason",
        ("overlay", "probe", "reason", "pairs"),
        tuple((*key, str(count)) for key, count in sorted(counts.items())),
        frozenset({3}),
    )


def _troubles(trials: pd.DataFrame) -> TextTable:
    bad = trials[trials["outcome"] != "ok"].sort_values(["outcome", "trial"]) if len(trials) else trials
    rows = [(str(row.trial), str(row.outcome), _why(row.error)) for row in bad.head(_MOST_TROUBLES).itertuples()]
    note = (
        "failed: the overlay's fault; what it did not reach counts as no success. Trials with another outcome "
        "are not counted."
    )
    if len(bad) > len(rows):
        note += f" The first {len(rows)} of {len(bad)}."
    return TextTable("Trials that are not ok, with the reason", ("trial", "outcome", "reason"), tuple(rows), note=note)


def _why(error: object) -> str:
    lines = error.strip().splitlines() if isinstance(error, str) else []
    if not lines:
        return "-"
    return lines[0] if len(lines[0]) <= _LONGEST_WHY else lines[0][: _LONGEST_WHY - 1] + "…"


def _nats(trials: pd.DataFrame) -> TextTable:
    sides = [
        trials[["trial", f"nat_{side}", f"nat_{side}_observed"]].set_axis(["trial", "declared", "observed"], axis=1)
        for side in "ab"
    ]
    both = pd.concat(sides)
    both["observed"] = both["observed"].astype(object).where(both["observed"].notna(), "not measured")
    both = both[both["declared"] != ""]
    counts = Counter(zip(both["declared"].astype(str), both["observed"].astype(str), strict=True))
    rows = [(declared, observed, str(count)) for (declared, observed), count in sorted(counts.items())]
    note = "Observed: by probes that do not know the ruleset. A trial whose NAT is not as declared is invalid."
    header = ("declared", "observed", "times")
    return TextTable("NATs: declared and observed", header, tuple(rows), frozenset({2}), note)
