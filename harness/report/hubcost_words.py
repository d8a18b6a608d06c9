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
_CLEARLY = f"{100 * CLEARLY:.0f} %"
_NONE, _FEW, _WIDE = "no ratio", "too few repeats", "interval too wide"


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
    if len(open_) == len(found):
        few = max(cost.ratio.n for cost in open_)
        why = f"every interval contains both no cost and a cost above {_CLEARLY}"
        if not few:
            why = "no repeat gives a ratio of two completion times"
        elif few < FEWEST_FOR_INTERVAL:
            why = f"{few} repeat{'s give' if few > 1 else ' gives'} no 95 % interval, which takes {FEWEST_FOR_INTERVAL}"
        return f"Whether a central server is a bottleneck is not decided: {why}.{_left_out(found)}"
    text = "A central server was a bottleneck (the computation took longer) in "
    text += f"{len(slower)} of {len(found)} comparisons with a mesh."
    if slight := sum(cost.ratio.value < 1 + CLEARLY for cost in slower):
        text += f" In {slight} of these it took less than {_CLEARLY} longer."
    if refuted := len(same) + len(faster):
        text += f" In {refuted} the claim is refuted: the server cost at most {_CLEARLY}"
        text += f" (in {len(faster)} of them it was faster than the mesh)." if faster else "."
    text += _undecided(open_)
    if (chance := round(sum(map(_by_chance, found)))) > 0:
        text += f" If no server cost anything, about {chance} of {len(found)} would be found slower by chance."
    return text + _left_out(found)


def _undecided(open_: Sequence[Cost]) -> str:
    """Say how many comparisons are not decided, each with its own reason; empty for none."""
    reasons = {why: [cost for cost in open_ if why_undecided(cost) == why] for why in (_NONE, _FEW, _WIDE)}
    said = {
        _NONE: "no repeat gives a ratio of two completion times",
        _FEW: f"there are fewer than {FEWEST_FOR_INTERVAL} repeats, and so no 95 % interval",
        _WIDE: f"the interval contains both no cost and a cost above {_CLEARLY}",
    }
    counted = [f"{len(costs)} because {said[why]}" for why, costs in reasons.items() if costs]
    text = f" {len(open_)} {'are' if len(open_) > 1 else 'is'} not decided"
    if len(counted) == 1:
        return f"{text}{counted[0].removeprefix(str(len(open_)))}."
    return f"{text}: {', '.join(counted)}." if counted else ""


def why_undecided(cost: Cost) -> str:
    """Return in two or three words why an undecided comparison is undecided."""
    if not cost.ratio.n:
        return _NONE
    return _FEW if cost.ratio.n < FEWEST_FOR_INTERVAL else _WIDE


def _left_out(found: Sequence[Cost]) -> str:
    """Say which repeats make no ratio, as further sentences; empty where all do."""
    text = ""
    if neither := sum(cost.neither for cost in found):
        text += f" In {neither} more repeats neither the server nor the mesh finished, so that there is no ratio."
    if apart := sum(cost.apart for cost in found):
        text += f" In {apart} more repeats the two ran on different hosts, so that they are not compared."
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
            f"the server was slower in {len(slower)} of {len(found)} comparisons ({_times(typical)} in the median, "
            f"at worst {_times(worst.ratio.value)}: {_cell(worst)})"
        )
    if refuted:
        parts.append(f"it was not slower, which refutes the claim, for {_named(refuted)}")
    if undecided := _of(found, "undecided"):
        parts.append(f"{len(undecided)} {'are' if len(undecided) > 1 else 'is'} not decided")
    return f"{workload}: {'; '.join(parts)}."


def _of(found: Sequence[Cost], word: str) -> list[Cost]:
    return [cost for cost in found if cost.judgement == word]


def _times(value: float) -> str:
    return (
        "not finished by the deadline"
        if math.isinf(value)
        else f"{value:.2g} times as long"
        if value < 10
        else f"{value:.0f} times as long"
    )


def _cell(cost: Cost) -> str:
    return f"{subject_name(*cost.subject)}, {cost.n} parties, server's link {cost.hub.name}"


def _named(found: Sequence[Cost]) -> str:
    """Name the cells, by subject and server's link, as many as a reader takes in."""
    ordered = sorted(found, key=lambda cost: (cost.subject, cost.hub.name, cost.n))
    texts = []
    for (subject, hub), costs in groupby(ordered, key=lambda cost: (cost.subject, cost.hub.name)):
        numbers = listed([str(cost.n) for cost in costs])
        texts.append(f"{subject_name(*subject)} with {numbers} parties and server's link {hub}")
    more = len(texts) - _MOST_NAMED
    return listed([*texts[:_MOST_NAMED], f"{more} more"] if more > 0 else texts)


