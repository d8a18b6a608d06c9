"""Tests that need packets which no socket makes, so scapy builds them: a hop's ICMP error, fragments out of order."""

from __future__ import annotations

import errno
import socket
import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.packet import Packet, Raw

from harness.errors import LabError
from harness.nat.discovery import UNUSED_PORT
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.packet import Endpoint
from harness.nat.responder import MSG_ERRQUEUE, RECVERR
from harness.nat.wire import Vantage, port_of

_FROM_ICMP = 2  # linux/errqueue.h: SO_EE_ORIGIN_ICMP
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_TIME_EXCEEDED = 11


def hop_error_test(setup: DiscoverySetup) -> bool:
    """Test whether a hop's Time Exceeded about an outbound datagram reaches its socket (RFC 5508 REQ-4).

    The error comes from an address that the inside never contacted and holds the datagram as it left the router; the
    host knows it again only if the router put back what it had translated.

    Raises:
        LabError: the server did not answer.
    """
    bound = setup.open()
    bound.setsockopt(*RECVERR[socket.AF_INET], 1)
    mapped = setup.mapped(bound)
    hop = setup.strangers[0]
    quoted = IP(src=mapped.address, dst=setup.primary.address) / UDP(sport=mapped.port, dport=setup.primary.port)
    error = IP(src=hop.address, dst=mapped.address) / ICMP(type=_TIME_EXCEEDED) / quoted / Raw(b"as it left")
    found: list[tuple[int, int, Endpoint]] = []

    def came() -> bool:
        found.extend(_errors(bound))
        return bool(found)

    _emit(hop, error)
    setup.wire.pump(came, setup.patience_s)
    setup.close(bound)
    return found == [(errno.EHOSTUNREACH, _TIME_EXCEEDED, setup.primary)]


def _errors(bound: socket.socket) -> list[tuple[int, int, Endpoint]]:
    """Return errno, ICMP type and destination of the datagram, for each error in a socket's queue."""
    try:
        _, ancillary, _, about = bound.recvmsg(512, 256, MSG_ERRQUEUE)
    except BlockingIOError:
        return []
    said = [
        _EXTENDED_ERROR.unpack_from(data) for level, kind, data in ancillary if (level, kind) == RECVERR[bound.family]
    ]
    return [(number, kind, Endpoint(*about[:2])) for number, origin, kind, *_ in said if origin == _FROM_ICMP]


def leak_test(setup: DiscoverySetup) -> bool:
    """Test whether a segment that belongs to no connection leaves with its inside address.

    It has no flags at all; connection tracking calls it invalid and does not translate it.

    Raises:
        LabError: the server did not answer.
    """
    bound = setup.open()
    inside, port = setup.inside[0].address, port_of(bound)
    seen: list[tuple[str, int, int]] = []
    watch = _server(setup).raw(socket.SOCK_RAW, socket.IPPROTO_TCP)
    watch.setblocking(False)

    def note(data: bytes, source: Endpoint) -> None:
        seen.append((source.address, *struct.unpack_from("!HH", data, (data[0] & 0x0F) * 4)))

    setup.wire.listen(watch, note)
    _emit(setup.inside[0], IP(src=inside, dst=setup.primary.address) / TCP(sport=port, dport=UNUSED_PORT, flags=0))
    setup.fence(bound)
    setup.close(bound)
    setup.wire.forget(watch)
    return (inside, port, UNUSED_PORT) in seen


def fragments_test(setup: DiscoverySetup) -> bool:
    """Test whether a datagram in fragments, the last one first, passes both ways (RFC 4787 REQ-14).

    Raises:
        LabError: the server did not answer.
    """
    bound = setup.open()
    mapped = setup.mapped(bound)
    inside, server = Endpoint(setup.inside[0].address, port_of(bound)), setup.primary
    outward, inward = (bytes([number]) * 64 for number in (1, 2))
    heard = setup.responder.strange
    _emit(setup.inside[0], *_in_pieces(inside, server, outward))
    _emit(_server(setup), *_in_pieces(server, mapped, inward))
    passed = setup.until(lambda: (outward, mapped) in heard and (inward, server) in setup.inbox[bound])
    setup.close(bound)
    return passed


def _in_pieces(source: Endpoint, destination: Endpoint, data: bytes) -> list[Packet]:
    """Return a datagram's fragments, in the wrong order; the kernel would replace an identification of 0."""
    whole = IP(src=source.address, dst=destination.address, id=source.port or 1)
    whole /= UDP(sport=source.port, dport=destination.port) / Raw(data)
    return list(reversed(fragment(whole, fragsize=24)))  # type: ignore[no-untyped-call]


def _server(setup: DiscoverySetup) -> Vantage:
    return Vantage(setup.strangers[0].pid, setup.primary.address)


def _emit(place: Vantage, *packets: Packet) -> None:
    with place.raw(socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in packets:
            try:
                raw.sendto(bytes(packet), (packet.dst, 0))
            except OSError as error:
                raise LabError(f"cannot send a packet of our own making: {error.strerror}") from error
