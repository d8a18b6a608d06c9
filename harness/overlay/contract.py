"""The overlay contract: an adapter renders a trial into files, commands and readiness conditions; it starts nothing.

An adapter is found through the entry point group `overlaybench.overlays`, so one outside this repository is as good as
one inside. All paths in a deployment are relative to the node's own folder, which is every command's working directory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress

from harness.model.family import Family
from harness.model.nat_words import Egress, PortMappingProtocol
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict

# Under the same names again: what an adapter imports stands on this page, wherever it is defined.
from harness.overlay.endpoints import ContentEndpoint as ContentEndpoint
from harness.overlay.endpoints import EndpointKind as EndpointKind
from harness.overlay.endpoints import IpEndpoint as IpEndpoint
from harness.overlay.endpoints import StreamEndpoint as StreamEndpoint
from harness.overlay.options import OverlayOptions as OverlayOptions
from harness.overlay.requirement import CrateBuild as CrateBuild
from harness.overlay.requirement import GoBuild as GoBuild
from harness.overlay.requirement import Requirement as Requirement
from harness.overlay.requirement import Wheel as Wheel

Layer = Literal["L2", "L3", "L7"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Strict):
    """A file in a node's folder."""

    node: str
    path: str
    text: str
    mode: int = 0o600


class LogLine(_Strict):
    """Ready when the process writes a line that the regular expression finds."""

    kind: Literal["log"] = "log"
    pattern: str


class InterfaceAddress(_Strict):
    """Ready when the node has an interface with this address."""

    kind: Literal["address"] = "address"
    address: IPvAnyAddress


class CommandSays(_Strict):
    """Ready when a command on the node ends with 0 and its stdout matches: for daemons that report in no other way."""

    kind: Literal["command"] = "command"
    argv: tuple[str, ...]
    pattern: str = ""


Readiness = Annotated[LogLine | InterfaceAddress | CommandSays, Field(discriminator="kind")]


class Command(_Strict):
    """A command that runs to its end; a status other than 0 fails the trial."""

    node: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    timeout_s: float = 20.0


class Service(_Strict):
    """A daemon in the foreground. `after` names the services that must be ready before it starts.

    `configure` are commands for a daemon that is told by a client program what to do: run on its node, in its
    environment, one after the other, once it is ready. Services that come `after` it wait for them. `may_hang` says
    why it may still run 3 s after SIGTERM, where that is a known fault of the product; else it breaks the contract.
    """

    name: str
    node: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    ready: tuple[Readiness, ...]
    configure: tuple[tuple[str, ...], ...] = ()
    after: tuple[str, ...] = ()
    deadline_s: float = 15.0
    may_hang: str = ""


class ClaimSource(_Strict):
    """Evidence of what the overlay says of its own path: a command's output, or (`service`) what a daemon logged.

    With both, the command asks the daemon to log it, and `until` is the pattern that ends the answer.
    """

    name: str
    node: str
    argv: tuple[str, ...] = ()
    env: dict[str, str] = {}
    service: str | None = None
    until: str | None = None


class Deployment(_Strict):
    """A trial rendered for one overlay.

    `endpoints` are the members' interfaces, keyed by member; `streams` and `contents` lead from one member to another.
    An overlay offers at least one kind for every pair of members. `open_underlay` is the baseline's alone.
    """

    files: tuple[File, ...] = ()
    prepare: tuple[Command, ...] = ()
    services: tuple[Service, ...] = ()
    setup: tuple[Command, ...] = ()
    endpoints: dict[str, IpEndpoint] = {}
    streams: tuple[StreamEndpoint, ...] = ()
    contents: tuple[ContentEndpoint, ...] = ()
    claims: tuple[ClaimSource, ...] = ()
    open_underlay: bool = False

    @property
    def members(self) -> frozenset[str]:
        """The nodes at which endpoints begin or end."""
        ways: tuple[StreamEndpoint | ContentEndpoint, ...] = (*self.streams, *self.contents)
        return frozenset(self.endpoints) | {node for way in ways for node in (way.src, way.dst)}

    @property
    def kinds(self) -> frozenset[EndpointKind]:
        """The kinds of endpoints that this deployment offers."""
        offered: dict[EndpointKind, bool] = {
            "interface": bool(self.endpoints),
            "stream": bool(self.streams),
            "content": bool(self.contents),
        }
        return frozenset(kind for kind, there in offered.items() if there)


