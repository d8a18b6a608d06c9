"""What events have changed and not yet given back: each end gives back what there was before its own beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from harness.lab.network import Lab
    from harness.timeline.contract import EventSettings

State = TypeVar("State")


@dataclass
class _Layer(Generic[State]):
    """One change in force: with which settings it was made, and what there was before it."""

    settings: EventSettings
    before: State


@dataclass(frozen=True)
class Before(Generic[State]):
    """What there was before a change, and is to be again."""

    state: State


class Layers(Generic[State]):
    """The changes of each subject of each lab, the last on top.

    One that nothing undoes stays below those that come after it: their end leads back to it, not to the beginning.
    """

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Lab, dict[str, list[_Layer[State]]]] = WeakKeyDictionary()

    def put(self, lab: Lab, subject: str, settings: EventSettings, before: State) -> None:
        """Add a change; `before` is what there is without it."""
        self._of.setdefault(lab, {}).setdefault(subject, []).append(_Layer(settings, before))

    def top(self, lab: Lab, subject: str) -> EventSettings | None:
        """Return the settings of the last change that is in force; None: there is none."""
        layers = self._of.get(lab, {}).get(subject, [])
        return layers[-1].settings if layers else None

    def take(self, lab: Lab, subject: str, settings: EventSettings) -> Before[State] | None:
        """Take the last change with these settings away.

        Returns:
            What is to be again; None where a later change is in force, which goes on and will lead back to it.

        Raises:
            KeyError: there is no such change.
        """
        layers = self._of.get(lab, {}).get(subject, [])
        place = next((at for at in reversed(range(len(layers))) if layers[at].settings == settings), None)
        if place is None:
            raise KeyError(subject)
        taken = layers.pop(place)
        if place == len(layers):
            return Before(taken.before)
        layers[place].before = taken.before
        return None

    def amend(self, lab: Lab, subject: str, change: Callable[[State], State]) -> None:
        """Change what the ends of a subject's changes will lead back to."""
        for layer in self._of.get(lab, {}).get(subject, []):
            layer.before = change(layer.before)
