"""Deletion of a router's state: elements of its maps and connection tracking's entries, by our own netlink messages.

By hand, because a start of `nft` takes longer than all the rest of a trial's check, and pyroute2's `NFCTSocket.flush`
leaves the entries where they are.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator, Sequence

from harness.errors import LabError
from harness.sandbox.namespace import inside_network_of

# linux/netlink.h, linux/netfilter/nfnetlink.h, nf_tables.h and nfnetlink_conntrack.h.
_NETLINK_NETFILTER = 12
_REQUEST, _ACK = 0x01, 0x04
_ERROR = 2
_BATCH_BEGIN, _BATCH_END, _NFTABLES = 0x10, 0x11, 10
_DELETE_ELEMENTS = _NFTABLES << 8 | 14
_TABLE, _SET = 1, 2
_DELETE_CONNECTIONS = 1 << 8 | 2
_FAMILIES = {"inet": 1, "ip": 2, "ip6": 10}
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")
_STATUS = struct.Struct("=i")


def filled_by_packets(ruleset: str) -> Iterator[tuple[str, str, str]]:
    """Yield family, table and name of each map and set that packets fill, from a script of `render_ruleset`."""
    family = table = ""
    for line in ruleset.splitlines():
        if found := re.fullmatch(r"table (\w+) (\w+) {", line):
            family, table = found.groups()
        elif found := re.match(r"\t(?:map|set) (\w+) {.*flags dynamic", line):
            yield family, table, found[1]


def empty_sets(pid: int, sets: Sequence[tuple[str, str, str]]) -> None:
    """Delete all elements of sets and maps in a process's network namespace, in one transaction.

    Raises:
        LabError: there is no such set, or the kernel refused.
    """
    if not sets:
        return
    # A delete request that names no element deletes all.
    deletes = [
        _message(_DELETE_ELEMENTS, _ACK, _FAMILIES[family], _text(_TABLE, table) + _text(_SET, name), number=number)
        for number, (family, table, name) in enumerate(sets, 1)
    ]
    ends = [_message(kind, 0, 0, resource=_NFTABLES) for kind in (_BATCH_BEGIN, _BATCH_END)]
    _ask(pid, b"".join([ends[0], *deletes, ends[1]]), answers=len(deletes), what="empty the router's maps")


def flush_connections(pid: int) -> None:
    """Make the connection tracking of a process's network namespace forget everything.

    Raises:
        LabError: the kernel refused.
    """
    # A delete request without a tuple deletes all.
    _ask(pid, _message(_DELETE_CONNECTIONS, _ACK, 0), answers=1, what="flush connection tracking")


def _message(kind: int, flags: int, family: int, body: bytes = b"", *, number: int = 0, resource: int = 0) -> bytes:
    body = _FAMILY.pack(family, 0, resource) + body
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, number, 0) + body


def _text(kind: int, text: str) -> bytes:
    value = text.encode() + b"\0"
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _ask(pid: int, request: bytes, *, answers: int, what: str) -> None:
    with inside_network_of(pid):
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    with netlink:
        netlink.send(request)
        while answers > 0:
            data = netlink.recv(65536)
            while data:
                length, kind, *_ = _HEADER.unpack_from(data)
                (number,) = _STATUS.unpack_from(data, _HEADER.size)
                if kind != _ERROR or number:
                    raise LabError(f"cannot {what}: {os.strerror(-number)}")
                answers -= 1
                data = data[length + -length % 4 :]
