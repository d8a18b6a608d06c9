"""Offloads of virtual interfaces: what a backend needs of all four ends of a link, and how to set it.

veth hands frames over in bundles of up to 64 KB and with checksums left to hardware that is not there. Whoever delays
or loses single frames must have them whole: segmentation and checksums are done by the sending node then.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from harness.errors import LabError
from harness.model.link import LinkProfile

_SIOCETHTOOL: Final = 0x8946
# ETHTOOL_S* commands of linux/ethtool.h.
_COMMANDS: Final[Mapping[str, int]] = MappingProxyType({"tso": 0x1F, "gso": 0x24, "gro": 0x2C, "tx": 0x17})
_QUERIES: Final[Mapping[str, int]] = MappingProxyType({"tso": 0x1E, "gso": 0x23, "gro": 0x2B, "tx": 0x16})
# Names as `ethtool -K` has them, in the order in which they can be turned off.
WHOLE_FRAMES: Final = ("tso", "gso", "gro", "tx")
# Below this a bundle's 64 KB would take longer on the wire than the delay error that we allow.
MIN_BUNDLE_RATE_MBIT: Final = 2000.0


def carries_bundles(backend: str, profile: LinkProfile) -> bool:
    """Whether the link may carry bundles of segments: nothing but delay and high rates asked for, and the C helper.

    Then leave the offloads of the outer ends on and set `Cable.bundles`; otherwise turn WHOLE_FRAMES off at both
    outer ends. Such a link can later change only to a profile that is plain too.
    """
    rates = [way.rate_mbit for way in (profile.up, profile.down) if way.rate_mbit is not None]
    return backend == "userlink" and profile.plain and all(rate >= MIN_BUNDLE_RATE_MBIT for rate in rates)


def outer_offloads(backend: str, profile: LinkProfile) -> dict[str, bool]:
    """What to set with `set_offloads` at the node's interface and at the bridge port of an impaired link."""
    return {} if carries_bundles(backend, profile) else dict.fromkeys(WHOLE_FRAMES, False)


def set_offloads(interface: str, names: tuple[str, ...], *, on: bool) -> None:
    """Turn offloads of an interface of this network namespace on or off; LabError where the kernel refuses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name in names:
            try:
                _ioctl(control, interface, _COMMANDS[name], int(on))
            except OSError as error:
                # A kernel that does not know an offload cannot have it on.
                if error.errno == errno.EOPNOTSUPP and not on:
                    continue
                raise LabError(
                    f"interface {interface}: cannot turn {name} {'on' if on else 'off'}: {error.strerror}"
                ) from error


def get_offloads(interface: str) -> dict[str, bool]:
    """The offloads of an interface as the kernel has them, for the record."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        return {name: bool(_ioctl(control, interface, query, 0)) for name, query in _QUERIES.items()}


def _ioctl(control: socket.socket, interface: str, command: int, value: int) -> int:
    data = array.array("I", [command, value])
    address, _ = data.buffer_info()
    fcntl.ioctl(control.fileno(), _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), address))
    return data[1]
