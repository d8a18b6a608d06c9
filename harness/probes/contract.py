"""The probe contract: everything the harness needs to know of a probe stands in one file, and the rest follows from it.

Its place in a trial, the JSON Schema, the pages of documentation, the table of metrics, and the columns and plots of
terminal and report. A probe is found through the entry point group `overlaybench.probes`, under the name that scenarios
use.

A probe's module is loaded wherever one of these is, reports included: it may import this module, `harness.errors`,
`harness.results.declared` and the other modules of `harness.probes`, while what reaches into a lab comes with the
`Target`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from harness.model.probes import GROUP, ProbeSettings, Turn
from harness.model.timeline import Moment
from harness.probes.measurement import Measurement, Pair, Stream, Target
from harness.results.declared import OVERVIEW, PUNCHING, Chapter, Column, Metric, OfCell, Plot, Shown, Table

if TYPE_CHECKING:  # see above
    from harness.lab.process import Usage
    from harness.lab.tap import Tap
    from harness.link.accounting import Accounting
    from harness.overlay.contract import EndpointKind

__all__ = [
    "GROUP",
    "OVERVIEW",
    "PUNCHING",
    "Chapter",
    "Column",
    "Found",
    "Happened",
    "Measurement",
    "Metric",
    "OfCell",
    "Pair",
    "Plot",
    "Probe",
    "ProbeSettings",
    "Shown",
    "Stream",
    "Surroundings",
    "Table",
    "Target",
    "Timeline",
    "Turn",
]

Settings = TypeVar("Settings", bound=ProbeSettings)
Raw = TypeVar("Raw")


class Happened(Protocol):
    """An event of the timeline that has happened, or one that is over; Unix seconds."""

    @property
    def do(self) -> str:
        """The event."""

    @property
    def to(self) -> str:
        """Its subject."""

    @property
    def due_s(self) -> float:
        """When it should have been done."""

    @property
    def began_s(self) -> float:
        """When the doing of it began: from here on the time before it is over."""

    @property
    def effective_s(self) -> float:
        """When the lab or the overlay had it."""

    @property
    def undone(self) -> bool:
        """Whether this is its end."""


class Timeline(Protocol):
    """What is to happen while a probe measures."""

    @property
    def happened(self) -> Sequence[Happened]:
        """What has happened so far, in its order."""

    @property
    def never(self) -> Sequence[str]:
        """What it has not come to, event and subject."""

    def begin(self) -> None:
        """Start the timeline's clock: the traffic has begun."""

    def awaits(self, moment: Moment) -> bool:
        """Tell whether an event follows a moment that has not been reached yet."""

    def reached(self, moment: Moment) -> None:
        """Do what follows a moment; only its first time counts.

        Raises:
            LabError: the kernel or a tool refused an event.
        """

    def poll(self) -> float | None:
        """Do what is due; return the seconds until the next item is due, None when nothing is left.

        Raises:
            LabError: the kernel or a tool refused an event.
        """


class Surroundings(Protocol):
    """What a probe may ask of the trial beyond its pair."""

    @property
    def running_since(self) -> float:
        """Unix time in seconds at which the last member's daemon was started."""

    @property
    def ready_since(self) -> float:
        """Unix time in seconds at which all daemons were ready."""

    @property
    def tap(self) -> Tap:
        """Watches the ports of all members since before the daemons were started; closed once the paths are known."""

    @property
    def timeline(self) -> Timeline:
        """What is to happen in this trial; without items where the scenario has none."""

    @property
    def absent(self) -> frozenset[str]:
        """Members that an event is yet to add; probes that run before it have no targets with them."""

    def usage(self) -> Mapping[str, Usage]:
        """Return what the overlay's daemons have used so far, by node."""

    def carried(self) -> Accounting:
        """Return the links' account so far."""


@dataclass(frozen=True)
class Found(Generic[Raw]):
    """What a probe found for one pair: over the overlay, and over the underlay where it measures there as well.

    `earlier` has what the probes before it found over the overlay of the same pair, by probe.
    """

    target: Target
    overlay: Raw
    underlay: Raw | None = None
    earlier: Mapping[str, Any] = field(default_factory=dict)


class Probe(ABC, Generic[Settings, Raw]):
    """One probe. Subclasses give the class attributes below; those with a value here are optional.

    Attributes:
        name: as scenarios and the entry point have it; also that of the records.
        order: its place in a trial and in tables.
        settings: what a scenario may say of it.
        needs: the kinds of endpoints that it can measure, any of which is enough. Where a pair has none of them, it is
            not run, and the records say why.
        builds_on: probes without which it has nothing to tell; `check` wants them in the scenario as well.
        turn: which other trials may run meanwhile.
        doing: what the progress display says meanwhile, "measuring latency" say.
        metrics: what it measures, the first being what people look for.
        of_cell: what is compared with the underlay's own trial of the same cell, where the settings say so
            (`ProbeSettings.baseline_of_cell`).
        shows: columns and plots.
        at_once: all pairs are measured together (`measure_all`) and judged together; else one after the other.
        repeatable: whether a measurement over late links is taken again; what is seen only once is not.
        is_gate: nothing more is measured in a trial in which a figure of this probe has the outcome `failed`.
        tells_connected: once it has measured, whether the pairs connect is known.
        minds_lateness: whether links that are some milliseconds late change its figures; lost frames always count.
        with_absent: whether it is given the pairs of members as well that an event is yet to add.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    settings: type[Settings]
    needs: ClassVar[frozenset[EndpointKind]]
    turn: ClassVar[Turn]
    doing: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    of_cell: ClassVar[tuple[OfCell, ...]] = ()
    shows: ClassVar[Shown] = Shown()
    builds_on: ClassVar[frozenset[str]] = frozenset()
    at_once: ClassVar[bool] = False
    repeatable: ClassVar[bool] = True
    is_gate: ClassVar[bool] = False
    tells_connected: ClassVar[bool] = False
    minds_lateness: ClassVar[bool] = True
    with_absent: ClassVar[bool] = False

    @abstractmethod
    def measure(self, target: Target, settings: Settings, trial: Surroundings) -> Raw:
        """Measure one pair, over the overlay or over the bare underlay.

        Raises:
            OverlayError: the probe's own program could not reach the peer.
        """

    def measure_all(self, targets: Sequence[Target], settings: Settings, trial: Surroundings) -> dict[Pair, Raw]:
        """Measure all pairs; called instead of `measure` where `at_once` is set."""
        return {target.pair: self.measure(target, settings, trial) for target in targets}

    def over_underlay(self, settings: Settings) -> bool:
        """Tell whether it also measures without the overlay, once that has stopped, in the same lab."""
        del settings
        return False

    def why_no_baseline(self, target: Target, found: Raw, settings: Settings) -> str | None:
        """Say what the bare underlay did not carry, "carried no TCP from a to b"; None where it carried. Pure.

        To be given by every probe that measures the underlay: a trial in which it carries nothing, or stops, is no
        result (`harness.trial.underlay`).
        """
        del target, found, settings
        return None

    @abstractmethod
    def summarise(self, found: Found[Raw], settings: Settings) -> Iterable[Measurement]:
        """Yield the figures of one pair. Pure."""

    def summarise_trial(self, found: Sequence[Found[Raw]], settings: Settings) -> Iterable[Measurement]:
        """Yield the figures of all pairs together. Pure."""
        del found, settings
        return ()
