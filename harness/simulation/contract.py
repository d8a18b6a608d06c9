"""What an engine offers to a simulation. One is found by entry point, in the group `overlaybench.simulations`.

The harness makes the Internet and its hosts, and lets time pass; an engine puts its own protocol, the one that runs in
production, onto the hosts. It must take time and chance from what it is given alone: `internet.events.now` and `rng`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.model.extensions import extensions, registered
from harness.simulation.internet import Host, Internet

GROUP = "overlaybench.simulations"
Claim = Literal["direct", "relayed", "none"]
Crypto = Literal["real", "cheap"]


@dataclass(frozen=True)
class Abilities:
    """What an engine may do for a direct path.

    `technique` is a name of `harness.nat.oracle.Technique` but for `port-mapping`, which is a switch of its own.
    """

    technique: str
    port_mapping: bool = True


@dataclass(frozen=True)
class Delays:
    """Seconds one way between each of two hosts, or the server, and the Internet: what a packet needs on average."""

    first_s: float
    second_s: float
    server_s: float


class SimulatedNetwork(Protocol):
    """A network of an engine: its members are the hosts that it was given, by number."""

    def start(self, member: int) -> None:
        """Start a member's daemon, or start it again."""

    def stop(self, member: int) -> None:
        """End a member's daemon without a word."""

    def address_changed(self, member: int) -> None:
        """Tell a member that its host has other addresses."""

    def woken(self, member: int) -> None:
        """Go on with a member whose host slept: it did nothing meanwhile, and its clock has gone on."""

    def server_stops(self) -> None:
        """Stop all servers."""

    def server_starts(self) -> None:
        """Start all servers again, without any state."""

    def claim(self, src: int, dst: int) -> Claim:
        """Return what a member says of its way to another."""

    def send(self, src: int, dst: int, payload: bytes) -> None:
        """Send a packet through the tunnel."""

    def has_received(self, member: int, payload: bytes) -> bool:
        """Tell whether a payload has come out of a member's tunnel."""

    def server_hosts(self) -> Sequence[Host]:
        """Return the hosts of its servers."""

    def server_states(self) -> Sequence[object]:
        """Return what its servers remember, each as the object from which all of it is reached; none while dead."""


class SimulatedEngine(Protocol):
    """An engine.

    `name` is its overlay's, `overlays` are all that run it, `techniques` those that it can be held to, the least first.
    `guesses_both`: whether birthday probing is tried where the mappings of both sides depend on the destination.
    """

    name: str
    overlays: Sequence[str]
    techniques: Sequence[str]
    guesses_both: bool

    def birthday_ports(self, within_s: float, delays: Delays) -> tuple[int, tuple[int, ...]]:
        """Return how many ports birthday probing has opened at a time, and how many it has tried, by then.

        Tried is a number for each of the ways in which it may come, all equally likely: who starts last, who asks, who
        tries. Each counts what is tried early enough for both ends to be direct by then. Time runs from the start of
        the later of the two hosts.
        """

    def network(
        self, internet: Internet, hosts: Sequence[Host], rng: random.Random, abilities: Abilities, crypto: Crypto
    ) -> SimulatedNetwork:
        """Put a network on the hosts, with one public server of its own; none is started yet."""


def engines() -> Mapping[str, SimulatedEngine]:
    """Return all engines by name.

    Raises:
        MissingPrerequisite: none is installed, or one cannot be loaded.
    """
    return extensions(GROUP)


def overlay_version(name: str) -> str | None:
    """Return the version of the package that has an engine, which is the overlay's; None: it is in no package."""
    point = registered(GROUP)[name]
    return None if point.dist is None else point.dist.version


def engine_version(name: str) -> str:
    """Return what an engine is made of: its class, and the package with its version that has it."""
    point = registered(GROUP)[name]
    return f"{point.value} of {point.dist.name} {point.dist.version}" if point.dist is not None else point.value
