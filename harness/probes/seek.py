"""The search for the paths of all pairs at once: pings until each is as good as its mode allows, then a burst each."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.errors import LabNotAsDeclared
from harness.lab.tap import Tap
from harness.model.words import SEEKING_DIRECT, Verdict
from harness.probes.asking import Asker, asking
from harness.probes.burst import judge_together, patience_s, send_and_wait
from harness.probes.carriage import Attributed, attribute, first_direct, share_of_direct, verdict_of
from harness.probes.measurement import Pair, Target
from harness.probes.pathfigures import PathFound, Since
from harness.probes.pings import to_csv
from harness.probes.rounds import rounds_of
from harness.probes.tracks import PairTracks
from harness.probes.verdict import member_addresses

_CHECK_EVERY_S: Final = 0.05
# All pairs together: what a tap in Python follows with ease. Where pairs are many, each is pinged less often.
_MOST_PINGS_PER_S: Final = 500.0
# While pings go on, only the last of them are looked at; all are when the figures are made.
_LOOKED_AT: Final = 30
# Of streams, after the burst: what do connections get that are opened from now on?
_NEW_CONNECTIONS: Final = 10
# Of the pings that were due. Who sent fewer was kept from asking, and silence says nothing of who was asked.
_FEWEST_SENT: Final = 0.5


@dataclass(frozen=True)
class Search:
    """How paths are sought.

    Pings of up to `largest_bytes`, `interval_s` apart, until `deadline_s` after the start; then bursts of at least
    `burst_packets`.
    """

    deadline_s: float
    interval_s: float
    largest_bytes: int
    burst_packets: int


def find_paths(targets: Sequence[Target], search: Search, tap: Tap, since: Since | None) -> dict[Pair, PathFound]:
    """Ping over all pairs at once until each path is as good as its mode allows, then judge a burst of each.

    Where a pair has no interface, its pings are requests through a stream, each over a connection of its own.

    Args:
        tap: watches the ports of all members since before the daemons started; closed at the end.
        since: when the daemons were started and when they were ready; None: there are none, and the time counts from
            the first ping.

    Raises:
        LabNotAsDeclared: nobody answered, and the machine was too busy to ask.
    """
    if since is None:
        now = time.time()
        since = Since(now, now)
    deadline = since.started_s + search.deadline_s
    search = replace(search, interval_s=max(search.interval_s, len(targets) / _MOST_PINGS_PER_S))
    rngs = [random.Random(f"{target.lab.seed}/{target.src}/{target.dst}") for target in targets]
    with asking(targets, rngs, search.largest_bytes) as askers:
        watches = [_Watch(target, asker, tap) for target, asker in zip(targets, askers, strict=True)]
        _seek(watches, search, deadline)
        for together in rounds_of([watch.target.pair for watch in watches]):
            _judge([watches[number] for number in together], search, deadline)
    tap.close()
    for watch in watches:
        if watch.target.dst_address is not None and not watch.connected(deadline):
            require_asked(watch.target.pair, len(watch.asker.pings), watch.due)
    return {watch.target.pair: watch.found(tap.lost, deadline, since) for watch in watches}


def _seek(watches: Sequence[_Watch], search: Search, deadline: float) -> None:
    """Ping over pairs until each has settled or the time is over."""
    pending, begun_s = list(watches), time.time()
    for watch in pending:
        watch.asker.ask(float("inf"), search.interval_s)
    while pending and time.time() < deadline:
        time.sleep(_CHECK_EVERY_S)  # both sources are lists that grow; nothing announces "direct"
        for watch in [one for one in pending if one.settled()]:
            watch.asker.ask(0, search.interval_s)
            pending.remove(watch)
    for watch in pending:
        watch.asker.ask(0, search.interval_s)
        watch.due += (time.time() - begun_s) / search.interval_s


def require_asked(pair: Pair, sent: int, due: float) -> None:
    """Refuse silence as an answer where hardly anybody was asked.

    Raises:
        LabNotAsDeclared: fewer than half of the pings that were due were sent.
    """
    if sent < _FEWEST_SENT * due:
        raise LabNotAsDeclared(
            f"{pair[0]} to {pair[1]}: nothing was answered, but only {sent} of {due:.0f} pings were sent in time: "
            "this machine was too busy to ask"
        )


def _judge(watches: Sequence[_Watch], search: Search, deadline: float) -> None:
    """Judge a burst of each pair that is connected; the pairs have no member in common.

    Where a pair that was seen direct bursts on another way, its path has changed again: it goes on pinging until it is
    direct or the time is over, and is judged again. One that is neither direct nor relayed while others burst is judged
    alone: a member may have carried the others' packets. Where the product's own packets make it mixed for the
    counters, the pings themselves tell.
    """
    connected = [watch for watch in watches if watch.connected(deadline)]
    time.sleep(max((watch.under_way_s() for watch in connected), default=0.0))
    starts = [len(watch.asker.pings) for watch in connected]
    together = judge_together([(one.target, one.asker) for one in connected], search.burst_packets)
    for watch, verdict, start in zip(connected, together, starts, strict=True):
        watch.judged(verdict, start)
        if len(connected) > 1 and watch.verdict not in ("direct", "relayed"):
            watch.judge_alone(search)
        while watch.verdict != "direct" and watch.punches and time.time() < deadline:
            watch.look_again()
            _seek([watch], search, deadline)
            time.sleep(watch.under_way_s())
            watch.judge_alone(search)
        watch.try_new_ones()


class _Watch:
    """One pair: its pings, and what has passed the ports of both its members."""

    def __init__(self, target: Target, asker: Asker, tap: Tap) -> None:
        lab = target.lab
        self.target, self.asker = target, asker
        self.verdict: Verdict = "none"
        self.punches = target.mode in SEEKING_DIRECT
        self._tap = tap
        self._ports = lab.port_of(target.src), lab.port_of(target.dst)
        self._taken = [0, 0]
        self.due = 0.0
        """How many pings were to be sent while nothing settled it."""
        self._tracks = PairTracks(
            member_addresses(lab.topology, target.src), member_addresses(lab.topology, target.dst)
        )
        self._looked_from = 0
        self._new_from: int | None = None

    def _take(self) -> None:
        news = [self._tap.seen(port, start) for port, start in zip(self._ports, self._taken, strict=True)]
        self._tracks.take(*news)
        self._taken = [taken + len(new) for taken, new in zip(self._taken, news, strict=True)]

    def _recent(self) -> list[Attributed]:
        self._take()
        return attribute(self._tracks, self.asker.pings[self._looked_from :][-_LOOKED_AT:])

    def settled(self) -> bool:
        """Tell whether nothing more is to be hoped for: connected, and direct where the mode can be."""
        if not any(ping.answered_s is not None for ping in self.asker.pings[-_LOOKED_AT:]):
            return False
        recent = self._recent()
        if not self.punches:
            return any(one.carried != "nowhere" for one in recent)
        return first_direct(recent) is not None and recent[-1].carried == "direct"

    def connected(self, deadline: float) -> bool:
        """Tell whether a ping was answered in time."""
        return any(ping.answered_s is not None and ping.answered_s <= deadline for ping in self.asker.pings)

    def look_again(self) -> None:
        """Forget what settled it: only pings from now on count."""
        self._looked_from = len(self.asker.pings)

    def under_way_s(self) -> float:
        """Return how long the last pings may take to come home: on a long path some still travel on the old one."""
        pings = self.asker.pings
        unanswered = [ping for ping in pings[-_LOOKED_AT:] if ping.answered_s is None]
        trips = [ping.rtt_s or 0.0 for ping in pings[-_LOOKED_AT:] if ping.answered_s is not None]
        return min(max(trips, default=0.0), patience_s(pings)) if unanswered else 0.0

    def judge_alone(self, search: Search) -> None:
        """Judge a burst while no other pair sends any."""
        start = len(self.asker.pings)
        (verdict,) = judge_together([(self.target, self.asker)], search.burst_packets)
        self.judged(verdict, start)

    def try_new_ones(self) -> None:
        """Open some more connections over a direct path of streams: many products decide for each by itself."""
        if self.target.dst_address is None and self.punches and self.verdict == "direct":
            self._new_from = len(self.asker.pings)
            send_and_wait(self.asker, _NEW_CONNECTIONS)

    def judged(self, verdict: Verdict, start: int) -> None:
        """Take the counters' verdict on pings from number `start` on; where it is mixed, the pings may know better."""
        self.verdict = verdict
        if verdict == "mixed":
            self._take()
            burst = [one for one in attribute(self._tracks, self.asker.pings) if one.ping.seq >= start]
            self.verdict = verdict_of(burst) or verdict

    def found(self, lost: int, deadline: float, since: Since) -> PathFound:
        """Return all that was found, once the pings are over and the tap is closed; the pings are kept as evidence.

        Args:
            lost: frames that the tap missed.
            deadline: Unix time.
        """
        self._take()
        pings = self.asker.pings
        self.target.evidence("pings.csv").write_text(to_csv(pings))
        attributed = attribute(self._tracks, pings)
        found = PathFound.of(
            attributed, self.verdict, lost=lost, deadline=deadline, errors=self.asker.errors, since=since
        )
        if self._new_from is None or lost:
            return found
        return replace(found, new_direct_ratio=share_of_direct(attributed, pings[self._new_from :]))
