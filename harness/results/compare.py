"""Two runs compared: what changed, by how much, with what certainty, and in which cells.

A *subject* is an overlay in a mode; a metric of it is tested cell by cell (its NATs, links and whatever else was
varied), by an exact rank test (`harness.results.ranks`), in three ways: all cells together, the cells each by itself,
and how many trials are far off. There is one such test per subject and metric, and one per metric over all subjects. A
quarter of alpha is for changes for the worse: so few builds without any change fail. Each of the two families gets as
large a part as it has tests, so that ten subjects are not each tested more strictly than all of them together, and is
corrected by Holm over the tests that could be called at all (Tarone 1990): so many trials can be significant, and their
values, dealt to the two runs in some way, differ by as much as matters. That does not depend on which value is whose,
so that a test left out is one that "no difference" never calls. By Holm the error over all tests holds whatever else
changed: a change that is found leaves fewer to correct for. What got worse and what got better are each judged by their
own part of alpha, the worse first: what some cells gained takes back nothing that others lost. Of a subject that
changed the cells are named that did. Where trials have several pairs of members, each pair is such a cell (on each of
its paths), with trials the cluster.

A regression must survive the correction, exceed the minimum effect, and be more than the machine's own shift in the
figures of its kind (`harness.results.session`). What so few trials could not have shown is *undecided*; what they make
likely is *not yet certain*; "no difference found" is never "equal".
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from harness.results.changes import CHANGE_VERDICTS, Change, ChangeVerdict, Rule, change_of, name_cells
from harness.results.intervals import interval_of_medians, interval_of_rates
from harness.results.lacking import lacking
from harness.results.matching import Matching, Sample, match
from harness.results.metrics import METRICS, TRIAL_SUCCESS, metric_of
from harness.results.power import noise_of
from harness.results.session import Shift, shift_between, unless_the_machine
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
# Between machines of different kinds a computation's time is compared as a multiple of the underlay's in its own trial.
_AS_RATIO = {
    **{f"{name}_completion_s": f"{name}_underlay_ratio" for name in ("chatty", "mixed", "bulk")},
    **{f"mpyc_{name}_s": f"mpyc_{name}_underlay_ratio" for name in ("derangement", "dense", "cnn")},
}
ALL = "all subjects"
# Of another machine these say nothing of the overlay; without them ratios of computations and what is counted remain.
MACHINE_BOUND = frozenset(
    {
        *("time_to_ready_s", "time_to_connect_s", "time_to_direct_s", "rtt_p50_ms", "rtt_p99_ms", "rtt_rise_p50_ms"),
        *("added_rtt_p50_ms", "tcp_throughput_mbit", "udp_goodput_mbit", "cpu_s_per_gb", "rss_mib"),
        # Where the processor is the bottleneck, a quicker one carries a larger share of the same link.
        "tcp_throughput_ratio",
        *("concurrent_jain_index", "concurrent_tcp_total_mbit", "stream_rtt_p50_ms", "stream_connect_p50_ms"),
        *("content_goodput_mbit", "content_last_byte_s"),
        *_AS_RATIO,
    }
)


@dataclass(frozen=True)
class Comparison:
    """All changes, worst news first, and what could not be compared.

    `remarks` say what was compared in place of what two machines cannot be compared by, or why nothing was; `lacking`
    names figures, compared or not, that the trials of one run have and those of the other lack.
    """

    changes: list[Change]
    matching: Matching
    rule: Rule
    shift: Shift
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def regressions(self) -> list[Change]:
        """The changes that must fail a build."""
        return [change for change in self.changes if change.verdict == "regression"]

    @property
    def repeats_needed(self) -> int | None:
        """How many repeats a cell needs for what is open, changes of twice what matters; None: nothing is open."""
        known = [one.repeats_needed for one in self.changes if one.repeats_needed and one.verdict in _OPEN]
        return max(known, default=None)


_OPEN = frozenset({"worse, not yet certain", "better, not yet certain", "undecided"})


def compare(
    base: pd.DataFrame,
    new: pd.DataFrame,
    rule: Rule | None = None,
    *,
    same_machine: bool = True,
    same_lab: bool = True,
    without: Collection[str] = (),
) -> Comparison:
    """Compare two runs' records.

    Without `same_machine` the metrics of `MACHINE_BOUND` are left out (times of computations in favour of their ratios
    to the underlay's), and those named in `without` always. Without `same_lab` (another text of the topology, say) what
    labs and links cost is no measure of the machine.
    """
    rule = rule or Rule()
    left_out = frozenset(without) | (frozenset() if same_machine else MACHINE_BOUND)
    ratios = frozenset() if same_machine else frozenset(_AS_RATIO.values()) - frozenset(without)
    metrics = (frozenset(COMPARED) - left_out) | ratios
    matching = match(base, new, metrics)
    samples = [sample for sample in matching.samples if not empty_for_underlay(sample.subject, sample.metric)]
    decided = [with_interval(change, samples) for change in compare_samples(samples, rule)]
    shift = shift_between(
        base,
        new,
        links_changed=bool(matching.changed) or not same_lab,
        lab_changed=bool(matching.changed.keys() - {"link"}) or not same_lab,
    )
    changes = sorted((unless_the_machine(change, shift) for change in decided), key=_news)
    named = tuple(sorted(left_out & frozenset(COMPARED)))
    remarks = () if same_machine else tuple(_in_their_place(base, new, samples, frozenset(without)))
    lost = tuple(lacking(base, new, matching, compared=metrics, without=frozenset(without)))
    return Comparison(changes, matching, rule, shift, named, remarks, lost)


def _in_their_place(
    base: pd.DataFrame, new: pd.DataFrame, samples: Sequence[Sample], without: Collection[str]
) -> Iterator[str]:
    """Say of each computation that both runs have what was compared, since the machines are of different kinds."""
    compared = {sample.metric for sample in samples}
    for metric, ratio in _AS_RATIO.items():
        if metric in without or not all((run["metric"] == metric).any() for run in (base, new)):
            continue
        if ratio in compared:
            yield (
                f"{metric} of another machine was compared as {ratio}, a multiple of the underlay's of the same trial: "
                "that holds where the links, not the processor, were the bottleneck"
            )
        else:
            yield (
                f"{metric} was not compared: the machines are of different kinds, and no cell has the underlay's own "
                f"time in both runs ({ratio})"
            )


def with_interval(change: Change, samples: Sequence[Sample]) -> Change:
    """Return the change with its interval, from the samples among which it was found."""
    of_metric = [one for one in samples if (one.metric, one.phase) == (change.metric, change.phase)]
    cells = tuple(c for one in of_metric if change.subject in {ALL, one.subject} for c in one.cells)
    whole = Sample(change.subject, change.metric, change.unit, cells)
    proportion = metric_of(change.metric).estimator == "proportion"
    low, high = interval_of_rates(whole) if proportion else interval_of_medians(whole)
    return replace(change, low=low, high=high)


def compare_samples(samples: Sequence[Sample], rule: Rule, *, together: bool = True) -> list[Change]:
    """Return the changes in samples, without intervals and the machine's own shift.

    With `together` those over all subjects come first, which have their part of alpha.
    """
    drawn = (_pooled(samples) if together else [], samples)
    families = [[(one, change_of(one, rule)) for one in family] for family in drawn if family]
    # Where nothing varies there is nothing to test, and where no dealing of the values matters nothing to call.
    tests = [max(1, sum(change.least_p < 1 and change.could_matter for _, change in family)) for family in families]
    return [
        change
        for family, count in zip(families, tests, strict=True)
        for change in _family(family, rule, rule.alpha * count / sum(tests))
    ]


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
            tuple(f"{one.subject}: {part.name}" for one in group for part in one.parts),
            phase,
        )
        for (metric, phase), group in of_metric.items()
        if len(group) > 1
    ]


def empty_for_underlay(subject: str, metric: str) -> bool:
    """Tell whether the metric says nothing of the underlay: its share of itself is 1, its addition 0, but for noise."""
    return subject == "underlay" and metric in {"tcp_throughput_ratio", "added_rtt_p50_ms"}


# Of alpha: for changes for the worse, the rest for the better; and of that for changes of the typical value, the rest
# for more values far off.
_WORSE = 0.25
_TYPICAL = 0.9


def _family(tested: Sequence[tuple[Sample, Change]], rule: Rule, alpha: float) -> list[Change]:
    samples, changes = [sample for sample, _ in tested], [change for _, change in tested]
    share = alpha * (1 - _WORSE)
    typical, outlying = alpha * _WORSE * _TYPICAL, alpha * _WORSE * (1 - _TYPICAL)
    matter = [change.could_matter for change in changes]
    worse = _corrected([(change.p_worse, change.least_p) for change in changes], typical, matter)
    better = _corrected([(change.p_better, change.least_p) for change in changes], share, matter)
    off = _corrected([(change.p_outliers, change.least_p_outliers) for change in changes], outlying)
    counted = [change.least_p <= typical and change.could_matter for change in changes]
    decided = []
    for sample, change, own, one, other, far in zip(samples, changes, counted, worse, better, off, strict=True):
        # Each is to be compared with alpha, whatever share of it the test had.
        scaled = [rule.alpha * p / of for p, of in ((one, typical), (far, outlying), (other, share))]
        # Outliers count beside a change of the typical value unless that is large enough to be called by itself.
        hidden = scaled[1] < scaled[0] or not change.matters_for(worse=True)
        found = replace(change, outliers_worse=scaled[1] < rule.alpha and hidden)
        # With values that could be called it would be one more of those that are corrected for.
        least = typical / (sum(counted) + (not own))
        decided.append(_decided(found, sample, rule, [min(1.0, p) for p in scaled], least))
    return decided


def _corrected(tests: Sequence[tuple[float, float]], share: float, first: Sequence[bool] = ()) -> list[float]:
    """Return P values after Holm, over those that could become significant at all (Tarone); 1 for the others.

    Those marked as `first` are corrected among themselves, the others, which nobody calls, among all.
    """
    found = [1.0] * len(tests)
    testable = [index for index, (_, least) in enumerate(tests) if least <= share]
    for group in (testable, [index for index in testable if first and first[index]]):
        for index, p in zip(group, holm([tests[index][0] for index in group]), strict=True):
            found[index] = p
    return found


def _decided(change: Change, sample: Sample, rule: Rule, scaled: Sequence[float], least: float) -> Change:
    """Return the change with its verdict; `least` is what a single test has of alpha, in its family and direction.

    Each direction is judged by its own share of alpha, the worse one first: what some cells gained takes back nothing
    that others lost.
    """
    ways = ((True, min(scaled[:2]), change.p_worse), (False, scaled[2], change.p_better))
    for worse, p, _ in ways:
        if p < rule.alpha:
            found = replace(change, p_corrected=p, named=name_cells(change, rule.alpha / 4, worse=worse))
            typical = worse and scaled[0] < rule.alpha
            found = replace(
                found, typical_worse=typical and replace(found, outliers_worse=False).matters_for(worse=True)
            )
            if found.matters_for(worse=worse):
                return replace(found, verdict="regression" if worse else "improvement")
    change = replace(change, p_corrected=min(scaled))
    if change.p_corrected < rule.alpha:
        return replace(change, verdict="too small to matter")
    verdict: ChangeVerdict = "no difference found" if change.least_p_ever <= least else "undecided"
    likely = [worse for worse, _, p in ways if p < rule.alpha / 2 and change.matters_for(worse=worse)]
    if likely:
        verdict = "worse, not yet certain" if likely[0] else "better, not yet certain"
    noise = noise_of(sample, change.base, change.threshold, rule)
    if noise is None:
        return replace(change, verdict=verdict)
    size = noise.findable(least) * change.threshold if change.least_p_ever <= least else math.inf
    return replace(change, verdict=verdict, findable=size, repeats_needed=noise.repeats(least))


def _news(change: Change) -> tuple[int, str, int, str]:
    return (
        CHANGE_VERDICTS.index(change.verdict),
        "" if change.subject == ALL else change.subject,
        list(METRICS).index(change.metric),
        change.phase,
    )
