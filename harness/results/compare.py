"""Two runs compared: what changed, by how much, with what certainty, and in which cells.

A *subject* is an overlay in a mode; a metric of it is tested cell by cell (its NATs, links and whatever else was
varied), by an exact rank test (`harness.results.ranks`), in three ways: all cells together, the cells each by itself,
and how many trials are far off. There is one such test per subject and metric, and one per metric over all subjects;
each of the two families gets half of alpha, half of that for each direction, and is corrected by Holm over the tests
that so many trials could make significant at all (Tarone 1990). No test makes another one easier: a subject that did
not change is blamed as rarely when others did. Of a subject that changed the cells are named that did.

A regression must survive the correction, exceed the minimum effect, and be more than the machine's own shift in the
figures of its kind (`harness.results.session`). What so few trials could not have shown is *undecided*; what they make
likely is *not yet certain*; "no difference found" is never "equal".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from harness.results.changes import CHANGE_VERDICTS, Change, ChangeVerdict, Rule, change_of, name_cells
from harness.results.intervals import interval_of_medians, interval_of_rates, repeats_for
from harness.results.matching import Matching, Sample, match
from harness.results.metrics import METRICS, TRIAL_SUCCESS, metric_of
from harness.results.session import Shift, shift_between
from harness.results.statistics import holm

# What a user feels, each once, and the underlay's own values, which tell whether the lab itself changed.
COMPARED = (
    *(TRIAL_SUCCESS, "connect_success", "hole_punch_success", "time_to_ready_s", "time_to_connect_s"),
    *("time_to_direct_s", "rtt_p50_ms", "rtt_p99_ms", "added_rtt_p50_ms", "loss_ratio", "rtt_rise_p50_ms"),
    *("tcp_throughput_mbit", "tcp_throughput_ratio", "udp_goodput_mbit", "path_mtu_bytes", "pmtu_black_hole"),
    *("underlay_bytes_per_byte", "server_bytes_per_byte", "cpu_s_per_gb", "rss_mib"),
    *("stream_rtt_p50_ms", "stream_connect_p50_ms", "stream_intact"),
    *("content_goodput_mbit", "content_last_byte_s", "content_intact"),
    *("handshake_bytes", "idle_bytes_per_s", "concurrent_jain_index", "concurrent_tcp_total_mbit"),
    *("continuity_answered_ratio", "continuity_longest_gap_s", "tcp_survives"),
    *("event_recovery_s", "event_path_recovery_s", "event_tcp_recovery_s", "event_gap_s"),
    *("chatty_completion_s", "mixed_completion_s", "bulk_completion_s", "availability", "rounds_recovery_s"),
    *("mpyc_derangement_s", "mpyc_dense_s", "mpyc_cnn_s"),
)
ALL = "all subjects"
# Absolutes of another machine say nothing of the overlay; without these the ratios alone are compared.
MACHINE_BOUND = frozenset(
    {
        *("time_to_ready_s", "time_to_connect_s", "time_to_direct_s", "rtt_p50_ms", "rtt_p99_ms", "rtt_rise_p50_ms"),
        *("added_rtt_p50_ms", "tcp_throughput_mbit", "udp_goodput_mbit", "cpu_s_per_gb", "rss_mib"),
        *("concurrent_jain_index", "concurrent_tcp_total_mbit", "stream_rtt_p50_ms", "stream_connect_p50_ms"),
        *("content_goodput_mbit", "content_last_byte_s"),
        *("chatty_completion_s", "mixed_completion_s", "bulk_completion_s"),
        *("mpyc_derangement_s", "mpyc_dense_s", "mpyc_cnn_s"),
    }
)


@dataclass(frozen=True)
class Comparison:
    """All changes, worst news first, and what could not be compared."""

    changes: list[Change]
    matching: Matching
    rule: Rule
    shift: Shift
    left_out: tuple[str, ...] = ()

    @property
    def regressions(self) -> list[Change]:
        """The changes that must fail a build."""
        return [change for change in self.changes if change.verdict == "regression"]

    @property
    def repeats_needed(self) -> int | None:
        """How many repeats a cell would decide what is open now, by the data's own noise; None: nothing is open."""
        known = [one.repeats_needed for one in self.changes if one.repeats_needed and one.verdict in _OPEN]
        return max(known, default=None)


_OPEN = frozenset({"worse, not yet certain", "better, not yet certain", "undecided"})


def compare(
    base: pd.DataFrame,
    new: pd.DataFrame,
    rule: Rule | None = None,
    *,
    same_machine: bool = True,
    without: Collection[str] = (),
) -> Comparison:
    """Compare two runs' records.

    Without `same_machine` the metrics of `MACHINE_BOUND` are left out, and those named in `without` always.
    """
    rule = rule or Rule()
    left_out = frozenset(without) | (frozenset() if same_machine else MACHINE_BOUND)
    matching = match(base, new, frozenset(COMPARED) - left_out)
    samples = [sample for sample in matching.samples if not _empty_for_underlay(sample)]
    decided = [_with_interval(change, samples) for change in compare_samples(samples, rule)]
    shift = shift_between(base, new, links_changed=bool(matching.changed))
    changes = sorted((_unless_the_machine(change, shift) for change in decided), key=_news)
    return Comparison(changes, matching, rule, shift, tuple(sorted(left_out & frozenset(COMPARED))))


