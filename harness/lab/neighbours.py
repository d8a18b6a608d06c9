"""Neighbour entries, made as if learnt before: no ARP, no neighbour discovery (RFC 4861).

Else the first packet over a link of 100 ms waits for a round trip of address resolution at each hop, and that would
count as the overlay's latency. An exchange with 200 routers has 40,000 such entries, so they are written by raw
rtnetlink messages, many at once; permanent ones do not count against the kernel's limits.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import LabError
from harness.lab.node import LabNode
from harness.model.family import Address
from harness.model.topology import Topology
from harness.sandbox.namespace import inside_network_of
from harness.topology.wiring import interface_name

# linux/rtnetlink.h, linux/neighbour.h, linux/netlink.h
_RTM_NEWNEIGH, _RTM_DELNEIGH = 28, 29
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_NLMSG_ERROR: Final = 2
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_PERMANENT: Final = 0x80
_AT_ONCE: Final = 400


@dataclass(frozen=True)
class Neighbour:
    """A node that is reached over an interface (its index) without being asked for."""

    interface: int
    address: Address
    mac: bytes


@dataclass(frozen=True)
class Attached:
    """An interface on a segment: its node, index, hardware address and addresses."""

    node: str
    index: int
    mac: bytes
    addresses: Sequence[Address]


class Neighbours:
    """The entries of all nodes of a lab, which follow who is on which segment.

    Where nodes move or get other addresses, `settle` is called again. An interface that is set down loses its entries,
    permanent ones too: `restore` writes those of its node again.
    """

    def __init__(self, nodes: Mapping[str, LabNode]) -> None:
        self._nodes = nodes
        self._known: dict[str, list[Neighbour]] = {}

    def settle(self, segments: Sequence[Sequence[Attached]]) -> None:
        """Write each node an entry for every other one on its segments, and delete the entries of those that have left.

        Raises:
            LabError: the kernel refused an entry.
        """
        known, before = neighbours_of(segments), self._known
        for name in before | known:
            gone, new = difference(before.get(name, []), known.get(name, []))
            self._change(name, gone, new)
        self._known = known

    def restore(self, node: str) -> None:
        """Write all entries of a node again; its interfaces may be down meanwhile. Raises as `settle` does."""
        self._change(node, [], self._known.get(node, []))

    def _change(self, name: str, gone: Sequence[Neighbour], new: Sequence[Neighbour]) -> None:
        if not gone and not new:
            return
        try:
            _write(self._nodes[name].pid, gone, new)
        except OSError as error:
            raise LabError(f"node {name}: cannot write its neighbours: {error.strerror}") from error


def difference(before: Sequence[Neighbour], after: Sequence[Neighbour]) -> tuple[list[Neighbour], list[Neighbour]]:
    """Return the entries that have to go and those that have to be written. Pure.

    An entry is the one of an address at an interface: another hardware address replaces it.
    """
    there = {(one.interface, one.address) for one in after}
    had = set(before)
    return (
        [one for one in before if (one.interface, one.address) not in there],
        [one for one in after if one not in had],
    )


def cards_of(nodes: Mapping[str, LabNode], topology: Topology) -> dict[str, list[tuple[int, bytes]]]:
    """Return, by node, index and hardware address of the interface that is each of its attachments."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for name, attached in topology.attachments().items():
        links = {link.get_attr("IFLA_IFNAME"): link for link in nodes[name].netlink.get_links()}
        own = [links[interface_name(name, number)] for number in range(len(attached))]
        found[name] = [
            (int(link["index"]), bytes.fromhex(link.get_attr("IFLA_ADDRESS").replace(":", ""))) for link in own
        ]
    return found


def segments_of(topology: Topology, cards: Mapping[str, Sequence[tuple[int, bytes]]]) -> list[list[Attached]]:
    """Return who is on each segment, given everybody's interfaces. Pure."""
    segments: dict[str, list[Attached]] = {}
    for name, attached in topology.attachments().items():
        for attachment, (index, mac) in zip(attached, cards[name], strict=True):
            segments.setdefault(attachment.on, []).append(Attached(name, index, mac, attachment.addresses))
    return list(segments.values())


def neighbours_of(segments: Sequence[Sequence[Attached]]) -> dict[str, list[Neighbour]]:
    """Return, by node, all others on its segments, in the IP versions that it has there. Pure."""
    known: dict[str, list[Neighbour]] = {}
    for attached in segments:
        for own in attached:
            spoken = {address.version for address in own.addresses}
            others = (other for other in attached if other is not own)
            entries = [
                Neighbour(own.index, address, one.mac)
                for one in others
                for address in one.addresses
                if address.version in spoken
            ]
            known.setdefault(own.node, []).extend(entries)
    return known


def _write(pid: int, gone: Sequence[Neighbour], new: Sequence[Neighbour]) -> None:
    with inside_network_of(pid):
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)  # 0: NETLINK_ROUTE
    with netlink:
        netlink.bind((0, 0))
        for one in gone:
            netlink.send(deletion(one))
            # The entries of an interface that is down are gone already.
            with contextlib.suppress(FileNotFoundError):
                _await_end(netlink)
        for batch in _batches(new):
            netlink.send(b"".join(message(one, last=one is batch[-1]) for one in batch))
            _await_end(netlink)


def _batches(entries: Sequence[Neighbour]) -> Iterator[Sequence[Neighbour]]:
    for start in range(0, len(entries), _AT_ONCE):
        yield entries[start : start + _AT_ONCE]


def message(entry: Neighbour, *, last: bool) -> bytes:
    """Return the rtnetlink message that makes an entry; the last of several asks to be acknowledged."""
    body = _body(entry, _NUD_PERMANENT) + _attribute(_NDA_LLADDR, entry.mac)
    return _header(_RTM_NEWNEIGH, _REQUEST | _CREATE | _REPLACE | (_ACK if last else 0), body)


def deletion(entry: Neighbour) -> bytes:
    """Return the rtnetlink message that deletes an entry and asks to be acknowledged."""
    return _header(_RTM_DELNEIGH, _REQUEST | _ACK, _body(entry, 0))


def _body(entry: Neighbour, state: int) -> bytes:
    family = socket.AF_INET if entry.address.version == 4 else socket.AF_INET6
    return struct.pack("=BxxxiHBB", family, entry.interface, state, 0, 0) + _attribute(_NDA_DST, entry.address.packed)


def _header(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _await_end(netlink: socket.socket) -> None:
    """Wait for the acknowledgement (error 0) of the last message; errors may come for any of them."""
    while True:
        reply = netlink.recv(65536)
        while len(reply) >= 20:
            length, kind = struct.unpack_from("=IH", reply)
            if kind == _NLMSG_ERROR:
                (error,) = struct.unpack_from("=i", reply, 16)
                if error:
                    raise OSError(-error, os.strerror(-error))
                return
            reply = reply[(length + 3) & ~3 :]
