"""What a probe returns and what it is given: a pair of members and how one reaches the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.errors import LabError
from harness.results.metrics import METRICS

if TYPE_CHECKING:  # reports read what probes declare, and must load no lab for it
    from harness.lab.network import Lab
    from harness.lab.process import Daemon
    from harness.model.family import Address
    from harness.model.words import Mode, Outcome, Verdict
    from harness.overlay.contract import ContentEndpoint, EndpointKind, StreamEndpoint

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured figure; fields as in `harness.results.record.Record`."""

    probe: str
    metric: str
    unit: str
    value: float | None
    src: str | None = None
    dst: str | None = None
    outcome: Outcome = "ok"
    path: Verdict | None = None
    evidence: str | None = None
    error: str | None = None
    phase: str | None = None


class Figure(Protocol):
    """What makes one measurement of a metric; `evidence` replaces the file that all others have."""

    def __call__(self, metric: str, value: float | None, evidence: Path | None = None) -> Measurement:
        """Return the measurement, in the metric's own unit."""


def figure_of(target: Target | None, probe: str, of_all: Path | str | None = None) -> Figure:
    """Return what makes the measurements of a probe.

    Args:
        target: the pair that they are of, in its order; None: they are the whole trial's.
        probe: as the records name it.
        of_all: the file from which they were computed.

    Raises:
        KeyError: from a call, when no installed probe declares the metric.
    """
    src, dst = (None, None) if target is None else (target.src, target.dst)

    def figure(metric: str, value: float | None, evidence: Path | None = None) -> Measurement:
        of = evidence or of_all
        return Measurement(
            probe=probe,
            metric=metric,
            unit=METRICS[metric].unit,
            value=value,
            src=src,
            dst=dst,
            evidence=None if of is None else str(of),
        )

    return figure


@dataclass(frozen=True)
class Stream:
    """How a TCP client at `src` reaches a TCP service at `dst`: where to connect at the one, listen at the other.

    The same over an interface, where both are the service's own address, and through an overlay that carries streams
    alone, where the client connects to the overlay's port and the overlay to the service.
    """

    src: str
    dst: str
    connect_address: Address
    connect_port: int
    listen_address: Address
    listen_port: int


@dataclass(frozen=True, kw_only=True)
class Target:
    """A pair of members and the endpoints by which `src` reaches `dst`: an overlay's, or the bare underlay's.

    `src_address` and `dst_address` are those of interfaces, None where an overlay has none; `streams` and `contents`
    are keyed by direction. `folder` takes the evidence; `label` tells overlay and underlay evidence apart. `trial` is
    the trial's id.
    """

    lab: Lab
    src: str
    dst: str
    mode: Mode
    folder: Path
    src_address: Address | None = None
    dst_address: Address | None = None
    streams: Mapping[Pair, StreamEndpoint] = field(default_factory=dict)
    contents: Mapping[Pair, ContentEndpoint] = field(default_factory=dict)
    label: str = "overlay"
    trial: str = ""

    @property
    def pair(self) -> Pair:
        """Its members."""
        return self.src, self.dst

    @property
    def kinds(self) -> frozenset[EndpointKind]:
        """The kinds of endpoints by which `src` reaches `dst`; a node with an interface can have streams too."""
        offered: dict[EndpointKind, bool] = {
            "interface": self.dst_address is not None,
            "stream": self.dst_address is not None or self.pair in self.streams,
            "content": self.pair in self.contents,
        }
        return frozenset(kind for kind, there in offered.items() if there)

    @property
    def source(self) -> Address:
        """The address of `src`'s interface.

        Raises:
            LabError: it has none; a probe that needs the kind `interface` is never asked then.
        """
        return self._interface_of(self.src, self.src_address)

    @property
    def destination(self) -> Address:
        """The address of `dst`'s interface. Raises as `source` does."""
        return self._interface_of(self.dst, self.dst_address)

    @property
    def content(self) -> ContentEndpoint:
        """How content gets from `src` to `dst`.

        Raises:
            LabError: it does not; a probe that needs the kind `content` is never asked then.
        """
        if self.pair not in self.contents:
            raise LabError(f"no content endpoint leads from {self.src} to {self.dst}")
        return self.contents[self.pair]

    def stream(self, port: int) -> Stream:
        """Return how a TCP client at `src` reaches a service at `dst`, on `port` unless the overlay has its own port.

        Raises:
            LabError: it does not; a probe that needs the kind `stream` is never asked then.
        """
        if self.dst_address is not None:
            return Stream(self.src, self.dst, self.dst_address, port, self.dst_address, port)
        if self.pair not in self.streams:
            raise LabError(f"no stream leads from {self.src} to {self.dst}")
        found = self.streams[self.pair]
        return Stream(
            *(self.src, self.dst, found.listen_address, found.listen_port),
            *(found.service_address, found.service_port),
        )

    def reversed(self) -> Target:
        """Return the same pair the other way round."""
        return replace(self, src=self.dst, dst=self.src, src_address=self.dst_address, dst_address=self.src_address)

    def sender_sleeps(self) -> bool:
        """Tell whether an event has `src` sleep at the moment: whoever uses it asks nothing."""
        return self.lab.asleep[self.src] > 0

    def evidence(self, name: str, label: str | None = None) -> Path:
        """Return where evidence of this pair goes; with `label`, where that of the same pair under that label is."""
        return self.folder / f"{label or self.label}-{self.src}-{self.dst}-{name}"

    def start(
        self,
        node: str,
        argv: Sequence[str],
        evidence: str,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Daemon:
        """Start a program at `src` or `dst`, its output kept as evidence of that name; the caller stops it."""
        from harness.lab.process import Daemon  # noqa: PLC0415  # as above

        return Daemon(self.lab.nodes[node], argv, log=self.evidence(evidence), cwd=cwd or self.folder, env=env or {})

    def _interface_of(self, member: str, address: Address | None) -> Address:
        if address is None:
            raise LabError(f"{member} has no interface of the {self.label}")
        return address