def crossover(found: Sequence[Crossover]) -> list[str]:
    """Say from which n on the hub's link was the bottleneck, against n = R_hub / R_access."""
    sentences = [
        "By rates alone, the server's link should become the bottleneck once n exceeds the server's rate divided by "
        "the access rate."
    ]
    for workload in sorted({one.workload for one in found}, key=workload_key):
        of_workload = [one for one in found if one.workload == workload]
        part = [one for one in of_workload if not one.is_open]
        wrong = [one for one in part if one.found != one.expected]
        texts = []
        if part:
            right = len(part) - len(wrong)
            texts.append(f"as expected in {right} of {len(part)} decided cases, as far as the n measured can tell")
        if wrong:
            texts.append(f"but {_unexpected(wrong)}")
        if count := len(of_workload) - len(part):
            texts.append(f"{count} case{'s are' if count > 1 else ' is'} not decided")
        sentences.append(f"{workload}: {'; '.join(texts)}.")
    return sentences if found else []


def _unexpected(wrong: Sequence[Crossover]) -> str:
    """Say where a hub became the bottleneck at another n than expected; hubs of one link and n stand together."""
    groups: dict[tuple[str, int | None, int | None], list[str]] = {}
    for one in wrong:
        groups.setdefault((one.hub.name, one.found, one.expected), []).append(subject_name(*one.subject))
    texts = [
        f"{listed(list(dict.fromkeys(who)))} with server's link {link} {'was' if len(set(who)) == 1 else 'were'} "
        f"clearly slower {_from(found)} (expected: {_from(expected)})"
        for (link, found, expected), who in groups.items()
    ]
    more = len(texts) - _MOST_NAMED
    return "; ".join([*texts[:_MOST_NAMED], f"{more} more"] if more > 0 else texts)


def _from(n: int | None) -> str:
    return "at no n" if n is None else f"from n = {n} on"


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
    sentences = []
    if by["stopped"]:
        sentences.append(
            f"The server was a single point of failure for {listed(by['stopped'])}: rounds stopped when it died."
        )
    if by["went on"]:
        who = "It" if sentences else "The server"
        sentences.append(
            f"{who} was no single point of failure for {listed(by['went on'])}: rounds went on without it."
        )
    if by["degraded"]:
        sentences.append(f"Without the server, {listed(by['degraded'])} did fewer rounds, but did not stop.")
    if by["undecided"]:
        sentences.append(f"For {listed(by['undecided'])} the trials do not decide it.")
    sentences = [" ".join(sentences)]
    trials = [one.figures["availability"].n for one in overlays]
    if (fewest := min(trials)) < FEWEST_FOR_INTERVAL:
        count = f"{'' if fewest == max(trials) else 'as few as '}{fewest} trial{'s' * (fewest > 1)}"
        sentences.append(f"This rests on {count} of each overlay; a 95 % interval takes {FEWEST_FOR_INTERVAL}.")
    if surprises := [f"{_who(one)} {one.judgement}" for one in overlays if _against(one)]:
        sentences.append(f"Contrary to the claim, {listed(surprises)}.")
    stopped = [one for one in overlays if one.judgement == "stopped"]
    # Where nothing is known of the time after the fault, there was none.
    gone = [one for one in stopped if math.isinf(one.figures["rounds_recovery_s"].value) and not one.figures[_AFTER].n]
    back = [one for one in stopped if one not in gone]
    if gone:
        who = listed([_who(one) for one in gone])
        sentences.append(f"In the trials of {who} the server did not come back before the traffic ended.")
    if back:
        texts = [f"{_who(one)} {_return(one)}" for one in back]
        sentences.append(
            "Time from the server's return to the next round (medians; the overlay's part ends when all pairs answer "
            f"pings, the rest is TCP's back-off): {'; '.join(texts)}."
        )
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
        pinged = "and not all pairs answered pings"
        if not math.isinf(overlay.value):
            pinged = f"although all pairs answered pings after {_s(overlay)}"
        return f"had none before the traffic ended, {pinged}"
    if math.isinf(overlay.value) or not tcp.n:
        return f"{_s(rounds)}, although not all pairs answered pings before the traffic ended"
    return f"{_s(rounds)} (overlay {_s(overlay)}, TCP {_s(tcp)})"


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
        return [f"All pairs of all meshes were direct in every trial (up to {most} parties)."]
    texts = [
        f"{subject_name(overlay, mode)} with {n} parties ({nats}) in {100 * one.value:.0f} % of {one.n} trials"
        for (overlay, mode, n, nats), one in list(less.items())[:_MOST_NAMED]
    ]
    more = len(less) - _MOST_NAMED
    return [
        f"Not all pairs were always direct. They all were for {'; '.join(texts)}{f'; and {more} more' * (more > 0)}. "
        "One relayed pair slows every round."
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
