"""The kernel's receive stamps: when a packet came, however late it is read."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final

# asm-generic/socket.h; Python has no name for it.
SO_TIMESTAMPNS: Final = 35
STAMP_SPACE: Final = socket.CMSG_SPACE(16)


def ask_for_stamps(sock: socket.socket) -> None:
    """Have every packet that the socket receives from now on stamped."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def stamp_ns(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    """Return when the packet came: ns of the wall clock; None where the kernel did not stamp it.

    `ancillary` is what `recvmsg` gave with STAMP_SPACE bytes of room.
    """
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return int(seconds * 1_000_000_000 + nanoseconds)
    return None
