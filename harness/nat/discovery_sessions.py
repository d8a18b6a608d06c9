"""Tests of flows that meet in a router: hairpins without a mapping yet, and one peer at two doors."""

from __future__ import annotations

import socket

from harness.errors import LabError
from harness.model.nat import Filtering, Mapping
from harness.nat.discovery import UNUSED_PORT
from harness.nat.discovery_tcp import call, connected, hang_up, listener
from harness.nat.field import GRACE_S, Field
from harness.nat.responder import Stranger
from harness.nat.wire import Vantage, port_of

_SO_NO_CHECK = 11  # asm-generic/socket.h


def no_checksum_test(field: Field) -> bool:
    """Whether a datagram without checksum (RFC 768 allows none in IPv4) gets through and is not given a wrong one.

    Raises:
        LabError: an ordinary datagram does not get through either.
    """
    bound = field.open()
    bound.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
    ask = field.send(bound)
    other = field.open()
    field.fence(other)
    for each in (bound, other):
        field.close(each)
    return ask.answer is not None


def silent_hairpin_test(field: Field) -> bool:
    """Whether an inside host that calls an external port which is nobody's hears nothing, not even a refusal.

    Raises:
        LabError: the server did not answer.
    """
    bound, caller = field.open(), field.open()
    caller.connect((field.mapped(bound).address, UNUSED_PORT))
    caller.send(b"anybody there?")
    field.fence(bound)
    silent = caller not in field.wire.refused
    for each in (bound, caller):
        field.close(each)
    return silent


def hairpin_first_test(field: Field, mapping: Mapping) -> None:
    """An inside host's first packet of all is a hairpin: it must get a mapping that later packets keep.

    For routers that let strangers in and show the external source.

    Raises:
        LabError: it did not arrive, its answer did not, or the mapping was another one afterwards.
    """
    first, second = field.open(0), field.open(len(field.inside) - 1)
    to = field.mapped(first)
    second.sendto(b"first of all", (to.address, to.port))
    if not field.until(lambda: bool(field.inbox[first])):
        raise LabError("a hairpin from a host without a mapping did not arrive")
    _, source = field.inbox[first][0]
    first.sendto(b"answer", (source.address, source.port))
    if not field.until(lambda: (b"answer", to) in field.inbox[second]):
        raise LabError("the answer to a hairpin from a host without a mapping did not arrive")
    if mapping is Mapping.EIM and field.mapped(second) != source:
        raise LabError("a mapping that a hairpin made was not kept")
    for each in (first, second):
        field.close(each)


def uninvited_hairpin_test(field: Field) -> None:
    """A hairpin passes the filter of its far end, as a packet from outside would (RFC 4787 REQ-9 with REQ-8).

    For routers that show the external source and let only those in whom the mapping has contacted.

    Raises:
        LabError: one came in, by UDP or TCP, although its external source had not been contacted.
    """
    first, second = field.open(0), field.open(len(field.inside) - 1)
    to = field.mapped(first)
    field.mapped(second)
    second.sendto(b"uninvited", (to.address, to.port))
    field.fence(second)
    came = any(data == b"uninvited" for data, _ in field.inbox[first])
    for each in (first, second):
        field.close(each)
    if came:
        raise LabError("a hairpin came in from an external source that had not been contacted")
    owner = connected(field, field.inside[0], field.primary)
    assert owner.mapped is not None
    door = listener(field, field.inside[0], port_of(owner.bound))
    attempt = call(field, field.inside[-1], owner.mapped)
    hang_up(field, connected(field, field.inside[-1], field.primary))
    field.wire.wait(GRACE_S)
    hang_up(field, owner, attempt)
    field.wire.forget(door)
    if attempt.state == "open":
        raise LabError("a TCP hairpin came in from an external source that had not been contacted")


def two_doors_test(field: Field, mapping: Mapping, filtering: Filtering) -> None:
    """One peer sends, from one endpoint, to two mappings of one inside endpoint; both let it in (RFC 4787 section 5).

    For mappings that depend on the destination, and filters that let the peer in at both.

    Raises:
        LabError: one of the packets, or the answer to it, did not arrive.
    """
    if mapping is Mapping.ADM and filtering is Filtering.ADF:
        return  # no peer has been contacted through both
    bound = field.open()
    targets = field.responder.endpoints
    second = targets[0][1] if mapping is Mapping.APDM else targets[1][0]
    doors = [field.mapped(bound, to) for to in (targets[0][0], second)]
    place = field.strangers[0]
    if filtering is Filtering.ADF:
        place = Vantage(place.pid, field.primary.address)
    peer = Stranger(field.wire, place)
    for number, door in enumerate(doors):
        data = b"door %d" % number
        peer.send(door, data)
        if not field.until(lambda data=data: (data, peer.endpoint) in field.inbox[bound]):  # type: ignore[misc]
            raise LabError(f"a peer was not heard at mapping {number + 1} of 2 of one inside endpoint")
    field.close(bound)
    field.wire.forget(peer.socket)
