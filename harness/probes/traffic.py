"""Keeps the traffic of all pairs up while a timeline runs: pings or streams, and one TCP connection a pair.

Reaches into a lab; the continuity probe loads it when it measures.
"""

from __future__ import annotations

import contextlib
import csv
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import OverlayError
from harness.lab.tap import Tap
from harness.probes.answers import Asked
from harness.probes.asking import asking
from harness.probes.burst import wait_for_the_last
from harness.probes.carriage import Attributed, attribute, first_direct
from harness.probes.continuityfigures import AfterIdle, Continued
from harness.probes.contract import Surroundings
from harness.probes.held import START_S, HeldConnection, servers_of
from harness.probes.measurement import Pair, Target
from harness.probes.pinger import Pinger
from harness.probes.pings import Ping
from harness.probes.tracks import PairTracks
from harness.probes.verdict import MemberAddresses, member_addresses

if TYPE_CHECKING:
    from harness.lab.network import Lab
    from harness.model.family import Address

_STEP_S: Final = 0.02
_LOOK_EVERY_S: Final = 0.5
_LOOKED_AT: Final = 30
# All pairs together: what a tap in Python follows with ease.
_MOST_PINGS_PER_S: Final = 500.0
_SETTLES_S: Final = 0.5
# What is under way when the traffic ends has a few of the path's round trips to be answered, and never longer.
_LONGEST_TRIP_S: Final = 10.0
# An answer that was held back for longer crossed too many others' packets to be told by them.
_TOLD_S: Final = 3.0
_CERTAIN: Final = frozenset({"direct", "relayed", "asymmetric"})
# Over streams each question has a connection of its own, and so long for its answer.
_STREAM_PATIENCE_S: Final = 1.0

# What was asked over a pair, and when what was answered more than once; None: that cannot be known.
_Questions = tuple[Sequence[Asked], Sequence[float] | None]


@dataclass(frozen=True)
class Plan:
    """A question every `interval_s` over each pair for `duration_s`, of up to `largest_bytes`, after `idle_s`."""

    duration_s: float
    interval_s: float
    largest_bytes: int
    idle_s: float


def keep_traffic_up(targets: Sequence[Target], plan: Plan, trial: Surroundings) -> dict[Pair, Continued]:
    """Keep all pairs busy while the timeline runs; the pairs of members that are not there yet wait for them.

    Raises:
        OverlayError: a pair whose members are both there was silent from the beginning, and had not been idle before:
            one that had been has a figure of it.
        LabError: the kernel or a tool refused an event.
    """
    present = {target.pair: not set(target.pair) & trial.absent for target in targets}
    if plan.idle_s:
        time.sleep(plan.idle_s)
    watch = _Watch(targets[0].lab, targets, plan)
    there = [target for target in targets if present[target.pair]]
    servers = servers_of(there)
    held = [HeldConnection(target, plan.interval_s, servers.get(target.dst)) for target in there]
    try:
        first = watch.wait_until_it_flows(present)
        after_idle = {pair: AfterIdle(took_s, START_S) for pair, took_s in first.items()} if plan.idle_s else {}
        if None in first.values():
            return {target.pair: watch.so_far(target, after_idle.get(target.pair)) for target in targets}
        for one in held:
            one.begin()
        opened_by_s = time.monotonic() + START_S
        for one in held:
            one.wait_until_open(max(0.0, opened_by_s - time.monotonic()))
        begin_s = time.time()
        trial.timeline.begin()
        end_s = begin_s + plan.duration_s
        _follow(trial, watch, end_s)
        for one in held:
            one.tell_end()
        happened, never = tuple(trial.timeline.happened), tuple(trial.timeline.never)
        asked = watch.end()
        connections = {one.target.pair: one.end() for one in held}
        found = {}
        for target in targets:
            questions, twice = asked[target.pair]
            found[target.pair] = Continued(
                begin_s,
                end_s,
                tuple(questions),
                None if twice is None else tuple(sent for sent in twice if begin_s <= sent < end_s),
                connections.get(target.pair),
                happened,
                never,
                after_idle.get(target.pair),
            )
            _keep(target, found[target.pair])
        return found
    finally:
        watch.close()
        for daemon in (*servers.values(), *(one.client for one in held)):
            if daemon is not None:
                daemon.stop()


def _follow(trial: Surroundings, watch: _Watch, end_s: float) -> None:
    """Let the timeline happen until the traffic ends, and tell it when all pairs are direct, if it waits for that."""
    look_s = 0.0
    while (left_s := end_s - time.time()) > 0:
        due_s = trial.timeline.poll()
        watch.note_addresses()
        if trial.timeline.awaits("direct") and time.time() >= look_s:
            if watch.all_direct(trial.absent):
                trial.timeline.reached("direct")
            look_s = time.time() + _LOOK_EVERY_S
        step_s = min(_STEP_S, left_s)
        time.sleep(step_s if due_s is None else min(step_s, due_s))


