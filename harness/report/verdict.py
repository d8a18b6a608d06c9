"""What a run found, in three sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.model.nat_order import nat_rank
from harness.report.intervals import cells_of, is_one_cell
from harness.report.order import subject_name
from harness.report.tables import groups, left_out, nat_pair, outcomes
from harness.results import statistics
from harness.results.clusters import estimate
from harness.results.conditions import condition_labels
from harness.results.statistics import as_floats


def verdict(rows: pd.DataFrame) -> list[str]:
    """Return three sentences on the rows of `pairs_frame`: what ran, who got through directly, what it cost."""
    return [sentence for sentence in (_ran(rows), _punched(rows), _cost(rows)) if sentence]


def _ran(rows: pd.DataFrame) -> str:
    counts = Counter(outcomes(rows))
    subjects = [subject_name(*subject) for subject, _ in groups(rows)]
    trials, rest = counts.total(), left_out(outcomes(rows))
    fine = f"{counts['ok']} of {trials} trials are ok" if rest else f"All {trials} trials are ok"
    counting = ["failed trials count as no success"] if counts["failed"] else []
    if trials > counts["ok"] + counts["failed"]:
        counting.append("the others do not count" if counting else "these do not count")
    return f"{fine} ({listed(subjects)}){f'; {rest}: {listed(counting)}' if rest else ''}."


def _punched(rows: pd.DataFrame) -> str:
    parts = []
    for subject, group in groups(rows):
        tried = group[group["hole_punch_success"].notna()]
        if subject[0] != "underlay" and len(tried):
            parts.append(f"{subject_name(*subject)} in {_success(tried)}")
    return f"A hole was punched by {listed(parts, '; ')}." if parts else ""


def _success(tried: pd.DataFrame) -> str:
    """Return a rate with its interval for one cell; over cells a count of them, as the NATs were chosen, not drawn."""
    if is_one_cell(tried):
        found = estimate("hole_punch_success", list(tried["hole_punch_success"]), list(tried["trial"]))
        unit = "trial" if len(tried) == tried["trial"].nunique() else "pair"
        k, interval = round(found.value * found.n), f"{100 * found.low:.0f} to {100 * found.high:.0f} %"
        whole = tried.groupby("trial", sort=False)["hole_punch_success"].min()
        together = "" if unit == "trial" else f"; all pairs in {int(whole.sum())} of {len(whole)} trials"
        return f"{k} of {found.n} {unit}{'s' if found.n > 1 else ''} (95 % interval {interval}{together})"
    rates = tried.groupby(cells_of(tried), sort=False)["hole_punch_success"].mean()
    always, sometimes = int((rates == 1).sum()), int(((rates > 0) & (rates < 1)).sum())
    only_nats = not condition_labels(tried).nunique() > 1
    text = f"{always} of {len(rates)} {'pairs of NATs' if only_nats else 'cells'}"
    remarks = [f"in some trials of {sometimes} more"] * bool(sometimes)
    never = _never(tried)
    remarks += [f"never for {listed(never)}"] * (0 < len(never) <= 3)
    return text + (f" ({'; '.join(remarks)})" if remarks else "")


def _never(tried: pd.DataFrame) -> list[str]:
    best = tried.groupby(["nat_a", "nat_b"], sort=False)["hole_punch_success"].max()
    never = [(str(pair[0]), str(pair[1])) for pair, value in best.items() if not value]  # type: ignore[index]
    return [nat_pair(*pair) for pair in sorted(never, key=lambda pair: (nat_rank(pair[0]), nat_rank(pair[1])))]


def _cost(trials: pd.DataFrame) -> str:
    overlays = trials[trials["overlay"] != "underlay"]
    parts = []
    for name, path in (("a direct path", "direct"), ("a relay or hub", "relayed")):
        of_path = [rows for _, group in groups(overlays) if len(rows := group[group["path"] == path])]
        # Of each overlay by itself: a median over several would be that of none of them.
        rtt, share = (_medians(of_path, metric) for metric in ("added_rtt_p50_ms", "tcp_throughput_ratio"))
        facts = []
        if rtt:
            facts.append(f"{_span(rtt, '{:+.1f}')} ms of round-trip time")
        if share:
            facts.append(f"{_span([100 * one for one in share], '{:.0f}')} % of the TCP throughput")
        if facts:
            parts.append(f"over {name}, {' and '.join(facts)}")
    conditions = condition_labels(trials).nunique()
    over = f" over {conditions} conditions" if conditions > 1 else ""
    return f"Compared with the underlay (medians of each overlay{over}): {'; '.join(parts)}." if parts else ""


def _medians(of_subjects: Sequence[pd.DataFrame], metric: str) -> list[float]:
    values = [as_floats(rows[metric].dropna()) for rows in of_subjects]
    return sorted(statistics.middle(one) for one in values if one.size)


def _span(values: Sequence[float], form: str) -> str:
    """Return the smallest and the largest, or the one that all are."""
    ends = [form.format(value) if np.isfinite(value) else "lost" for value in (values[0], values[-1])]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def listed(items: list[str], separator: str = ", ") -> str:
    """Return items as in a sentence."""
    if len(items) < 2:
        return "".join(items)
    last = " and " if separator == ", " else f"{separator}and "
    return f"{separator.join(items[:-1])}{last}{items[-1]}"