def _with_interval(change: Change, samples: Sequence[Sample]) -> Change:
    of_metric = [one for one in samples if (one.metric, one.phase) == (change.metric, change.phase)]
    cells = tuple(c for one in of_metric if change.subject in {ALL, one.subject} for c in one.cells)
    whole = Sample(change.subject, change.metric, change.unit, cells)
    proportion = metric_of(change.metric).estimator == "proportion"
    low, high = interval_of_rates(whole) if proportion else interval_of_medians(whole)
    return replace(change, low=low, high=high)


def compare_samples(samples: Sequence[Sample], rule: Rule) -> list[Change]:
    """Return the changes in samples, those over all subjects first, without intervals and the machine's own shift."""
    families = [family for family in (_pooled(samples), samples) if family]
    return [change for family in families for change in _family(family, rule, len(families))]


def _pooled(samples: Sequence[Sample]) -> list[Sample]:
    """Return one sample per metric (and event) over all subjects, where there are several."""
    of_metric: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        of_metric.setdefault((sample.metric, sample.phase), []).append(sample)
    return [
        Sample(
            ALL,
            metric,
            group[0].unit,
            tuple(cell for one in group for cell in one.cells),
            tuple(f"{one.subject}: {cell.name}" for one in group for cell in one.cells),
            phase,
        )
        for (metric, phase), group in of_metric.items()
        if len(group) > 1
    ]


def _empty_for_underlay(sample: Sample) -> bool:
    """Tell whether the metric is empty for the underlay: its share of itself is 1, its addition 0, but for noise."""
    return sample.subject == "underlay" and sample.metric in {"tcp_throughput_ratio", "added_rtt_p50_ms"}


# Of what one direction of a family has: for changes of the typical value, the rest for more values far off.
_TYPICAL = 0.8


def _family(samples: Sequence[Sample], rule: Rule, families: int) -> list[Change]:
    changes = [change_of(sample, rule) for sample in samples]
    share = rule.alpha / families / 2
    typical, outlying = share * _TYPICAL, share * (1 - _TYPICAL)
    worse = _corrected([(change.p_worse, change.least_p) for change in changes], typical)
    better = _corrected([(change.p_better, change.least_p) for change in changes], share)
    off = _corrected([(change.p_outliers, change.least_p_outliers) for change in changes], outlying)
    least = typical / max(1, sum(change.least_p <= typical for change in changes))
    decided = []
    for sample, change, one, other, far in zip(samples, changes, worse, better, off, strict=True):
        # Each is to be compared with alpha, whatever share of it the test had.
        scaled = [rule.alpha * p / of for p, of in ((one, typical), (far, outlying), (other, share))]
        found = replace(change, outliers_worse=scaled[1] < min(rule.alpha, scaled[0]))
        decided.append(_decided(found, sample, rule, [min(1.0, p) for p in scaled], least))
    return decided


def _corrected(tests: Sequence[tuple[float, float]], share: float) -> list[float]:
    """Return P values after Holm, over those that could become significant at all (Tarone); 1 for the others."""
    testable = [index for index, (_, least) in enumerate(tests) if least <= share]
    found = dict(zip(testable, holm([tests[index][0] for index in testable]), strict=True))
    return [found.get(index, 1.0) for index in range(len(tests))]


def _decided(change: Change, sample: Sample, rule: Rule, scaled: Sequence[float], least: float) -> Change:
    """Return the change with its verdict; `least` is what a single test has of alpha, in its family and direction."""
    p_worse, p_better = min(scaled[:2]), scaled[2]
    for_the_worse = p_worse < p_better or (p_worse == p_better and change.p_worse < change.p_better)
    change = replace(change, p_corrected=min(scaled))
    if change.p_corrected < rule.alpha:
        found = replace(change, named=name_cells(change, rule.alpha / 4, worse=for_the_worse))
        verdict: ChangeVerdict = "regression" if for_the_worse else "improvement"
        return replace(found, verdict=verdict if found.matters else "too small to matter")
    needed = repeats_for(sample, change.base, change.threshold, least)
    verdict = "no difference found" if change.least_p_ever <= least else "undecided"
    if min(change.p_worse, change.p_better) < rule.alpha / 2 and change.matters:
        verdict = "worse, not yet certain" if for_the_worse else "better, not yet certain"
    return replace(change, verdict=verdict, repeats_needed=needed)


def _unless_the_machine(change: Change, shift: Shift) -> Change:
    if change.verdict not in {"regression", "improvement"} or change.outliers_worse:
        return change
    told = [cell for cell in change.cells if cell.cell in change.named and cell.matters]
    parts = [(change.base, change.change), *((cell.base, cell.change) for cell in told)]
    moved = [shift.explains(change.metric, base, size) for base, size in parts if size]
    return replace(change, verdict="machine moved") if moved and all(moved) else change


def _news(change: Change) -> tuple[int, str, int, str]:
    return (
        CHANGE_VERDICTS.index(change.verdict),
        "" if change.subject == ALL else change.subject,
        list(METRICS).index(change.metric),
        change.phase,
    )
