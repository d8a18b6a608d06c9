"""The event contract: what may happen to a lab or an overlay during a trial. Each event is one file.

An item of a timeline says `{at_s | after, do, to, for_s}`: `do` is the event's name, `to` its subject, and `for_s` how
long it lasts before it is undone. Whatever else it says are the event's own settings. An event is found through the
entry point group `overlaybench.events`, under the name that scenarios use.

An event's module is loaded wherever a scenario is checked: it may import models, `harness.errors` and the other modules
of `harness.timeline`, while what reaches into a lab comes with the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from harness.model.timeline import GROUP, ITEM_KEYS, EventSettings
from harness.model.topology import Topology
from harness.overlay.contract import Deployment

if TYPE_CHECKING:  # see above
    from harness.lab.network import Lab
    from harness.lab.process import Daemon

__all__ = ["GROUP", "ITEM_KEYS", "Deployment", "Event", "EventSettings", "NoSettings", "RunningDaemons", "Topology"]

Settings = TypeVar("Settings", bound=EventSettings)


class NoSettings(EventSettings):
    """Nothing but when, to whom and for how long."""


class RunningDaemons(Protocol):
    """The overlay at work, as far as events touch it."""

    @property
    def daemons(self) -> Mapping[str, Daemon]:
        """Its daemons by service; `where` is a daemon's node."""

    def restart(self, service: str) -> None:
        """Start a service's daemon again, with its original command; return when it runs, not when it is ready."""

    def leave_out(self, node: str) -> None:
        """Deploy without what belongs on a node, until `join`."""

    def join(self, node: str) -> None:
        """Start what was left out, in its order, meanwhile; returns at once."""


class Event(ABC, Generic[Settings]):
    """One event. Subclasses give the class attributes below.

    Attributes:
        name: as scenarios and the entry point have it.
        settings: what an item may say of it; its docstring is what people read of the event.
        subject_is_absent: whether its subject is not there until it happens.
        replaces: whether it gives its subject a state (a place, a policy) that another one of its kind may replace. Of
            others a second one has nothing to do while the first is in force, and `check` refuses it.
        lifts: the events that are over once this one has happened, though nobody undid them.
    """

    name: ClassVar[str]
    settings: type[Settings]
    subject_is_absent: ClassVar[bool] = False
    replaces: ClassVar[bool] = False
    lifts: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return what `to` may name in a topology. Pure."""

    def problems(self, topology: Topology, subject: str, settings: Settings) -> list[str]:
        """Return why this cannot be done to the subject, one sentence each; reported by `check`. Pure."""
        del topology, subject, settings
        return []

    def applied(self, topology: Topology, subject: str, settings: Settings) -> Topology:
        """Return the topology as it is afterwards, for what follows; to be given by events that change it. Pure."""
        del subject, settings
        return topology

    def ended_by(self, topology: Topology, subject: str, settings: Settings) -> list[str]:
        """Return why this could not go on in what another event makes of the topology, one sentence each. Pure."""
        del topology, subject, settings
        return []

    def takes_s(self, settings: Settings) -> float:
        """Return how long it takes in seconds, where it happens in steps (`further`). Pure."""
        del settings
        return 0.0

    def contends(self, settings: Settings, other: Event[Any], others: EventSettings) -> bool:
        """Tell whether another event on the same subject affects the same thing, as long as this one lasts. Pure."""
        del settings, others
        return other.name == self.name and self.can_be_undone

    def unmet(self, deployment: Deployment, subject: str, settings: Settings) -> list[str]:
        """Why this cannot be done to an overlay that is deployed so, one sentence each; told at `check`. Pure."""
        del deployment, subject, settings
        return []

    def unmet_by_all(self, deployments: Sequence[Deployment], subject: str, settings: Settings) -> list[str]:
        """Why a part of this would happen to none of a scenario's overlays, one sentence each. Pure."""
        del deployments, subject, settings
        return []

    def prepare(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: Settings) -> None:
        """Do what has to be done before the overlay is deployed. Raises as `perform` does."""

    def further(self, lab: Lab, subject: str, settings: Settings) -> Sequence[tuple[float, Settings]]:
        """Say what follows later where the event takes a while: seconds after its beginning, and settings to perform.

        Asked before it is performed.
        """
        del lab, subject, settings
        return ()

    @abstractmethod
    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: Settings) -> float | None:
        """Perform the event.

        Returns:
            When it took effect, Unix time in seconds; None: when this returned.

        Raises:
            LabError: the kernel or a tool refused.
        """

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: Settings) -> float | None:
        """Undo it; overridden by events that can be undone. Returns and raises as `perform` does."""
        raise NotImplementedError(f"{self.name} cannot be undone")

    @property
    def can_be_undone(self) -> bool:
        """Whether an item may say `for_s`."""
        return type(self).undo is not Event.undo
