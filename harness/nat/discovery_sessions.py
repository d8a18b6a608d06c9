"""Tests of flows that meet in a router: hairpins without a mapping yet, and one peer at two mappings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from harness.errors import LabError
from harness.model.nat import Filtering, Mapping
from harness.nat.discovery import UNUSED_PORT, classify_mapping
from harness.nat.discovery_setup import GRACE_S, DiscoverySetup
from harness.nat.discovery_tcp import call, connected, hang_up, listener
from harness.nat.packet import Endpoint
from harness.nat.responder import Stranger
from harness.nat.wire import Vantage, port_of

_SO_NO_CHECK = 11  # asm-generic/socket.h


def no_checksum_test(setup: DiscoverySetup, mapping: Mapping) -> bool:
    """Test whether datagrams without checksum (RFC 768, IPv4 only) pass and are not given a wrong one.

    Args:
        mapping: that of other datagrams.

    Raises:
        LabError: they are mapped otherwise, or an ordinary datagram does not get through either.
    """
    bound = setup.open()
    bound.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
    asks = [setup.send(bound, to) for row in setup.responder.endpoints for to in row]
    other = setup.open()
    setup.fence(other)
    inside = Endpoint(setup.inside[0].address, port_of(bound))
    for each in (bound, other):
        setup.close(each)
    if not all(ask.answer for ask in asks):
        return False
    seen = classify_mapping(inside, [ask.mapped for ask in asks])
    if seen is not mapping:
        raise LabError(f"datagrams without checksum are mapped by {seen.short}, others by {mapping.short}")
    return True


def silent_hairpin_test(setup: DiscoverySetup) -> bool:
    """Test whether a call from inside to an unused external port is met by silence, not even a refusal.

    Raises:
        LabError: the server did not answer.
    """
    bound, caller = setup.open(), setup.open()
    caller.connect((setup.mapped(bound).address, UNUSED_PORT))
    caller.send(b"anybody there?")
    setup.fence(bound)
    silent = caller not in setup.wire.refused
    for each in (bound, caller):
        setup.close(each)
    return silent


def hairpin_first_test(setup: DiscoverySetup, mapping: Mapping) -> None:
    """Check that an inside host's first packet, a hairpin, gets a mapping that later packets keep.

    For routers that let strangers in and show the external source; once more with a datagram without checksum.

    Raises:
        LabError: it did not arrive, its answer did not, or the mapping was another one afterwards.
    """
    _hairpin_first(setup, mapping, bare=False)
    _hairpin_first(setup, mapping, bare=True)


def _hairpin_first(setup: DiscoverySetup, mapping: Mapping, *, bare: bool) -> None:
    first, second = setup.open(0), setup.open(len(setup.inside) - 1)
    to = setup.mapped(first)
    second.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, int(bare))
    second.sendto(b"first of all", (to.address, to.port))
    if not setup.until(lambda: bool(setup.inbox[first])):
        raise LabError("a hairpin from a host without a mapping did not arrive")
    _, source = setup.inbox[first][0]
    if source.address == setup.inside[-1].address:
        raise LabError("a hairpin from a host without a mapping came from its inside address")
    first.sendto(b"answer", (source.address, source.port))
    if not setup.until(lambda: (b"answer", to) in setup.inbox[second]):
        raise LabError("the answer to a hairpin from a host without a mapping did not arrive")
    if mapping is Mapping.EIM and setup.mapped(second) != source:
        raise LabError("a mapping that a hairpin made was not kept")
    for each in (first, second):
        setup.close(each)


def uninvited_hairpin_test(setup: DiscoverySetup) -> None:
    """Check that a hairpin passes its far end's filter, as from outside (RFC 4787 REQ-9 with REQ-8).

    For routers that show the external source and let only those in whom the mapping has contacted.

    Raises:
        LabError: one came in, by UDP or TCP, although its external source had not been contacted.
    """
    first, second = setup.open(0), setup.open(len(setup.inside) - 1)
    to = setup.mapped(first)
    setup.mapped(second)
    second.sendto(b"uninvited", (to.address, to.port))
    setup.fence(second)
    came = any(data == b"uninvited" for data, _ in setup.inbox[first])
    for each in (first, second):
        setup.close(each)
    if came:
        raise LabError("a hairpin came in from an external source that had not been contacted")
    owner = connected(setup, setup.inside[0], setup.primary)
    assert owner.mapped is not None
    door = listener(setup, setup.inside[0], port_of(owner.bound))
    attempt = call(setup, setup.inside[-1], owner.mapped)
    hang_up(setup, connected(setup, setup.inside[-1], setup.primary))
    setup.wire.wait(GRACE_S)
    hang_up(setup, owner, attempt)
    setup.wire.forget(door)
    if attempt.state == "open":
        raise LabError("a TCP hairpin came in from an external source that had not been contacted")


def two_doors_test(setup: DiscoverySetup, mapping: Mapping, filtering: Filtering) -> None:
    """Check that two mappings of one inside endpoint both admit one peer's endpoint (RFC 4787 section 5).

    For mappings that depend on the destination, and filters that let the peer in at both.

    Raises:
        LabError: one of the packets, or the answer to it, did not arrive.
    """
    if mapping is Mapping.ADM and filtering is Filtering.ADF:
        return  # no peer has been contacted through both
    bound = setup.open()
    targets = setup.responder.endpoints
    second = targets[0][1] if mapping is Mapping.APDM else targets[1][0]
    doors = [setup.mapped(bound, to) for to in (targets[0][0], second)]
    place = setup.strangers[0]
    if filtering is Filtering.ADF:
        place = Vantage(place.pid, setup.primary.address)
    peer = Stranger(setup.wire, place)
    for number, door in enumerate(doors):
        data = b"door %d" % number
        peer.send(door, data)
        if not setup.until(lambda data=data: (data, peer.endpoint) in setup.inbox[bound]):  # type: ignore[misc]
            raise LabError(f"a peer was not heard at mapping {number + 1} of 2 of one inside endpoint")
    setup.close(bound)
    setup.wire.forget(peer.socket)


def own_flow_test(setup: DiscoverySetup, mapping: Mapping, filtering: Filtering) -> None:
    """Check that a peer whom an inside endpoint has contacted is heard at the endpoint's other mappings as well.

    For mappings that depend on the destination, and filters that let the peer in there.

    Raises:
        LabError: it was not.
    """
    if mapping is Mapping.ADM and filtering is Filtering.ADF:
        return  # the peer's address has one mapping
    bound = setup.open()
    place, targets = setup.strangers[0], [to for row in setup.responder.endpoints for to in row]
    if filtering is Filtering.ADF:
        place, targets = Vantage(place.pid, setup.primary.address), targets[:2]
    doors = list(dict.fromkeys(setup.mapped(bound, to) for to in targets))
    peer = Stranger(setup.wire, place)
    bound.sendto(b"the inside's first packet", peer.endpoint)
    if not setup.until(lambda: bool(peer.heard)):
        raise LabError("the inside host's packet to a new peer did not leave the router")
    _knock(setup, bound, doors, peer.endpoint, peer.send)
    setup.close(bound)
    setup.wire.forget(peer.socket)


def hairpin_doors_test(setup: DiscoverySetup) -> None:
    """Check that one inside host is heard at all mappings of another, from its own address and port.

    For mappings that depend on the destination, and routers that leave a hairpin's source as it is.

    Raises:
        LabError: it was not.
    """
    first, second = setup.open(0), setup.open(len(setup.inside) - 1)
    targets = [to for row in setup.responder.endpoints for to in row]
    doors = list(dict.fromkeys(setup.mapped(first, to) for to in targets))
    source = Endpoint(setup.inside[-1].address, port_of(second))
    _knock(setup, first, doors, source, lambda door, data: second.sendto(data, (door.address, door.port)))
    for each in (first, second):
        setup.close(each)


def _knock(
    setup: DiscoverySetup,
    bound: socket.socket,
    doors: Sequence[Endpoint],
    source: Endpoint,
    send: Callable[[Endpoint, bytes], object],
) -> None:
    for number, door in enumerate(doors):
        data = b"mapping %d" % number
        send(door, data)
        if not setup.until(lambda data=data: (data, source) in setup.inbox[bound]):  # type: ignore[misc]
            raise LabError(f"a peer was not heard at mapping {number + 1} of {len(doors)} of one inside endpoint")