def _keep(target: Target, seen: Continued) -> None:
    """Write the evidence: a line a question, seconds since the traffic began; no `rtt_ms`: never answered."""
    flows = [("traffic", seen.asked), ("tcp", seen.held.asked if seen.held else ())]
    with target.evidence("continuity.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["flow", "sent_s", "rtt_ms", "way"])
        for flow, questions in flows:
            for one in questions:
                rtt = "" if one.answered_s is None else f"{1000 * (one.answered_s - one.sent_s):.3f}"
                writer.writerow([flow, f"{one.sent_s - seen.begin_s:.4f}", rtt, one.way])


class _Watch:
    """The questions over all pairs, and what passes their members' ports meanwhile."""

    def __init__(self, lab: Lab, targets: Sequence[Target], plan: Plan) -> None:
        self._lab, self._targets = lab, targets
        self._idled = plan.idle_s > 0
        members = sorted({name for target in targets for name in target.pair})
        self._ports = {name: lab.port_of(name) for name in members}
        self._fronts: dict[str, MemberAddresses] = {name: member_addresses(lab.topology, name) for name in members}
        self._topology = lab.topology
        capture = targets[0].folder / f"{targets[0].label}-continuity.pcapng"
        self._tap = Tap(list(self._ports.values()), capture, lab.beside)
        rngs = [random.Random(f"{lab.seed}/{target.src}/{target.dst}/continuity") for target in targets]
        self._stack = contextlib.ExitStack()
        askers = self._stack.enter_context(asking(targets, rngs, plan.largest_bytes, _STREAM_PATIENCE_S))
        self._askers = {target.pair: asker for target, asker in zip(targets, askers, strict=True)}
        self._began_s = time.time()
        interval_s = max(plan.interval_s, len(targets) / _MOST_PINGS_PER_S)
        for asker in askers:
            asker.ask(float("inf"), interval_s)

    def wait_until_it_flows(self, present: Mapping[Pair, bool]) -> dict[Pair, float | None]:
        """Return, once every pair was answered, how long each waited for its first answer.

        Raises:
            OverlayError: a pair was not answered; where they had been idle before, it has None instead.
        """
        deadline = time.time() + START_S
        waiting = [pair for pair in self._askers if present[pair]]
        first: dict[Pair, float | None] = {}
        while len(first) < len(waiting):
            for pair in waiting:
                came = [ping.answered_s for ping in self._askers[pair].pings if ping.answered_s is not None]
                if came and pair not in first:
                    first[pair] = min(came) - self._began_s
            silent = [pair for pair in waiting if pair not in first]
            if silent and time.time() > deadline and self._idled:
                return first | dict.fromkeys(silent)
            if silent and time.time() > deadline:
                raise OverlayError(f"{silent[0][0]} to {silent[0][1]}: nothing was answered within {START_S:g} s")
            time.sleep(_STEP_S)
        return first

    def so_far(self, target: Target, after_idle: AfterIdle | None) -> Continued:
        """Return what was asked over a pair, and keep it, where a silence after idling ends the trial early."""
        asked = tuple(Asked(ping.sent_s, ping.answered_s) for ping in self._askers[target.pair].pings)
        seen = Continued(self._began_s, self._began_s, asked, None, None, (), after_idle=after_idle)
        _keep(target, seen)
        return seen

    def note_addresses(self) -> None:
        """Remember every address that a member has had: an event may have given it others."""
        if self._lab.topology is self._topology:
            return
        self._topology = self._lab.topology
        for name, known in self._fronts.items():
            now = member_addresses(self._topology, name)
            self._fronts[name] = MemberAddresses(known.own | now.own, now.segment, known.public | now.public)

    def all_direct(self, absent: frozenset[str]) -> bool:
        """Tell whether the last pings of every pair went and came back directly, of those who are there already."""
        for target in (one for one in self._targets if not absent & set(one.pair)):
            recent = self._ways(target, self._askers[target.pair].pings[-_LOOKED_AT:])
            if first_direct(recent) is None or recent[-1].carried != "direct":
                return False
        return True

    def _ways(self, target: Target, pings: Sequence[Ping]) -> list[Attributed]:
        """Tell the way of every answered ping of a pair.

        What its members exchange with third ones is a relay's traffic only where that leaves no doubt: a member may
        relay for others, but mostly it talks to each of them.
        """
        ways = attribute(self._tracks(target), pings)
        third = [front.public for name, front in self._fronts.items() if name not in target.pair]
        if not third or all(one.carried in _CERTAIN for one in ways):
            return ways
        without = attribute(self._tracks(target, frozenset().union(*third)), pings)
        return [one if one.carried in _CERTAIN else other for one, other in zip(ways, without, strict=True)]

    def _tracks(self, target: Target, without: frozenset[Address] = frozenset()) -> PairTracks:
        """Sort what passed the ports of a pair, but for what went to or came from addresses of others alone."""
        tracks = PairTracks(self._fronts[target.src], self._fronts[target.dst])
        others = without - self._fronts[target.src].public - self._fronts[target.dst].public
        tracks.take(
            *(
                [one for one in self._tap.seen(self._ports[name]) if not {one.src, one.dst} & others]
                for name in target.pair
            )
        )
        return tracks

    def end(self) -> dict[Pair, _Questions]:
        """Stop asking, wait for what is under way, and tell each one's way from what passed the ports."""
        for asker in self._askers.values():
            asker.ask(0, 1.0)
        time.sleep(_SETTLES_S)  # for what the network has doubled, which comes after the answer
        wait_for_the_last(list(self._askers.values()), _LONGEST_TRIP_S)
        self.note_addresses()
        self.close()
        found: dict[Pair, _Questions] = {}
        for target in self._targets:
            asker = self._askers[target.pair]
            quick = [ping for ping in asker.pings if ping.rtt_s is not None and ping.rtt_s < _TOLD_S]
            # Where the tap lost frames, what it saw proves nothing.
            told = {} if self._tap.lost else {one.ping.seq: one.carried for one in self._ways(target, quick)}
            asked = [Asked(ping.sent_s, ping.answered_s, told.get(ping.seq, "")) for ping in asker.pings]
            twice = [asker.pings[seq].sent_s for seq in asker.twice] if isinstance(asker, Pinger) else None
            found[target.pair] = asked, twice
        return found

    def close(self) -> None:
        """End the questions and the tap; safe to call twice."""
        self._stack.close()
        self._tap.close()
