"""A trial's timeline: which event is due when, performed in that order, with the moments at which each took effect."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.model.timeline import EventSettings, Moment, TimelineItem
from harness.timeline.contract import Event, RunningDaemons
from harness.timeline.performing import Performed, perform

if TYPE_CHECKING:
    from harness.lab.network import Lab
    from harness.lab.process import Daemon


@dataclass(frozen=True, order=True)
class _Due:
    """What is to be done at a moment, in this order among what is due at once: an item, its end, or a step of it.

    `step` are the settings of a step of an event that takes a while.
    """

    due_s: float
    number: int
    item: TimelineItem = field(compare=False)
    undo: bool = field(compare=False)
    step: EventSettings | None = field(compare=False, default=None)


class _Stopped:
    """An overlay that is no more: what ends after it brings none of its daemons back."""

    daemons: Mapping[str, Daemon] = MappingProxyType({})

    def restart(self, service: str) -> None: ...

    def leave_out(self, node: str) -> None: ...

    def join(self, node: str) -> None: ...


class Schedule:
    """The events of one trial and their outcomes; `now` is Unix time in seconds.

    Everything is done by `reached` and `poll`, in the caller's thread, one thing after the other.
    """

    def __init__(
        self,
        items: Sequence[TimelineItem],
        events: Mapping[str, Event[Any]],
        lab: Lab,
        overlay: RunningDaemons,
        folder: Path,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._items, self._events, self._lab, self._overlay = items, events, lab, overlay
        self._folder, self._now = folder, now
        self._due: list[_Due] = []
        self._count = 0
        self._reached: set[Moment] = set()
        self.happened: list[Performed] = []
        self._steps: list[Performed] = []
        self._in_force: list[TimelineItem] = []
        # Daemons that died while an event was performed; one that is started again is another object.
        self.stopped: set[Daemon] = set()

    @property
    def absent(self) -> frozenset[str]:
        """Members that an event is yet to add."""
        adding = {item.to for item in self._items if self._events[item.do].subject_is_absent}
        return frozenset(adding - {one.to for one in self.happened if self._events[one.do].subject_is_absent})

    @property
    def never(self) -> list[str]:
        """What has not happened: its moment was not reached, or the traffic ended before."""
        waiting = [item for item in self._items if item.after is not None and item.after not in self._reached]
        due = [one.item for one in sorted(self._due) if not one.undo and one.step is None]
        return [f"{item.do} {item.to}" for item in (*waiting, *due)]

    def prepare(self) -> None:
        """Do what has to be done before the overlay is deployed: who is to be added later is not there yet.

        Raises:
            LabError: the kernel or a tool refused.
        """
        for item in self._items:
            event = self._events[item.do]
            event.prepare(self._lab, self._overlay, item.to, event.settings.model_validate(item.settings))

    def awaits(self, moment: Moment) -> bool:
        """See `harness.probes.contract.Timeline`."""
        return moment not in self._reached and any(item.after == moment for item in self._items)

    def reached(self, moment: Moment) -> None:
        """Do what follows this moment at once, and plan what lasts; only the first time counts.

        Raises:
            LabError: the kernel or a tool refused.
        """
        if moment in self._reached:
            return
        self._reached.add(moment)
        zero_s = self._now()
        for item in self._items:
            if item.after == moment:
                self._plan(zero_s, item)
            elif moment == "traffic" and item.at_s is not None:
                self._plan(zero_s + item.at_s[0], item)
        self.poll()

    def begin(self) -> None:
        """Start the clock: see `harness.probes.contract.Timeline`."""
        self.reached("traffic")

    def poll(self) -> float | None:
        """Do what is due; return the seconds until the next item is due, None when nothing is left.

        Raises:
            LabError: the kernel or a tool refused.
        """
        while self._due and self._due[0].due_s <= self._now():
            self._do(heapq.heappop(self._due))
        return max(0.0, self._due[0].due_s - self._now()) if self._due else None

    def settle(self) -> None:
        """End all that is still in force, the last first, once the overlay has stopped: the lab is as declared again.

        What an overlay is compared with was declared so, and a lab that an event took apart could not be opened for it.
        This is no part of the timeline: it stands in no record.

        Raises:
            LabError: the kernel or a tool refused.
        """
        self._due = [one for one in self._due if not one.undo and one.step is None]
        heapq.heapify(self._due)
        while self._in_force:
            item = self._in_force.pop()
            event = self._events[item.do]
            if event.can_be_undone:
                event.undo(self._lab, _Stopped(), item.to, event.settings.model_validate(item.settings))
        for item in self._items:
            event = self._events[item.do]
            if event.subject_is_absent and item.to in self.absent:
                event.perform(self._lab, _Stopped(), item.to, event.settings.model_validate(item.settings))

    def _do(self, due: _Due) -> None:
        item, event = due.item, self._events[due.item.do]
        settings = due.step or event.settings.model_validate(item.settings)
        whole = not due.undo and due.step is None
        further = event.further(self._lab, item.to, settings) if whole else ()
        running = [daemon for daemon in list(self._overlay.daemons.values()) if daemon.alive]
        done = perform(
            event, self._lab, self._overlay, item.to, settings, due_s=due.due_s, undo=due.undo, now=self._now
        )
        self.stopped.update(daemon for daemon in running if daemon.where == item.to and not daemon.alive)
        if due.step is not None:
            self._steps.append(done)
        else:
            self.happened.append(done)
        self._keep()
        if whole:
            self._in_force.append(item)
        if due.undo:
            self._in_force = [one for one in self._in_force if one is not item]
            # What was still to come of it does not come any more.
            self._due = [one for one in self._due if one.item is not item or one.step is None]
            heapq.heapify(self._due)
        for after_s, step in further:
            self._plan(done.began_s + after_s, item, step=step)
        if item.for_s is not None and whole:
            # It lasts as long as it was asked to, from when it took effect.
            self._plan(done.effective_s + item.for_s[0], item, undo=True)

    def _plan(self, due_s: float, item: TimelineItem, *, undo: bool = False, step: EventSettings | None = None) -> None:
        heapq.heappush(self._due, _Due(due_s, self._count, item, undo, step))
        self._count += 1

    def _keep(self) -> None:
        kept = {"timeline.json": self.happened, "timeline-steps.json": self._steps}
        for name, done in kept.items():
            if done:
                (self._folder / name).write_text(json.dumps([asdict(one) for one in done], indent=1))
