"""Neighbour entries made at the start, as if learnt before: no ARP, no neighbour discovery (RFC 4861).

Else the first packet over a link of 100 ms waits for a round trip of address resolution at each hop, and that would
count as the overlay's latency. An exchange with 200 routers has 40,000 such entries, so they are written by raw
rtnetlink messages, many at once; permanent ones do not count against the kernel's limits.
"""

from __future__ import annotations

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
_RTM_NEWNEIGH: Final = 28
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


def settle_neighbours(nodes: Mapping[str, LabNode], topology: Topology) -> None:
    """Tell every node the hardware addresses of all others on its segments.

    Raises:
        LabError: the kernel refused an entry.
    """
    segments: dict[str, list[Attached]] = {}
    for name, attached in topology.attachments().items():
        links = {link.get_attr("IFLA_IFNAME"): link for link in nodes[name].netlink.get_links()}
        for number, attachment in enumerate(attached):
            link = links[interface_name(name, number)]
            mac = bytes.fromhex(link.get_attr("IFLA_ADDRESS").replace(":", ""))
            segments.setdefault(attachment.on, []).append(Attached(name, int(link["index"]), mac, attachment.addresses))
    settle(nodes, list(segments.values()))


def settle(nodes: Mapping[str, LabNode], segments: Sequence[Sequence[Attached]]) -> None:
    """Tell every node the hardware addresses of all others on its segments, as given. Raises as above."""
    for name, known in neighbours_of(segments).items():
        try:
            _write(nodes[name].pid, known)
        except OSError as error:
            raise LabError(f"node {name}: cannot write its neighbours: {error.strerror}") from error


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


def _write(pid: int, entries: Sequence[Neighbour]) -> None:
    with inside_network_of(pid):
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)  # 0: NETLINK_ROUTE
    with netlink:
        netlink.bind((0, 0))
        for batch in _batches(entries):
            netlink.send(b"".join(message(one, last=one is batch[-1]) for one in batch))
            _await_end(netlink)


def _batches(entries: Sequence[Neighbour]) -> Iterator[Sequence[Neighbour]]:
    for start in range(0, len(entries), _AT_ONCE):
        yield entries[start : start + _AT_ONCE]


def message(entry: Neighbour, *, last: bool) -> bytes:
    """Return the rtnetlink message that makes an entry; the last of several asks to be acknowledged."""
    family = socket.AF_INET if entry.address.version == 4 else socket.AF_INET6
    body = struct.pack("=BxxxiHBB", family, entry.interface, _NUD_PERMANENT, 0, 0)
    body += _attribute(_NDA_DST, entry.address.packed) + _attribute(_NDA_LLADDR, entry.mac)
    flags = _REQUEST | _CREATE | _REPLACE | (_ACK if last else 0)
    return struct.pack("=IHHII", 16 + len(body), _RTM_NEWNEIGH, flags, 0, 0) + body


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
