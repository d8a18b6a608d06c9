"""A TUN or TAP device with segmentation offload (Linux, Documentation/networking/tuntap.rst)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from io import FileIO

from overlays.refmesh.driver.udp import MAX_SEND
from overlays.refmesh.errors import MachineError

VNET_HEADER_LEN = 10
MAX_READ = 65535 + 14 + VNET_HEADER_LEN
_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
_IFF_TUN, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x0002, 0x1000, 0x4000
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6 = 0x01, 0x02, 0x04
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8913, 0x8914
_SIOCSIFMTU, _SIOCGIFINDEX, _SIOCSIFTXQLEN = 0x8922, 0x8933, 0x8943
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_NETLINK_HEAD, _LINK, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=HHI")
_RTM_NEWLINK, _NLM_F_REQUEST, _IFLA_GSO_MAX_SEGS = 16, 1, 40
_MAX_OVERHEAD = 56
"""Octets that a packet grows by at most: relay header, message, bulk header or padding, tag."""
_QUEUE_LEN = 1000
NOTHING = (errno.EAGAIN, errno.EFAULT)
"""What reading fails with while there is nothing: the second while the interface is down."""
REFUSED = (errno.EINVAL, errno.EIO, errno.EAGAIN, errno.ENOBUFS)
"""What writing may fail with; the packet is lost then, as on any network."""


class Tun:
    """An open device; it goes when `close` is called or the process ends."""

    def __init__(self, name: str, *, tap: bool = False) -> None:
        """MachineError when there is no /dev/net/tun, no right to use it, or the name is taken."""
        try:
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise MachineError(f"/dev/net/tun: {error.strerror}; to have it: modprobe tun, and run as root") from None
        flags = (_IFF_TAP if tap else _IFF_TUN) | _IFF_NO_PI | _IFF_VNET_HDR
        try:
            fcntl.ioctl(self.fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
            fcntl.ioctl(self.fd, _TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER_LEN))
            offload = _TUN_F_CSUM if tap else _TUN_F_CSUM | _TUN_F_TSO4 | _TUN_F_TSO6
            fcntl.ioctl(self.fd, _TUNSETOFFLOAD, offload)
        except OSError as error:
            os.close(self.fd)
            hint = "the name is in use" if error.errno == errno.EBUSY else "run as root, or give it CAP_NET_ADMIN"
            raise MachineError(f"cannot make interface {name}: {error.strerror}; {hint}") from None
        self.name = name
        self.file = FileIO(self.fd, "r+b", closefd=False)
        """Reads and writes a packet with its virtio_net_hdr at a time; None: not now."""

    def configure(self, addresses: Sequence[str], mtu: int) -> None:
        """Set addresses (with prefix length) and MTU in octets, take the interface up. MachineError on refusal."""
        name = self.name.encode()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si20x", name, mtu))
                # The kernel wants the real root for this one, whatever the namespace: then its default has to do.
                with contextlib.suppress(PermissionError):
                    fcntl.ioctl(control, _SIOCSIFTXQLEN, struct.pack("16si20x", name, _QUEUE_LEN))
                for address in addresses:
                    interface = ipaddress.ip_interface(address)
                    if interface.version == 4:
                        for request, value in ((_SIOCSIFADDR, interface.ip), (_SIOCSIFNETMASK, interface.netmask)):
                            packed = struct.pack("16sHH4s16x", name, socket.AF_INET, 0, value.packed)
                            fcntl.ioctl(control, request, packed)
                raw = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh22x", name, 0))
                flags = struct.unpack_from("16sh", raw)[1] | _IFF_UP | _IFF_RUNNING
                fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", name, flags))
                index = struct.unpack_from("16si", fcntl.ioctl(control, _SIOCGIFINDEX, struct.pack("16s24x", name)))[1]
            self._add_ipv6(addresses, index)
            self._limit_segments(index, MAX_SEND // (mtu + _MAX_OVERHEAD))
        except OSError as error:
            raise MachineError(f"cannot configure interface {self.name}: {error.strerror}; run as root") from None

    @staticmethod
    def _limit_segments(index: int, count: int) -> None:
        """Has the kernel make no larger packets than one system call can send, so that none is cut in two."""
        size = _NETLINK_HEAD.size + _LINK.size + _ATTRIBUTE.size
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.send(
                _NETLINK_HEAD.pack(size, _RTM_NEWLINK, _NLM_F_REQUEST, 1, 0)
                + _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
                + _ATTRIBUTE.pack(_ATTRIBUTE.size, _IFLA_GSO_MAX_SEGS, count)
            )

    def _add_ipv6(self, addresses: Sequence[str], index: int) -> None:
        interfaces = [interface for interface in map(ipaddress.ip_interface, addresses) if interface.version == 6]
        if not interfaces:
            return
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
            for interface in interfaces:
                # struct in6_ifreq: address, prefix length, interface index
                request = struct.pack("16sIi", interface.ip.packed, interface.network.prefixlen, index)
                fcntl.ioctl(control, _SIOCSIFADDR, request)

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Give the kernel one packet, its virtio_net_hdr first; one that the kernel does not like is lost."""
        try:
            os.writev(self.fd, buffers)
        except OSError as error:
            self.refuse(error, REFUSED)

    def read(self) -> bytes | None:
        """Return a packet of our host with its virtio_net_hdr; None: there is none. MachineError: no device."""
        try:
            return os.read(self.fd, MAX_READ)
        except OSError as error:
            self.refuse(error, NOTHING)
            return None

    def refuse(self, error: OSError, harmless: Sequence[int]) -> None:
        """Raise what an error of the device means, unless it is harmless: MachineError when the device is gone."""
        if error.errno == errno.EBADFD:
            raise MachineError(f"interface {self.name} is gone: somebody has deleted it") from None
        if error.errno not in harmless:
            raise error

    def close(self) -> None:
        """Remove the device."""
        self.file.close()
        os.close(self.fd)
