"""What of a timeline is in force when an item begins, and what does not go together. Pure.

Items after `ready` and `connected` come before the traffic, those with `at_s` after it by so many seconds. When a path
becomes direct nobody knows beforehand: such items are compared with each other, and with what came before the traffic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.model.timeline import Moment, TimelineItem
from harness.model.topology import Topology
from harness.timeline.contract import Event, EventSettings
from harness.timeline.registry import events

_BEFORE: Final[tuple[Moment, ...]] = ("ready", "connected")


@dataclass(frozen=True)
class Placed:
    """An item of a timeline of one cell, and when it begins and ends in seconds on its clock; `end_s` may be infinite.

    `clock` is 0 before the traffic, 1 from its beginning and 2 from the moment at which all is direct.
    """

    number: int
    item: TimelineItem
    clock: int
    begin_s: float
    end_s: float

    @property
    def event(self) -> Event[Any]:
        """Return its event."""
        return events()[self.item.do]

    @property
    def settings(self) -> EventSettings:
        """Return what it says of its event."""
        said: EventSettings = self.event.settings.model_validate(self.item.settings)
        return said

    def __str__(self) -> str:
        when = f"after {self.item.after}" if self.item.at_s is None else f"at {self.item.at_s[0]:g} s"
        return f"{self.item.do} {self.item.to} {when}"

    def follows(self, other: Placed) -> bool:
        """Tell whether this begins after another item for certain."""
        if self.clock != other.clock:
            return other.clock == 0
        return (self.begin_s, self.number) > (other.begin_s, other.number)

    def may_follow(self, other: Placed) -> bool:
        """Tell whether this may begin after another item: for certain, or nobody knows."""
        return self.follows(other) or (self.clock != other.clock and self.clock > 0)

    def lasts_at(self, later: Placed) -> bool:
        """Tell whether this may still be in force when another item begins."""
        return self.clock != later.clock or self.end_s >= later.begin_s


def placed(timeline: Sequence[TimelineItem]) -> list[Placed]:
    """Place the items of one cell, in the order of the scenario; nothing is swept in them."""
    found = []
    for number, item in enumerate(timeline):
        clock, begin_s = 1, item.at_s[0] if item.at_s is not None else 0.0
        if item.after in _BEFORE:
            clock, begin_s = 0, float(_BEFORE.index(item.after))
        elif item.after == "direct":
            clock = 2
        end_s = math.inf if item.for_s is None or clock == 0 else begin_s + item.for_s[0]
        found.append(Placed(number, item, clock, begin_s, end_s))
    return found


def topologies_at(topology: Topology, items: Sequence[Placed], at: Placed) -> Iterator[Topology]:
    """Yield what the topology may be when an item begins: with what is in force for certain, and with what may be."""
    for before in (at.follows, at.may_follow):
        standing = [one for one in items if one is not at and before(one) and one.lasts_at(at)]
        now = topology
        for one in sorted(standing, key=lambda one: (one.clock, one.begin_s, one.number)):
            if one.item.to in one.event.subjects(now) and not one.event.problems(now, one.item.to, one.settings):
                now = one.event.applied(now, one.item.to, one.settings)
        yield now


def broken(topology: Topology, items: Sequence[Placed]) -> Iterator[tuple[Placed, str]]:
    """Yield the items whose beginning, or end, lets another one that lasts not go on, with the reason."""
    for lasting in (one for one in items if _may_be_ended(one.event)):
        if any(lasting.event.problems(topology, lasting.item.to, lasting.settings)):
            continue  # said already
        for other in (one for one in items if one is not lasting):
            found = [
                f"{when} while {lasting} lasts: {why}"
                for when, now in _meanwhile(topology, items, lasting, other)
                for why in lasting.event.ended_by(now, lasting.item.to, lasting.settings)
            ]
            yield from ((other, why) for why in found[:1])


def _may_be_ended(event: Event[Any]) -> bool:
    """Tell whether an event looks at what others make of the topology at all: most do not."""
    own: object = type(event).ended_by
    return own is not Event.ended_by


def _meanwhile(
    topology: Topology, items: Sequence[Placed], lasting: Placed, other: Placed
) -> Iterator[tuple[str, Topology]]:
    """Yield what the topology may become by another item's beginning and by its end, while an item lasts."""
    if other.may_follow(lasting) and lasting.lasts_at(other):
        for now in topologies_at(topology, items, other):
            able = other.item.to in other.event.subjects(now)
            if able and not other.event.problems(now, other.item.to, other.settings):
                yield "it begins", other.event.applied(now, other.item.to, other.settings)
    if other.end_s < math.inf and (other.clock != lasting.clock or lasting.begin_s <= other.end_s <= lasting.end_s):
        without = [one for one in items if one is not other]
        yield from (("it ends", now) for now in topologies_at(topology, without, lasting))


def conflicts(items: Sequence[Placed]) -> Iterator[tuple[Placed, str]]:
    """Yield the items that begin while another one lasts that affects the same, with the reason."""
    for later in items:
        earlier = [one for one in items if one.item.to == later.item.to and later.follows(one) and _contend(one, later)]
        found = (why for one in earlier if (why := _conflict(items, one, later)) is not None)
        yield from ((later, why) for why in list(found)[:1])


def too_early(items: Sequence[Placed]) -> Iterator[tuple[Placed, str]]:
    """Yield what happens to somebody who is not there yet, and who is added twice."""
    adding = [one for one in items if one.event.subject_is_absent]
    for one in items:
        for other in (other for other in adding if other is not one and other.item.to == one.item.to):
            if one.event.subject_is_absent and one.number > other.number:
                yield one, f"{one.item.to} already joins with {other}, and cannot join twice"
            elif not one.event.subject_is_absent and other.follows(one):
                yield one, f"{one.item.to} has not joined yet: it joins with {other}"


def _contend(one: Placed, other: Placed) -> bool:
    return one.event.contends(one.settings, other.event, other.settings) or other.event.contends(
        other.settings, one.event, one.settings
    )


def _conflict(items: Sequence[Placed], earlier: Placed, later: Placed) -> str | None:
    both_replace = earlier.event.replaces and later.event.replaces
    if earlier.end_s < math.inf:
        inside = both_replace and later.end_s < earlier.end_s
        if later.clock == earlier.clock and later.begin_s <= earlier.end_s and not inside:
            return f"it begins before the end of {earlier}, which lasts {earlier.end_s - earlier.begin_s:g} s"
        return None
    taken_s = earlier.event.takes_s(earlier.settings)
    if taken_s and later.clock == earlier.clock and later.begin_s <= earlier.begin_s + taken_s:
        return f"it begins while {earlier} is under way, which takes {taken_s:g} s"
    lifted = any(
        earlier.item.do in one.event.lifts
        and one.item.to == later.item.to
        and one.may_follow(earlier)
        and later.may_follow(one)
        for one in items
    )
    return None if both_replace or lifted else f"{earlier} is still in force, because nothing ends it"
