"""The UDP tests of NAT behaviour discovery (RFC 5780 section 4), each a function of a `DiscoverySetup`.

A test concludes "nothing came" not from a timeout but from a later packet on the same path that did come.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from harness.errors import LabError
from harness.model.nat import Filtering, Hairpinning, Mapping, Pooling, PortAllocation, Unsolicited
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.packet import Endpoint
from harness.nat.responder import MAY_BE_CUT, Stranger
from harness.nat.wire import port_of

ALLOCATION_FLOWS = 24
# Blocks are of at most so many ports in practice; flows of random allocation never lie so close together.
LARGEST_BLOCK = 8192
UNUSED_PORT = 9  # discard: no allocation gives out ports below 1024 that the inside does not use


def mapping_test(setup: DiscoverySetup, host: int = 0) -> Mapping:
    """Test how the mapping depends on the destination (RFC 5780 section 4.3); all four destinations at once.

    Raises:
        LabError: a server did not answer, or the answers fit no behaviour.
    """
    bound = setup.open(host)
    asks = [setup.send(bound, endpoint) for row in setup.responder.endpoints for endpoint in row]
    setup.wait_for(asks)
    seen = [ask.mapped for ask in asks]
    inside = Endpoint(setup.inside[host].address, port_of(bound))
    setup.close(bound)
    return classify_mapping(inside, seen)


def classify_mapping(inside: Endpoint, seen: list[Endpoint]) -> Mapping:
    """Classify the mappings towards both ports of the primary address, then both of the alternate address.

    Raises:
        LabError: they fit no behaviour.
    """
    primary, primary_other_port, alternate, alternate_other_port = seen
    if set(seen) == {inside}:
        return Mapping.NONE
    if len(set(seen)) == 1:
        return Mapping.EIM
    if primary == primary_other_port != alternate == alternate_other_port:
        return Mapping.ADM
    if len(set(seen)) == 4:
        return Mapping.APDM
    text = ", ".join(f"{endpoint.address}:{endpoint.port}" for endpoint in seen)
    raise LabError(f"the mappings {text} are neither EIM nor ADM nor APDM")


def filtering_test(setup: DiscoverySetup, host: int = 0, rounds: int = 1) -> Filtering:
    """Test whose packets come in (RFC 5780 section 4.4), on a mapping that contacted the primary endpoint alone.

    Args:
        rounds: how often the requests are repeated before a missing answer is believed; above 1 for lossy links.

    Raises:
        LabError: the primary server did not answer.
    """
    bound = setup.open(host)
    setup.fence(bound)
    heard_anybody = heard_other_port = False
    for _ in range(rounds):
        anybody = setup.send(bound, change_ip=True, change_port=True)
        other_port = setup.send(bound, change_port=True)
        setup.fence(bound)
        heard_anybody = heard_anybody or anybody.answer is not None
        heard_other_port = heard_other_port or other_port.answer is not None
        if heard_anybody and heard_other_port:
            break
    # A stranger that never was part of any exchange: without a filter it reaches an unused inside port as well.
    unfiltered = heard_anybody and heard_other_port and _unused_port_is_reached(setup, host)
    setup.close(bound)
    if unfiltered:
        return Filtering.NONE
    if heard_anybody:
        return Filtering.EIF
    return Filtering.ADF if heard_other_port else Filtering.APDF


def _unused_port_is_reached(setup: DiscoverySetup, host: int) -> bool:
    """Tell whether a packet to an inside port that never sent anything arrives. Never through a NAT."""
    quiet, busy = setup.open(host), setup.open(host)
    stranger = Stranger(setup.wire, setup.strangers[0])
    stranger.send(Endpoint(setup.unmapped(host), port_of(quiet)))
    setup.fence(busy)
    reached = bool(setup.inbox[quiet])
    for bound in (quiet, busy):
        setup.close(bound)
    setup.wire.forget(stranger.socket)
    return reached


def hairpinning_test(setup: DiscoverySetup) -> Hairpinning:
    """Test whether one inside host reaches another by its external endpoint, and whose source it shows.

    Both sides contact each other, so that a filter passes the second packet (RFC 5780 section 4.5 uses one host).

    Raises:
        LabError: the server did not answer.
    """
    first, second = setup.open(0), setup.open(len(setup.inside) - 1)
    first_external, second_external = setup.mapped(first), setup.mapped(second)
    for _ in range(2):
        first.sendto(b"hairpin 1", (second_external.address, second_external.port))
        second.sendto(b"hairpin 2", (first_external.address, first_external.port))
        setup.fence(first)
        setup.fence(second)
    arrived = [source for bound in (first, second) for _, source in setup.inbox[bound]]
    inside = {place.address for place in setup.inside}
    setup.close(first)
    setup.close(second)
    if not arrived:
        return Hairpinning.OFF
    if all(source.address in inside for source in arrived):
        return Hairpinning.INTERNAL_SOURCE
    own = setup.inside[0].address
    lan = ipaddress.ip_network(f"{own}/{64 if ':' in own else 24}", strict=False)
    if not any(ipaddress.ip_address(source.address) in lan for source in arrived):
        return Hairpinning.EXTERNAL_SOURCE
    raise LabError(f"hairpinned packets came from {', '.join(source.address for source in arrived)}")


class Allocation:
    """The ports, addresses and limits that many flows of one host show."""

    def __init__(self, pairs: list[tuple[int, Endpoint]], asked: int) -> None:
        """Judge the flows.

        Args:
            pairs: inside port and external endpoint of each flow that was answered, in the order of first packets.
            asked: how many flows were begun.
        """
        self.answered = len(pairs)
        self.capped = self.answered < asked
        ports = [external.port for _, external in pairs]
        self.span = max(ports) - min(ports) if ports else 0
        self.addresses = len({external.address for _, external in pairs})
        steps = Counter(later - earlier for earlier, later in pairwise(ports))
        self.step, count = steps.most_common(1)[0] if steps else (0, 0)
        # A preserved port may be taken already, by a mapping that had to be given a random one.
        if sum(inside == external.port for inside, external in pairs) > 0.75 * len(pairs):
            self.kind = PortAllocation.PRESERVING
        elif count >= len(ports) - 2 and self.step != 0:  # the sequence may wrap once
            self.kind = PortAllocation.SEQUENTIAL
        elif self.span < LARGEST_BLOCK:
            self.kind = PortAllocation.BLOCK
        else:
            self.kind = PortAllocation.RANDOM

    @property
    def pooling(self) -> Pooling:
        """Arbitrary if one host's flows show several external addresses."""
        return Pooling.ARBITRARY if self.addresses > 1 else Pooling.PAIRED


