"""The tables of the chapter on what a hub costs: every cell with its interval, and what it says of the claim."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from harness.report.hubcost_words import condition, hub_words, why_undecided
from harness.report.intervals import RANGES
from harness.report.order import subject_key, subject_name
from harness.report.tables import NOTHING, TextTable
from harness.results.hubcost import Cost, Crossover, Hub, Subject, completion
from harness.results.outages import Outage
from harness.results.statistics import Estimate

_VERDICTS = {"slower": "slower", "as fast": "not slower: refuted", "faster": "faster: refuted"}


def completion_table(rows: pd.DataFrame) -> TextTable:
    """Return the completion times: a row per workload, server's link and n, a column per subject."""
    found: dict[tuple[str, Hub, int], dict[Subject, Estimate]] = {}
    for workload, hub, n, subject, estimate in completion(rows):
        found.setdefault((workload, hub, n), {})[subject] = estimate
    subjects = sorted({subject for of in found.values() for subject in of}, key=subject_key)
    body = [
        (workload, hub_words(hub), str(n), *(_seconds(of.get(subject)) for subject in subjects))
        for (workload, hub, n), of in found.items()
    ]
    header = ("workload", "server's link", "n", *(subject_name(*subject) for subject in subjects))
    note = (
        f"Seconds for all rounds: median over repeats, in brackets its 95 % interval. {RANGES} late: not finished by "
        "the deadline."
    )
    return TextTable("Completion time by parties", header, tuple(body), frozenset(range(2, len(header))), note)


def cost_table(found: Sequence[Cost]) -> TextTable:
    """Return every hub and relay against a mesh."""
    body = [
        (
            cost.workload,
            hub_words(cost.hub),
            str(cost.n),
            subject_name(*cost.subject),
            subject_name(*cost.mesh),
            ratio_text(cost.ratio),
            _repeats(cost),
            _VERDICTS.get(cost.judgement) or f"not decided: {why_undecided(cost)}",
        )
        for cost in found
    ]
    header = ("workload", "server's link", "n", "subject", "mesh", "time / mesh's time", "repeats", "verdict")
    note = (
        "Completion time divided by that of the mesh in the same repeat: median over repeats, in brackets its 95 % "
        f"interval. {RANGES} Slower: the whole interval lies above 1. Not slower, which refutes the claim: it "
        "contains 1 and nothing above 1.1. Not decided: it contains both 1 and values above 1.1 (interval too wide), "
        "or there are fewer than six repeats. late: not by the deadline, or the trial failed. neither: the mesh was "
        "late too, and there is no ratio. A product without a mesh of its own is compared with each mesh of the cell."
    )
    return TextTable("Hub and relay against mesh", header, tuple(body), frozenset({2, 5, 6}), note)


def crossover_table(found: Sequence[Crossover]) -> TextTable:
    """Return from which n on each hub's link bound."""
    body = [
        (
            one.workload,
            hub_words(one.hub),
            subject_name(*one.subject),
            subject_name(*one.mesh),
            ", ".join(map(str, one.measured)),
            NOTHING if one.expected is None else str(one.expected),
            NOTHING if one.found is None or one.is_open else str(one.found),
            "not decided" if one.is_open else "yes" if one.expected == one.found else "no",
        )
        for one in found
    ]
    header = ("workload", "server's link", "subject", "mesh", "n measured", "expected from n", "found from n", "agrees")
    note = (
        "Expected: the smallest n measured that exceeds the server's rate divided by the access rate. Found: the "
        "smallest n measured from which on the whole interval of hub / mesh lies above 1.1. -: no n measured, or not "
        "decided. A distant server costs its detour at every n, whatever the rates."
    )
    return TextTable("Where the server's link becomes the bottleneck", header, tuple(body), frozenset({5, 6}), note)


def outage_table(found: Sequence[Outage]) -> TextTable:
    """Return what the server's death did."""
    shares = ("availability", "availability_after")
    times = ("coasted_s", "rounds_recovery_s", "overlay_recovery_s", "tcp_recovery_s")
    body = [
        (
            subject_name(*one.subject),
            condition(one) or NOTHING,
            str(one.figures["availability"].n),
            *(_percent(one.figures[name]) for name in shares),
            *(_seconds(one.figures[name], never="never" if name == "coasted_s" else "late") for name in times),
            one.judgement,
        )
        for one in sorted(found, key=lambda one: (subject_key(one.subject), one.params))
    ]
    header = (
        *("overlay", "condition", "repeats", "rounds during outage", "rounds after it"),
        *("stalled after (s)", "next round after (s)", "overlay back after (s)", "TCP's part (s)", "verdict"),
    )
    note = (
        "Rounds: their rate while the server was dead, and after its return, as a share of the rate before. Stalled "
        "after: from the server's death until a round stalled. Next round, overlay back: from the server's return "
        "until a round was done, and until all pairs answered pings; TCP's part is the difference, TCP's back-off. "
        "Medians over repeats, in brackets their intervals. Stopped: a round stalled, and the rate was below 50 %. "
        "Went on: it was at least 90 %. Degraded: neither. Undecided: the intervals allow several of these."
    )
    return TextTable("When the server dies", header, tuple(body), frozenset(range(2, 9)), note)


def direct_table(found: Mapping[tuple[str, str, int, str], Estimate]) -> TextTable:
    """Return how often all pairs were direct."""
    body = [
        (
            subject_name(overlay, mode),
            nats,
            str(n),
            str(n * (n - 1) // 2),
            f"{round(one.value * one.n)}/{one.n}",
            _percent(one),
        )
        for (overlay, mode, n, nats), one in found.items()
    ]
    header = ("overlay", "condition", "n", "pairs", "trials with all pairs direct", "share")
    note = (
        "Share of trials, in brackets its 95 % interval (Wilson). A round waits for its slowest pair, so that one "
        "relayed pair slows every round."
    )
    return TextTable("All pairs direct, by parties", header, tuple(body), frozenset({2, 3, 4, 5}), note)


def _repeats(cost: Cost) -> str:
    """Return how many repeats make ratios, and how many make none."""
    remarks = [f"{cost.neither} neither"] * bool(cost.neither) + [f"{cost.apart} on two hosts"] * bool(cost.apart)
    return f"{cost.ratio.n}" + (f" ({', '.join(remarks)})" if remarks else "")


def ratio_text(estimate: Estimate) -> str:
    """Return a ratio with its interval; a dash where there is none."""
    if not estimate.n:
        return NOTHING
    return _text(estimate, lambda value: f"{value:.2f}", "late")


def _seconds(estimate: Estimate | None, never: str = "late") -> str:
    if estimate is None or not estimate.n:
        return NOTHING
    return _text(estimate, lambda value: f"{value:.3g}" if value < 100 else f"{value:.0f}", never)


def _percent(estimate: Estimate) -> str:
    return _text(estimate, lambda value: f"{100 * value:.0f} %", "late") if estimate.n else NOTHING


def _text(estimate: Estimate, number: object, never: str) -> str:
    assert callable(number)
    value, low, high = (
        never if math.isinf(one) else str(number(one)) for one in (estimate.value, estimate.low, estimate.high)
    )
    if math.isnan(estimate.low) or (low == value == high):
        return value
    return f"{value} [{low.removesuffix(' %')}, {high}]"
