"""Offloads of virtual interfaces: what a backend needs of the outer ends of a link, and how to set it.

veth hands frames over in bundles of up to 64 KB and with checksums left to hardware that is not there. A backend
that delays or loses single frames must have them whole, or be that hardware: the helper in C cuts the bundles itself.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from harness.errors import LabError

_SIOCETHTOOL: Final = 0x8946
# ETHTOOL_S* commands of linux/ethtool.h.
_COMMANDS: Final[Mapping[str, int]] = MappingProxyType({"tso": 0x1F, "gso": 0x24, "gro": 0x2C, "tx": 0x17})
_QUERIES: Final[Mapping[str, int]] = MappingProxyType({"tso": 0x1E, "gso": 0x23, "gro": 0x2B, "tx": 0x16})
_GET_STRINGS, _GET_SET_INFO, _SET_FEATURES, _FEATURE_STRINGS, _STRING_BYTES = 0x1B, 0x37, 0x3B, 4, 32
# Names as `ethtool -K` has them, in the order in which they can be turned off.
WHOLE_FRAMES: Final = ("tso", "gso", "gro", "tx")
# Bundles that harness/link/userlink/bundle.c cuts. Those of tunnels have lengths inside that would have to be cut too.
_CUT_BY_HELPER: Final = frozenset({"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation"})
_DATAGRAMS: Final = "tx-udp-segmentation"
_ALWAYS: Final = frozenset({"tx-generic-segmentation"})
# What else a card may be asked for that the helper is none for: other bundles, VLAN tags, checksums that are no sums.
_HELPERS_MATTER: Final = re.compile(r"^tx-.*(segmentation|list|partial|vlan|sctp)")
# Since then the header of a packet socket can tell of a bundle of datagrams; before, such a bundle vanishes.
_TELLS_OF_DATAGRAMS: Final = (6, 2)


def prepare_outer_end(backend: str, interface: str) -> None:
    """Set the offloads of a node's interface, or of a bridge's port, for the backend that carries its impaired link.

    The helper in C takes bundles of TCP segments and, from Linux 6.2 on, of UDP datagrams, and cuts them; the other
    backends get whole frames. Works on this thread's network namespace; LabError where the kernel refuses.
    """
    if backend != "userlink":
        set_offloads(interface, WHOLE_FRAMES, on=False)
        return
    cut = _CUT_BY_HELPER | _ALWAYS | ({_DATAGRAMS} if _kernel() >= _TELLS_OF_DATAGRAMS else frozenset())
    _turn_features_off(interface, [name for name in _features() if _HELPERS_MATTER.search(name) and name not in cut])


def set_offloads(interface: str, names: tuple[str, ...], *, on: bool) -> None:
    """Turn offloads of an interface of this network namespace on or off; LabError where the kernel refuses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name in names:
            try:
                _ioctl(control, interface, array.array("I", [_COMMANDS[name], int(on)]))
            except OSError as error:
                # A kernel that does not know an offload cannot have it on.
                if error.errno == errno.EOPNOTSUPP and not on:
                    continue
                raise LabError(
                    f"interface {interface}: cannot turn {name} {'on' if on else 'off'}: {error.strerror}"
                ) from error


def get_offloads(interface: str) -> dict[str, bool]:
    """Return the offloads of an interface as the kernel has them, for the record."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        return {
            name: bool(_ioctl(control, interface, array.array("I", [query, 0]))[1]) for name, query in _QUERIES.items()
        }


@cache
def _features() -> tuple[str, ...]:
    """Return the kernel's interface features (`ethtool -k`), in the order of their bits; "" for one without a name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        count = _ioctl(control, "lo", array.array("I", [_GET_SET_INFO, 0, 1 << _FEATURE_STRINGS, 0, 0]))[4]
        empty = array.array("I", bytes(count * _STRING_BYTES))
        text = _ioctl(control, "lo", array.array("I", [_GET_STRINGS, _FEATURE_STRINGS, count]) + empty)[3:].tobytes()
    names = (text[at : at + _STRING_BYTES] for at in range(0, len(text), _STRING_BYTES))
    return tuple(name.rstrip(b"\0").decode() for name in names)


def _turn_features_off(interface: str, names: list[str]) -> None:
    features = _features()
    words = array.array("I", [_SET_FEATURES, (len(features) + 31) // 32])
    for first in range(0, len(features), 32):
        block = features[first : first + 32]
        words.extend((sum(1 << bit for bit, name in enumerate(block) if name in names), 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            _ioctl(control, interface, words)
        except OSError as error:
            raise LabError(f"interface {interface}: cannot set its features: {error.strerror}") from error


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def _ioctl(control: socket.socket, interface: str, words: array.array[int]) -> array.array[int]:
    address, _ = words.buffer_info()
    fcntl.ioctl(control.fileno(), _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), address))
    return words