def allocation_test(setup: DiscoverySetup, host: int = 0, flows: int = ALLOCATION_FLOWS) -> Allocation:
    """Open many flows to the primary server, one after the other, and look at the ports (RFC 4787 section 4.2).

    Raises:
        LabError: no flow at all was answered.
    """
    bound = [setup.open(host) for _ in range(flows)]
    asks = [setup.send(each) for each in bound]
    if not setup.wire.pump(lambda: all(ask.answer for ask in asks), 0.05):
        # Some may be refused by a limit: those that are not must be there when the first one answers again.
        setup.fence(bound[0])
    pairs = [(port_of(ask.bound), ask.answer.mapped) for ask in asks if ask.answer]
    for each in bound:
        setup.close(each)
    if not pairs:
        raise LabError("no flow through the router was answered")
    return Allocation(pairs, flows)


def overloading_test(setup: DiscoverySetup) -> None:
    """Check that two inside hosts on one port get two external endpoints (RFC 4787 REQ-3).

    Raises:
        LabError: they share one, or the server did not answer.
    """
    first = setup.open(0)
    second = setup.open(1, port_of(first))
    seen = setup.mapped(first), setup.mapped(second)
    setup.close(first)
    setup.close(second)
    if seen[0] == seen[1]:
        raise LabError(f"two inside endpoints share {seen[0].address}:{seen[0].port}: port overloading")


def long_datagram_test(setup: DiscoverySetup, *, back: bool = True) -> bool:
    """Test whether a datagram longer than a frame passes both ways, which the ends cut into fragments themselves.

    Args:
        back: False: outward alone, where a line is narrower than what the outside end takes it for.

    Raises:
        LabError: the server did not answer.
    """
    bound = setup.open()
    if bound.family is socket.AF_INET:
        bound.setsockopt(*MAY_BE_CUT)
    mapped = setup.mapped(bound)
    outward, inward = (bytes([number]) * 2000 for number in (1, 2))
    bound.sendto(outward, (setup.primary.address, setup.primary.port))
    setup.responder.send(0, 0, inward, mapped)
    setup.fence(bound)
    passed = (outward, mapped) in setup.responder.strange, (inward, setup.primary) in setup.inbox[bound]
    setup.close(bound)
    if not back:
        return passed[0]
    if passed[0] != passed[1]:
        raise LabError("a datagram in fragments passes one way and not the other")
    return all(passed)


def unsolicited_test(setup: DiscoverySetup, *, translates: bool) -> Unsolicited:
    """Test what a stranger gets who sends to a port that nothing inside uses.

    Raises:
        LabError: the server did not answer.
    """
    bound = setup.open()
    external = setup.mapped(bound)
    stranger = Stranger(setup.wire, setup.strangers[0])
    address = external.address if translates else setup.unmapped()
    stranger.send(Endpoint(address, UNUSED_PORT))
    setup.fence(bound)
    refused = stranger.was_refused
    setup.close(bound)
    setup.wire.forget(stranger.socket)
    return Unsolicited.REJECT if refused else Unsolicited.DROP


@dataclass(frozen=True)
class Meeting:
    """The outcome of a peer and an inside host contacting each other: did the flow keep the known mapping?"""

    kept_mapping: bool
    answered: bool


def meeting_test(setup: DiscoverySetup, early_ms: float) -> Meeting:
    """Let a peer's first packet come `early_ms` before (negative: after) the inside host's first packet to it.

    The peer sends to the mapping that a server saw, as a hole-punching peer does. Afterwards it answers to where the
    inside host's packet came from.

    Raises:
        LabError: the inside host's packet did not leave the router.
    """
    bound = setup.open()
    external = setup.mapped(bound)
    stranger = Stranger(setup.wire, setup.strangers[0])
    hello = b"the inside's first packet"

    def peer() -> None:
        stranger.send(external)

    def inside() -> None:
        bound.sendto(hello, stranger.endpoint)

    first, second = (peer, inside) if early_ms >= 0 else (inside, peer)
    first()
    setup.wire.wait(abs(early_ms) / 1000)
    second()
    if not setup.until(lambda: bool(stranger.heard)):
        raise LabError("the inside host's packet to a new peer did not leave the router")
    seen = stranger.heard[0]
    stranger.send(seen, b"answer")
    answered = setup.until(lambda: (b"answer", stranger.endpoint) in setup.inbox[bound])
    setup.close(bound)
    setup.wire.forget(stranger.socket)
    return Meeting(seen == external, answered)
