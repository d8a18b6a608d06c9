"""ICMP through a router (RFC 5508): echoes, and errors about what the inside sent."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from harness.nat.discovery import UNUSED_PORT
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.packet import Endpoint
from harness.nat.wire import Vantage

_ECHO_REQUEST, _ECHO_REPLY = 8, 0


@dataclass(frozen=True)
class Echoes:
    """The outcome of two inside hosts' echoes: whether each got its own answer, and the sources that the outside saw.

    `sources` holds an address for each host that was seen, in the order of the hosts.
    """

    answered: bool
    sources: tuple[str, ...]


def icmp_echo_test(setup: DiscoverySetup, identifier: int) -> Echoes:
    """Let two inside hosts use one echo identifier at once (RFC 5508 REQ-1); the outside looks at their sources."""
    answers: dict[int, list[bytes]] = {}
    seen: dict[int, str] = {}
    watch = icmp_socket(Vantage(setup.strangers[0].pid, setup.primary.address), hears=_ECHO_REQUEST)

    def note(data: bytes, source: Endpoint) -> None:
        seen[_sequence(data)] = source.address

    setup.wire.listen(watch, note)
    sockets = [watch]
    for number, place in enumerate(setup.inside[:2]):
        raw = icmp_socket(place, hears=_ECHO_REPLY)
        answers[number] = []
        setup.wire.listen(raw, lambda data, _, number=number: answers[number].append(data))  # type: ignore[misc]
        raw.sendto(_echo(identifier, number), (setup.primary.address, 0))
        sockets.append(raw)
    complete = setup.until(lambda: all(map(len, answers.values())) and len(seen) == len(answers))
    for raw in sockets:
        setup.wire.forget(raw)
    good = all(_is_answer(data, identifier, number) for number, found in answers.items() for data in found)
    return Echoes(complete and good, tuple(seen[number] for number in sorted(seen)))


def icmp_error_test(setup: DiscoverySetup) -> bool:
    """Test whether an ICMP error about an outbound packet reaches its inside socket (RFC 5508 REQ-3)."""
    bound = setup.open()
    bound.connect((setup.primary.address, UNUSED_PORT))
    bound.send(b"to a closed port")
    came = setup.until(lambda: bound in setup.wire.refused)
    setup.close(bound)
    return came


def icmp_socket(place: Vantage, hears: int) -> socket.socket:
    """Return a raw ICMP socket that hears messages of one type only."""
    raw = socket_in(place, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    # linux/icmp.h: option ICMP_FILTER (1) at level SOL_RAW (255) takes a mask of the types to drop.
    raw.setsockopt(255, 1, struct.pack("=I", ~(1 << hears) & 0xFFFFFFFF))
    return raw


def socket_in(place: Vantage, kind: socket.SocketKind, protocol: int) -> socket.socket:
    """Return a non-blocking socket of any protocol, bound to the place's address."""
    made = place.raw(kind, protocol)
    made.setblocking(False)
    made.bind((place.address, 0))
    return made


def _echo(identifier: int, number: int) -> bytes:
    body = struct.pack("!HH", identifier, number)
    total = (_ECHO_REQUEST << 8) + identifier + number
    return struct.pack("!BBH", _ECHO_REQUEST, 0, ~(total + (total >> 16)) & 0xFFFF) + body


def _sequence(data: bytes) -> int:
    header = (data[0] & 0x0F) * 4
    return int(struct.unpack_from("!H", data, header + 6)[0])


def _is_answer(data: bytes, identifier: int, number: int) -> bool:
    header = (data[0] & 0x0F) * 4
    return data[header] == _ECHO_REPLY and struct.unpack_from("!HH", data, header + 4) == (identifier, number)
