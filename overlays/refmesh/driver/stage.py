"""Where the short way is rehearsed: everything is as it is there, but nothing leads anywhere."""

from __future__ import annotations

import os
import socket
from io import FileIO

from overlays.refmesh.core.rehearsal import ADDRESS, PACKET, Rehearsal
from overlays.refmesh.driver.shortway import ShortWay
from overlays.refmesh.driver.tun import MAX_READ, VNET_HEADER_LEN

_LENGTH = VNET_HEADER_LEN + len(PACKET)


class Mirror:
    """A UDP socket connected to itself, which only it can send to; like a near socket."""

    single = True

    def __init__(self) -> None:
        """OSError where there is no loopback interface, or none that is up."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self.socket.bind(("127.0.0.1", 0))
            self.endpoint = self.socket.getsockname()
            self.socket.connect(self.endpoint)
        except OSError:
            self.socket.close()
            raise
        self._file = FileIO(self.socket.fileno(), "r+b", closefd=False)
        self.readinto, self.write = self._file.readinto, self._file.write

    def send(self, datagram: bytes, endpoint: object) -> None:
        """Do nothing: what cannot be sent need not be."""

    def close(self) -> None:
        """Close the socket."""
        self._file.close()
        self.socket.close()


class Stage:
    """Sends itself a packet the short way."""

    def __init__(self) -> None:
        """OSError when the means are lacking."""
        self._mirror = Mirror()
        self._null = FileIO(os.devnull, "wb")
        rehearsal = Rehearsal()
        buffer = bytearray(MAX_READ)
        buffer[VNET_HEADER_LEN:_LENGTH] = PACKET
        self._short = ShortWay(self._null, buffer, rehearsal.inlets, lambda *_: None)
        self._short.open_lane(ADDRESS, rehearsal.lane, self._mirror)

    def rehearse(self, now: float) -> bool:
        """Send a packet and receives it; whether that went well."""
        return self._short.out(_LENGTH, now) and self._short.take(self._mirror, now) is True

    def close(self) -> None:
        """Give everything back."""
        self._mirror.close()
        self._null.close()
