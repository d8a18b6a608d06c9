"""Two runs compared: what changed, by how much, with what certainty.

A test takes pairs of trials with the same cell and seed: the exact sign test on discordant pairs for successes
(McNemar), Wilcoxon's signed-rank test otherwise, one-sided for "worse" and for "better". There is one per metric over
all subjects, and one per subject (overlay, mode, topology, link, other parameters) and metric; each of the two families
gets half of alpha and is corrected by Holm over the tests that could become significant at all with their number of
pairs (Tarone's first step). Where the test over all subjects shows a change, that metric's subjects are corrected among
themselves alone (a gate: when nothing changed anywhere, it opens with a probability of at most half of alpha).

A regression must survive the correction, exceed the minimum effect, and be more than the machine's own shift between
the two sessions (`harness.results.session`). What so few pairs could not have shown is
*undecided*; "no difference found" is never "equal".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.results.changes import Change, Rule, Verdict, change_of, smallest_p
from harness.results.metrics import METRICS
from harness.results.pairing import Matching, Paired, match
from harness.results.session import Shift, shift_between
from harness.results.statistics import holm

# What a user feels, each once, and the underlay's own values, which tell whether the lab itself changed.
COMPARED = (
    *("connect_success", "hole_punch_success", "time_to_ready_s", "time_to_connect_s", "time_to_direct_s"),
    *("rtt_p50_ms", "rtt_p99_ms", "added_rtt_p50_ms", "loss_ratio", "rtt_rise_p50_ms"),
    *("tcp_throughput_mbit", "tcp_throughput_ratio", "udp_goodput_mbit", "path_mtu_bytes", "pmtu_black_hole"),
    *("underlay_bytes_per_byte", "cpu_s_per_gb", "rss_mib"),
)
# Absolutes of another machine say nothing of the overlay; with these alone the ratios are compared.
ALL = "all subjects"
MACHINE_BOUND = frozenset(
    {
        *("time_to_ready_s", "time_to_connect_s", "time_to_direct_s", "rtt_p50_ms", "rtt_p99_ms", "rtt_rise_p50_ms"),
        *("tcp_throughput_mbit", "udp_goodput_mbit", "cpu_s_per_gb", "rss_mib"),
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
    def pairs_needed(self) -> int:
        """So many pairs show a change in one metric over all subjects, if all of them moved the same way."""
        tests = len({change.metric for change in self.changes})
        return int(np.ceil(np.log2(2 * max(1, tests) / self.rule.alpha)))

    @property
    def regressions(self) -> list[Change]:
        """The changes that must fail a build."""
        return [change for change in self.changes if change.verdict == "regression"]


def compare(
    base: pd.DataFrame, new: pd.DataFrame, rule: Rule | None = None, *, same_machine: bool = True
) -> Comparison:
    """Compares two runs' records. Without `same_machine` the metrics of `MACHINE_BOUND` are left out."""
    rule = rule or Rule()
    left_out = () if same_machine else tuple(sorted(MACHINE_BOUND))
    matching = match(base, new, frozenset(COMPARED) - frozenset(left_out))
    wanted = _shortly_named([pair for pair in matching.pairs if not _empty_for_underlay(pair)])
    changes = [change_of(pair, rule) for pair in wanted]
    overall = [change_of(pair, rule) for pair in _pooled(wanted)]
    shift = shift_between(base, new, links_changed=bool(matching.changed))
    decided = [_unless_the_machine(change, shift) for change in decide(overall, changes, rule)]
    return Comparison(sorted(decided, key=_news), matching, rule, shift, left_out)


def _unless_the_machine(change: Change, shift: Shift) -> Change:
    if change.verdict in {"regression", "improvement"} and shift.explains(change.metric, change.base, change.change):
        return replace(change, verdict="machine moved")
    return change


def _shortly_named(pairs: Sequence[Paired]) -> list[Paired]:
    """The pairs with those conditions left out of the subject's name that all share; overlay and mode always stay."""
    if not pairs:
        return []
    columns = list(zip(*(pair.subject for pair in pairs), strict=True))
    telling = [index for index, values in enumerate(columns) if index < 2 or len(set(values)) > 1]
    return [replace(pair, subject=tuple(pair.subject[index] for index in telling)) for pair in pairs]


def _pooled(pairs: Sequence[Paired]) -> list[Paired]:
    """One per metric over all subjects, where there are several."""
    of_metric: dict[str, list[Paired]] = {}
    for pair in pairs:
        of_metric.setdefault(pair.metric, []).append(pair)
    return [
        Paired(
            subject=(ALL,),
            metric=metric,
            unit=group[0].unit,
            base=np.concatenate([pair.base for pair in group]),
            new=np.concatenate([pair.new for pair in group]),
            blocks=tuple(f"{' '.join(pair.subject)} {block}" for pair in group for block in pair.blocks),
        )
        for metric, group in of_metric.items()
        if len(group) > 1
    ]


def _empty_for_underlay(pair: Paired) -> bool:
    """The underlay as a subject: its share of itself is 1 and what it adds to itself nothing, but for noise."""
    return pair.subject[0] == "underlay" and pair.metric in {"tcp_throughput_ratio", "added_rtt_p50_ms"}


def decide(overall: Sequence[Change], changes: Sequence[Change], rule: Rule) -> list[Change]:
    """The verdicts on both families; `p_corrected` compares with alpha."""
    families = [family for family in (overall, changes) if family]
    decided = [_family(family, rule, len(families)) for family in families]
    if len(families) == 1:
        return decided[0]
    for gate in decided[0]:
        if gate.p_corrected < rule.alpha:
            inner = [change for change in changes if change.metric == gate.metric]
            gated = iter(_family(inner, rule, 2))
            outer = [change for change in decided[1] if change.metric != gate.metric]
            decided[1] = outer + [
                min(next(gated), change, key=_corrected) for change in decided[1] if change.metric == gate.metric
            ]
    return decided[0] + decided[1]


def _family(changes: Sequence[Change], rule: Rule, families: int) -> list[Change]:
    share = rule.alpha / families
    testable = [index for index, change in enumerate(changes) if smallest_p(change) <= share]
    worse = dict(zip(testable, holm([changes[index].p_worse for index in testable]), strict=True))
    better = dict(zip(testable, holm([changes[index].p_better for index in testable]), strict=True))
    least = share / max(1, len(testable))
    decided = []
    for index, change in enumerate(changes):
        p_worse, p_better = (min(1.0, families * side.get(index, 1.0)) for side in (worse, better))
        verdict: Verdict = "no difference found" if smallest_p(change) <= least else "undecided"
        if min(p_worse, p_better) < rule.alpha:
            verdict = _direction(change, p_worse < p_better)
        decided.append(replace(change, verdict=verdict, p_corrected=min(p_worse, p_better)))
    return decided


def _direction(change: Change, worse: bool) -> Verdict:
    if change.change == 0 or abs(change.change) < change.threshold:
        return "too small to matter"
    return "regression" if worse else "improvement"


def _corrected(change: Change) -> float:
    return change.p_corrected


def _news(change: Change) -> tuple[int, str, int]:
    order = ("regression", "improvement", "machine moved", "too small to matter", "no difference found", "undecided")
    known = list(METRICS)
    return (
        order.index(change.verdict),
        "" if change.subject == ALL else change.subject,
        known.index(change.metric),
    )
