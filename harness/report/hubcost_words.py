"""The verdict on the claim in words: made of the data, and saying where the claim is refuted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import groupby

from harness.report.order import subject_name
from harness.report.verdict import listed
from harness.results.hubcost import CLEARLY, Cost, Crossover, Hub, workload_key
from harness.results.outages import Outage
from harness.results.statistics import FEWEST_FOR_INTERVAL, Estimate, as_floats, median_ranks, middle

_MOST_NAMED = 4


def bottleneck(found: Sequence[Cost]) -> list[str]:
    """Say where a hub or relay was slower than a mesh, a sentence or two for each workload, and of all together."""
    if not found:
        return []
    sentences = [_of_all(found)]
    for workload in sorted({cost.workload for cost in found}, key=workload_key):
        sentences.append(_of_workload(workload, [cost for cost in found if cost.workload == workload]))
    return sentences


def _of_all(found: Sequence[Cost]) -> str:
    slower, same, faster, open_ = (_of(found, word) for word in ("slower", "as fast", "faster", "undecided"))
    decided = len(found) - len(open_)
    if not decided:
        most = max(cost.ratio.n for cost in open_)
        why = f"no interval tells 1 from a cost of {100 * CLEARLY:.0f} %"
        if not most:
            why = "no repeat gives a ratio"
        elif most < FEWEST_FOR_INTERVAL:
            why = f"no interval of {most} repeat{'s' * (most > 1)} covers 95 %, one of {FEWEST_FOR_INTERVAL} does"
        return f"Whether a central server is a bottleneck is not decided: {why}{_left_out(found)}."
    text = f"A central server was a bottleneck in {len(slower)} of {decided} comparisons with a mesh"
    if same or faster:
        text += f"; the claim is refuted in the other {len(same) + len(faster)}"
        text += f", {len(faster)} of which it won" if faster else ""
    if slight := sum(cost.ratio.value < 1 + CLEARLY for cost in slower):
        text += f". Of those in which it was, {slight} cost less than {100 * CLEARLY:.0f} %"
    text += f". {len(open_)} more are not decided: too few repeats, or too unlike" * bool(open_)
    if few := [cost.ratio.n for cost in open_ if cost.ratio.n < FEWEST_FOR_INTERVAL]:
        fewer = f"fewer than {FEWEST_FOR_INTERVAL} repeats, whose range covers less than 95 %"
        text += f". Of {len(few)} of these there are {fewer}"
    if (chance := round(sum(map(_by_chance, found)))) > 0:
        text += f". Were no server to cost anything, some {chance} of {len(found)} would be found slower by chance"
    return f"{text}{_left_out(found)}."


def _left_out(found: Sequence[Cost]) -> str:
    """Say which repeats make no ratio, as further sentences without the last full stop; empty where all do."""
    text = ""
    if neither := sum(cost.neither for cost in found):
        text += f". In {neither} more repeats neither server nor mesh came to its end, which makes no ratio"
    if apart := sum(cost.apart for cost in found):
        text += f". {apart} more were run on two hosts and are not compared"
    return text


def _by_chance(cost: Cost) -> float:
    """Return how likely the whole interval lies above the median by chance; 0 of what is not decided anyway."""
    if cost.ratio.n < FEWEST_FOR_INTERVAL:
        return 0.0
    return (1 - median_ranks(cost.ratio.n)[1]) / 2


def _of_workload(workload: str, found: Sequence[Cost]) -> str:
    slower = _of(found, "slower")
    refuted = [*_of(found, "as fast"), *_of(found, "faster")]
    parts = []
    if slower:
        worst = max(slower, key=lambda cost: cost.ratio.value)
        typical = middle(as_floats([cost.ratio.value for cost in slower]))
        parts.append(
            f"slower in {len(slower)} of {len(found)}, {_times(typical)} in the median and "
            f"{_times(worst.ratio.value)} at most ({_cell(worst)})"
        )
    if refuted:
        parts.append(f"not slower, against the claim, with {_named(refuted)}")
    if undecided := _of(found, "undecided"):
        parts.append(f"undecided in {len(undecided)}")
    return f"{workload}: {'; '.join(parts)}."


def _of(found: Sequence[Cost], word: str) -> list[Cost]:
    return [cost for cost in found if cost.judgement == word]


def _times(value: float) -> str:
    return (
        "without end"
        if math.isinf(value)
        else f"{value:.2g} times as long"
        if value < 10
        else f"{value:.0f} times as long"
    )


def _cell(cost: Cost) -> str:
    return f"{subject_name(*cost.subject)}, {cost.n} parties, server at {cost.hub.name}"


def _named(found: Sequence[Cost]) -> str:
    """Name the cells, by subject and server's link, as many as a reader takes in."""
    ordered = sorted(found, key=lambda cost: (cost.subject, cost.hub.name, cost.n))
    texts = []
    for (subject, hub), costs in groupby(ordered, key=lambda cost: (cost.subject, cost.hub.name)):
        numbers = listed([str(cost.n) for cost in costs])
        texts.append(f"{subject_name(*subject)} of {numbers} parties at {hub}")
    more = len(texts) - _MOST_NAMED
    return listed([*texts[:_MOST_NAMED], f"{more} more"] if more > 0 else texts)


