"""Links of simulated devices: delay, jitter in order or not, loss. No I/O."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from harness.nat.packet import Endpoint, Packet
from harness.simulation.events import Events


@dataclass(frozen=True)
class Link:
    """One way over a link: seconds of delay, up to so many more at random, and the share of packets that is lost.

    With `reorders` every packet has its own jitter and may overtake; without, packets of one flow stay in order.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    reorders: bool = False

    @cached_property
    def steady(self) -> bool:
        """Whether each packet takes the same time, and some."""
        return self.delay_s > 0 and not self.jitter_s and not self.loss


IDEAL = Link()
_FLOWS = 1024


class HasLink(Protocol):
    """A device at the end of a link."""

    link: Link


class Links:
    """Carries packets over the links of one Internet."""

    def __init__(self, rng: random.Random, events: Events) -> None:
        self._rng, self._events = rng, events
        self._order: dict[tuple[HasLink, bool, Endpoint, Endpoint], float] = {}
        """When the last packet of a flow came out of a device's link, inwards or outwards."""
        self._enough = _FLOWS

    def cross(
        self,
        device: HasLink,
        packet: Packet,
        then: Callable[[], None],
        before: Link = IDEAL,
        *,
        inwards: bool = False,
    ) -> None:
        """Take the time of a device's link, and of one before it, and lose what is lost."""
        link = device.link
        if link is IDEAL and before is IDEAL:
            then()
            return
        if before is IDEAL and link.steady:
            self._events.at(self._events.now + link.delay_s, then)
            return
        delay_s, reorders, rng = 0.0, True, self._rng
        for each in (before, link):
            if each is IDEAL:
                continue
            if each.loss and rng.random() < each.loss:
                return
            delay_s += each.delay_s
            if each.jitter_s:
                delay_s += rng.random() * each.jitter_s
                reorders = reorders and each.reorders
        if not delay_s:
            then()
            return
        at = self._events.now + delay_s
        if not reorders:
            # Each way over a link is in order by itself: behind what has yet to come out of another nothing waits.
            if len(self._order) > self._enough:
                # Nothing waits behind a packet that has come out.
                self._order = {each: out for each, out in self._order.items() if out > self._events.now}
                self._enough = max(_FLOWS, 2 * len(self._order))
            flow = (device, inwards, packet.source, packet.destination)
            at = self._order[flow] = max(at, self._order.get(flow, 0.0))
        self._events.at(at, then)
