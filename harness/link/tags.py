"""VLAN tags of frames from packet sockets: the kernel strips the outermost one and reports it out of band."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final

_SOL_PACKET: Final = 263
_PACKET_AUXDATA: Final = 8
# struct tpacket_auxdata of packet(7): tp_status, tp_len, tp_snaplen, tp_mac, tp_net, tp_vlan_tci, tp_vlan_tpid.
_AUXDATA: Final = struct.Struct("IIIHHHH")
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_ETH_P_8021Q: Final = 0x8100
_ADDRESSES_BYTES: Final = 12
TAG_SPACE: Final = socket.CMSG_SPACE(_AUXDATA.size)


def ask_for_tags(port: socket.socket) -> None:
    """Have the packet socket tell of the tags of all frames from now on."""
    port.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)


def with_tag(frame: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return the frame as it was on the wire; `ancillary` is what `recvmsg` gave with TAG_SPACE bytes of room."""
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, *_, tci, tpid = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                tag = struct.pack("!HH", tpid if status & _VLAN_TPID_VALID else _ETH_P_8021Q, tci)
                return frame[:_ADDRESSES_BYTES] + tag + frame[_ADDRESSES_BYTES:]
    return frame