def crossover(found: Sequence[Crossover]) -> list[str]:
    """Say from which n on the hub's link was the bottleneck, against n = R_hub / R_access."""
    sentences = []
    for workload in sorted({one.workload for one in found}, key=workload_key):
        of_workload = [one for one in found if one.workload == workload]
        part = [one for one in of_workload if not one.is_open]
        right = [one for one in part if one.found == one.expected]
        text = (
            f"{workload}: by rates alone the server's link becomes the bottleneck once n exceeds its rate divided by "
            "that of an access link"
        )
        if part:
            text += f"; in {len(right)} of {len(part)} cases it did, as far as the n measured can tell"
        wrong = [one for one in part if one.found != one.expected]
        if wrong:
            cases = [
                f"{subject_name(*one.subject)} at {one.hub.name} {_from(one.found)} instead of {_from(one.expected)}"
                for one in wrong[:_MOST_NAMED]
            ]
            more = f"; and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
            text += f"; the others: {'; '.join(cases)}{more}"
        if count := len(of_workload) - len(part):
            left = f"{count} more are" if part else f"{count} cases are" if count > 1 else "the one case is"
            text += f"; {left} not decided"
        sentences.append(f"{text}.")
    return sentences


def _from(n: int | None) -> str:
    return "at no n" if n is None else f"from n = {n}"


_AFTER = "availability_after"


def single_point(found: Sequence[Outage]) -> list[str]:
    """Say who went on when the server died, and what brought back who did not."""
    overlays = [one for one in found if one.subject[0] != "underlay"]
    if not overlays:
        return []
    by = {
        word: [_who(one) for one in overlays if one.judgement == word]
        for word in ("stopped", "degraded", "went on", "undecided")
    }
    parts = []
    if by["stopped"]:
        parts.append(f"The server was a single point of failure for {listed(by['stopped'])}: rounds stopped with it")
    if by["went on"]:
        parts.append(f"{'it' if parts else 'The server'} was none for {listed(by['went on'])}, whose rounds went on")
    if by["degraded"]:
        parts.append(f"{listed(by['degraded'])} did fewer rounds, but none stopped")
    if by["undecided"]:
        parts.append(f"of {listed(by['undecided'])} the trials do not tell")
    sentences = [f"{'; '.join(parts)}."]
    if (fewest := min(one.figures["availability"].n for one in overlays)) < FEWEST_FOR_INTERVAL:
        trials = "one trial of each was" if fewest == 1 else f"{fewest} trials of each were"
        sentences.append(f"That is what {trials}: too few for an interval of 95 %.")
    if surprises := [_who(one) for one in overlays if _against(one)]:
        sentences.append(f"Against the claim: {listed(surprises)}.")
    stopped = [one for one in overlays if one.judgement == "stopped"]
    # Where nothing is known of the time after the fault, there was none.
    gone = [one for one in stopped if math.isinf(one.figures["rounds_recovery_s"].value) and not one.figures[_AFTER].n]
    back = [one for one in stopped if one not in gone]
    if gone:
        sentences.append(f"It did not come back before the traffic ended: {listed([_who(one) for one in gone])}.")
    if back:
        texts = [f"{_who(one)} {_return(one)}" for one in back]
        sentences.append(f"Once it was back, the next round was done (median): {'; '.join(texts)}.")
    return sentences


def _who(one: Outage) -> str:
    return subject_name(*one.subject) + (f" ({one.condition})" if one.condition else "")


def _against(one: Outage) -> bool:
    """Tell whether a mesh stopped, or a hub went on."""
    return one.judgement == ("stopped" if one.subject[1] == "mesh" else "went on")


def _return(one: Outage) -> str:
    """Return how long the next round took, and what of it was the overlay's and what TCP's."""
    rounds, overlay, tcp = (one.figures[f"{what}_recovery_s"] for what in ("rounds", "overlay", "tcp"))
    if math.isinf(rounds.value):
        carried = (
            "nor were all pings answered" if math.isinf(overlay.value) else f"though pings were after {_s(overlay)}"
        )
        return f"not before the traffic ended, {carried}"
    if math.isinf(overlay.value) or not tcp.n:
        return f"after {_s(rounds)}, though not all pings were answered before the traffic ended"
    return f"after {_s(rounds)}, of which {_s(overlay)} were the overlay's and {_s(tcp)} TCP's back-off"


def _s(estimate: Estimate) -> str:
    return f"{estimate.value:.1f} s"


def all_direct(found: dict[tuple[str, str, int, str], Estimate]) -> list[str]:
    """Say how often all pairs were direct, by n, where it was not always."""
    never_less = [key for key, estimate in found.items() if estimate.value == 1]
    less = {key: estimate for key, estimate in found.items() if estimate.value < 1}
    if not found:
        return []
    if not less:
        most = max(n for _, _, n, _ in never_less)
        return [f"All pairs of all meshes were direct in every trial, up to {most} parties."]
    texts = [
        f"{subject_name(overlay, mode)} of {n} ({nats}): {100 * one.value:.0f} % of {one.n}"
        for (overlay, mode, n, nats), one in list(less.items())[:_MOST_NAMED]
    ]
    more = len(less) - _MOST_NAMED
    return [
        f"All pairs direct: {'; '.join(texts)}{f'; and {more} more' * (more > 0)}. One relayed pair slows every round."
    ]


def condition(one: Outage) -> str:
    """Return the parties of an outage, and what else tells its condition from others, as words."""
    n = json.loads(one.params).get("n")
    besides = [part for part in one.condition.split(", ") if part and not part.startswith("n=")]
    return ", ".join([*([f"{n} parties"] if n else []), *besides])


def hub_words(hub: Hub) -> str:
    """Return a server's link as words: how much faster than access, how far, and what else was varied."""
    ratio = "unlimited" if math.isinf(hub.ratio) else "" if math.isnan(hub.ratio) else f"{hub.ratio:g} x access"
    return ", ".join(part for part in (ratio, f"{hub.delay_ms:g} ms", hub.besides) if part)
