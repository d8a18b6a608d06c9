"""This machine's addresses, and word when they change (rtnetlink(7))."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from overlays.refmesh.driver.udp import set_mark
from overlays.refmesh.errors import MachineError

_RTM_NEWADDR, _RTM_GETADDR, _NLMSG_ERROR, _NLMSG_DONE = 20, 22, 2, 3
_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV4_ROUTE, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x40, 0x100
_RTF_GATEWAY = 2
_HEAD = struct.Struct("=IHHII")
_IFADDR = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")


def local_addresses(but: str = "") -> list[str]:
    """Return the unicast addresses of all interfaces but `but`, without loopback and link-local ones."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(_HEAD.pack(_HEAD.size + 1, _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + b"\0")
        found = []
        for index, packed in _dump(netlink):
            address = ipaddress.ip_address(packed)
            if address.is_loopback or address.is_link_local:
                continue
            try:
                if socket.if_indextoname(index) == but:
                    continue
            except OSError:
                continue
            found.append(str(address))
    return found


def is_ours(host: str) -> bool:
    """Whether a literal address is one of this machine's, so that something can be sent from it.

    Yes where that cannot be asked, for want of descriptors say: who asks would close what works.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.bind((host, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def routers(mark: int = 0) -> list[tuple[str, str]]:
    """Return the IPv4 default routers, each with the address of ours that packets to it have (no packet is sent).

    `mark`: the firewall mark of what we send, by which its route may be chosen.
    """
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[1] == "00000000" and int(fields[3], 16) & _RTF_GATEWAY:
            router = socket.inet_ntoa(struct.pack("=I", int(fields[2], 16)))
            with (
                contextlib.suppress(OSError, MachineError),
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
            ):
                if mark:
                    set_mark(probe, mark)
                probe.connect((router, 9))
                found.append((router, str(probe.getsockname()[0])))
    return found


def watch() -> socket.socket:
    """Return a socket that becomes readable when links, addresses or routes change; drain it with `drain`."""
    netlink = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    )
    netlink.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_IFADDR))
    return netlink


def drain(netlink: socket.socket) -> None:
    """Read away what a `watch` socket has; an overrun only means that there was a lot."""
    while True:
        try:
            netlink.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue


def _dump(netlink: socket.socket) -> Iterator[tuple[int, bytes]]:
    while True:
        data = netlink.recv(65536)
        position = 0
        while position + _HEAD.size <= len(data):
            length, kind, *_ = _HEAD.unpack_from(data, position)
            if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < _HEAD.size:
                return
            if kind == _RTM_NEWADDR:
                yield from _address(data[position + _HEAD.size : position + length])
            position += (length + 3) & ~3


def _address(message: bytes) -> Iterator[tuple[int, bytes]]:
    index = _IFADDR.unpack_from(message)[4]
    attributes = {}
    position = _IFADDR.size
    while position + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, position)
        if length < _ATTRIBUTE.size:
            break
        attributes[kind] = message[position + _ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3
    # On a point-to-point link IFA_ADDRESS is the other end.
    packed = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
    if len(packed) in (4, 16):
        yield index, packed