@runtime_checkable
class Overlay(Protocol):
    """What an adapter offers. `modes` are those its product has; any other is the outcome `unsupported`."""

    name: str
    modes: frozenset[Mode]
    layer: Layer
    needs_server: bool

    def requirements(self) -> Sequence[Requirement]:
        """Return the programs it needs; the first one's version is the overlay's."""

    def render(self, trial: Trial) -> Deployment:
        """Return files, commands and readiness for one trial. Pure, but for the random numbers of fresh keys.

        Raises:
            ValueError: an option in `trial.options` is wrong; the text names it.
        """


@runtime_checkable
class ReportsPath(Protocol):
    """Optional: the overlay can say which way its packets go. Never the verdict, only recorded with it."""

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read the claim out of the texts of the deployment's `claims`, keyed by source name. None: it does not say."""


@runtime_checkable
class Traverses(Protocol):
    """Optional: which traversal technique the oracle is to assume in a mode (`harness.nat.oracle`)."""

    def technique(self, mode: Mode) -> str | None:
        """Return the technique's name; None where no path is ever direct."""


@runtime_checkable
class HasOptions(Protocol):
    """Optional: the options that a scenario may give, checked before anything runs.

    An overlay that does not say takes none, or checks `trial.options` in `render`.
    """

    options: type[OverlayOptions]


@runtime_checkable
class PromisesPaths(Protocol):
    """Optional: what becomes of a pair one of whose networks lets no UDP out, or TCP to port 443 alone (`Egress`).

    The other member is behind an ordinary NAT. The oracle (`expect: oracle`) and the contract test hold the overlay to
    its word; of one that gives none, nothing is expected there.
    """

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return the verdicts that are right, `none` for one that does not get out; several where more decides."""


@runtime_checkable
class HasUnderlays(Protocol):
    """Optional: the IP versions over which the overlay can run. One that does not say runs over IPv4 alone.

    Its trials are `unsupported` where a node that it needs has none of them. Where it has both, a node may have either:
    `trial.topology.families(node)` says which, `address_in` gives the address.
    """

    underlays: frozenset[Family]


@runtime_checkable
class HasKinds(Protocol):
    """Optional: the kinds of endpoints that its deployments offer. One that does not say offers interfaces alone."""

    kinds: frozenset[EndpointKind]


@runtime_checkable
class NeedsHelpers(Protocol):
    """Optional: how many public nodes the overlay needs besides the server (relays, introducers, lighthouses).

    The plan resolves the topology with as many `helpers`; `trial.topology.helpers` names them. A topology that has no
    parameter `helpers` cannot carry the overlay, and `check` says so.
    """

    def helpers(self, mode: Mode) -> int:
        """Return the number of helpers in a mode."""


@runtime_checkable
class HasNetwork(Protocol):
    """Optional: the network of which the overlay's members get their addresses.

    `check` then refuses a topology that has an underlay address in it. Whatever an overlay says, a deployment whose
    endpoints have underlay addresses is never started (`harness.overlay.collisions`).
    """

    network: IPv4Network


@runtime_checkable
class AsksForPorts(Protocol):
    """Optional: a direct path of this overlay needs a router that forwards a port when asked (UPnP IGD, NAT-PMP, PCP).

    It punches no holes, so behind routers that do not there is none. The contract test gives it routers that do.
    """

    asks_for_ports: Literal[True]


@runtime_checkable
class MapsPorts(Protocol):
    """Optional: the daemon asks routers to forward its port, as it is deployed here, and tells others of that port.

    The oracle then takes the port of a router that speaks one of the protocols for open to all.
    """

    def asks_by(self, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:
        """Return the protocols by which it asks, with a scenario's options for the overlay."""


@runtime_checkable
class DependsOnServer(Protocol):
    """Optional: a direct session of this overlay ends when its server does. The contract test checks that it is so."""

    depends_on_server: Literal[True]
