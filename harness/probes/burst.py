"""The burst that a path is judged by: as long as the path's RTT and loss ask for, its route read from the counters."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Final

from harness.lab import counters
from harness.lab.counters import Counts
from harness.model.words import Verdict
from harness.probes.asking import Asker, asking
from harness.probes.measurement import Target
from harness.probes.pings import Ping
from harness.probes.verdict import member_addresses, path_of_burst

_SPACING_S: Final = 0.01
_CHECK_EVERY_S: Final = 0.01
# How often a burst is repeated until half a burst's worth of pings was answered.
_MOST_BURSTS: Final = 20
# An answer is waited for as long as the path has needed before, and as a path needs whose RTT is not known yet.
_PATIENCE_S: Final = 1.0
_PATIENCE_RTTS: Final = 3.0
_UNDER_WAY: Final = 20


def patience_s(pings: Sequence[Ping]) -> float:
    """Return how long the last answers of a path may take, judged by its round trips so far. Pure."""
    trips = [trip for ping in pings[-_UNDER_WAY:] if (trip := ping.rtt_s) is not None]
    return max(_PATIENCE_S, _PATIENCE_RTTS * max(trips, default=0.0))


def judge_together(pairs: Sequence[tuple[Target, Asker]], count: int) -> list[Verdict]:
    """Let pairs that share no member burst at once, until half a burst was answered on each or hope is over.

    Over a stream a burst has a connection of its own. Sizes are drawn as for all pings. A pair is `none` only where not
    one of all its bursts' pings was answered.
    """
    first = [len(asker.pings) for _, asker in pairs]
    before = counters.read()
    going = list(range(len(pairs)))
    for _ in range(_MOST_BURSTS):
        for number in going:
            pairs[number][1].ask(count, _SPACING_S, together=True)
        for number in going:
            _await_answers(pairs[number][1])
        going = [n for n in going if _answered(pairs[n][1].pings[first[n] :]) * 2 < count]
        if not going:
            break
    # In this order: an answer that comes between the two is then counted and not judged, never judged and not counted.
    bursts = [asker.pings[start:] for (_, asker), start in zip(pairs, first, strict=True)]
    grown = counters.since(before, counters.read())
    return [_judge(target, burst, grown) for (target, _), burst in zip(pairs, bursts, strict=True)]


def send_and_wait(asker: Asker, count: int) -> None:
    """Send so many, each over a connection of its own where there are any, and wait for their answers."""
    asker.ask(count, _SPACING_S)
    _await_answers(asker)


def wait_for_the_last(askers: Sequence[Asker], most_s: float) -> None:
    """Return when the last requests of each are answered, or have had the time that the answers so far ask for.

    Args:
        most_s: how long after the last request at most: an answer that was held back for long tells of no round trip.
    """
    for asker in askers:
        sent = asker.pings
        # On a long path none of the last ones is answered yet.
        answered = [ping for ping in sent if ping.answered_s is not None]
        until_s = sent[-1].sent_s + min(most_s, patience_s(answered)) if sent else 0.0
        while time.time() < until_s and any(ping.answered_s is None for ping in asker.pings[-_UNDER_WAY:]):
            time.sleep(_CHECK_EVERY_S)


def judge_now(target: Target, count: int) -> Verdict:
    """Judge one pair by a burst of its own, with freshly drawn sizes."""
    with asking([target], [random.Random()]) as (asker,):
        (verdict,) = judge_together([(target, asker)], count)
    return verdict


def _judge(target: Target, burst: Sequence[Ping], grown: Counts) -> Verdict:
    topology = target.lab.topology
    front, other = member_addresses(topology, target.src), member_addresses(topology, target.dst)
    own = front.own | other.own
    lines = [
        f"{flow.segment} {flow.src} > {flow.dst} {size} bytes\n"
        for flow, size in grown.items()
        if flow.src in own or flow.dst in own
    ]
    target.evidence("burst-flows.txt").write_text("".join(lines))
    answered = [ping for ping in burst if ping.answered_s is not None]
    if not answered:
        return "none"
    inner = sum(ping.ip_bytes for ping in answered)
    return path_of_burst(grown, front, other, inner)


def _await_answers(asker: Asker) -> None:
    """Return when all are sent and answered, or when the last one has had its time."""
    while asker.left > 0 or not _come_home(asker.pings):
        time.sleep(_CHECK_EVERY_S)


def _come_home(pings: Sequence[Ping]) -> bool:
    wanted = [ping for ping in pings[-_UNDER_WAY:] if ping.answered_s is None]
    return not wanted or time.time() > wanted[-1].sent_s + patience_s(pings)


def _answered(pings: Sequence[Ping]) -> int:
    return sum(ping.answered_s is not None for ping in pings)
