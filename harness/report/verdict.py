"""What a run found, in three sentences."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from harness.model.nat_order import nat_rank
from harness.report.order import subject_name
from harness.report.tables import groups, left_out
from harness.results import statistics
from harness.results.conditions import condition_labels
from harness.results.statistics import as_floats, proportion


def verdict(trials: pd.DataFrame) -> list[str]:
    """Three sentences: what ran, who got through directly, what it cost."""
    return [sentence for sentence in (_ran(trials), _punched(trials), _cost(trials)) if sentence]


def _ran(trials: pd.DataFrame) -> str:
    counts = Counter(trials["outcome"])
    subjects = [subject_name(*subject) for subject, _ in groups(trials)]
    rest = left_out(trials["outcome"])
    fine = f"{counts['ok']} of {len(trials)} trials are ok" if rest else f"All {len(trials)} trials ran"
    return f"{fine} ({listed(subjects)}){f'; {rest}, and those are shown, not dropped' if rest else ''}."


def _punched(trials: pd.DataFrame) -> str:
    parts = []
    for subject, group in groups(trials):
        values = as_floats(group["hole_punch_success"].dropna())
        if subject[0] == "underlay" or not values.size:
            continue
        estimate = proportion(round(float(values.sum())), values.size)
        never = _never(group)
        parts.append(
            f"{subject_name(*subject)} in {int(values.sum())} of {values.size} trial{'s' if values.size > 1 else ''} "
            f"(95 % interval {100 * estimate.low:.0f} to {100 * estimate.high:.0f} %"
            + (f"; never for {listed(never)})" if never and len(never) <= 3 else ")")
        )
    return f"A hole was punched by {listed(parts, '; ')}." if parts else ""


def _never(group: pd.DataFrame) -> list[str]:
    best: dict[tuple[str, str], float] = {}
    counted = group.dropna(subset="hole_punch_success")
    for nat_a, nat_b, value in zip(counted["nat_a"], counted["nat_b"], counted["hole_punch_success"], strict=True):
        best[nat_a, nat_b] = max(value, best.get((nat_a, nat_b), 0.0))
    never = [pair for pair, value in best.items() if not value]
    pairs = sorted(never, key=lambda pair: (nat_rank(pair[0]), nat_rank(pair[1])))
    return [" x ".join(label or "no NAT" for label in pair) for pair in pairs]


def _cost(trials: pd.DataFrame) -> str:
    overlays = trials[trials["overlay"] != "underlay"]
    parts = []
    for name, paths in (("a direct path", ("direct",)), ("a relay or hub", ("relayed", "mixed"))):
        rows = overlays[overlays["path"].isin(paths)]
        rtt, share = (as_floats(rows[name].dropna()) for name in ("added_rtt_p50_ms", "tcp_throughput_ratio"))
        facts = []
        if rtt.size:
            facts.append(f"{statistics.middle(rtt):+.1f} ms round trip")
        if share.size and np.isfinite(share).all():
            facts.append(f"{100 * statistics.middle(share):.0f} % of the TCP throughput")
        if facts:
            parts.append(f"over {name} {' and '.join(facts)}")
    conditions = condition_labels(trials).nunique()
    over = f" over {conditions} conditions" if conditions > 1 else ""
    return f"Against the underlay, in the median{over}: {'; '.join(parts)}." if parts else ""


def listed(items: list[str], separator: str = ", ") -> str:
    """Items as in a sentence."""
    if len(items) < 2:
        return "".join(items)
    last = " and " if separator == ", " else f"{separator}and "
    return f"{separator.join(items[:-1])}{last}{items[-1]}"
