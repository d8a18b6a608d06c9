"""Small packets between the TUN device and sockets connected to peers: as few steps as can be.

Everything here comes again in `datapath.py`, in full: what is not an ordinary packet of a peer with which all is well
goes that way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from io import FileIO
from typing import Protocol

from overlays.refmesh.core import offload
from overlays.refmesh.core.lane import HEAD_LEN, IPV4, PADS, Inlet, Lane
from overlays.refmesh.core.probing import LARGE
from overlays.refmesh.driver.tun import REFUSED, VNET_HEADER_LEN
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.control import Endpoint

MAX_LANES = 256
_MAX_LENGTH = VNET_HEADER_LEN + LARGE
"""What is longer may be too long for the path."""
_LOOK = struct.Struct("<BB8xB15x4s")
"""Of what TUN gives: flags and gso_type, the packet's first octet, an IPv4 destination."""
_UNPACK_HEAD = messages.TRANSPORT_HEAD.unpack_from


class Near(Protocol):
    """A socket connected to one endpoint; see `near.py`."""

    endpoint: Endpoint
    single: bool

    def readinto(self, buffer: bytearray, /) -> int | None:
        """Read a datagram; None: there is none."""

    def write(self, datagram: bytes, /) -> int | None:
        """Send a datagram; None: not now."""

    def send(self, datagram: bytes, endpoint: Endpoint) -> None:
        """Send even if that takes a while."""


class ShortWay:
    """Lanes to inner addresses, each with the socket that leads there."""

    def __init__(
        self,
        device: FileIO,
        buffer: bytearray,
        inlets: Mapping[int, Inlet],
        receive: Callable[[bytes, Endpoint, float], None],
    ) -> None:
        """Take a device for what is for our host, and `receive` for what is no ordinary packet.

        `buffer`: what our host sends stands there, after its virtio_net_hdr.
        """
        self._put, self._inlets, self._receive = device.write, inlets, receive
        self._buffer, self._view = buffer, memoryview(buffer)
        self._arrived = bytearray(65536)
        self._arrived_view = memoryview(self._arrived)
        self._lanes: dict[bytes, tuple[Lane, Near]] = {}
        self.used: Near | None = None
        """Where the last packet went."""
        self.octets = 0
        """Of the datagram that was taken last."""
        self.came: bool | None = None
        """What `take` gave right after that."""

    def open_lane(self, destination: bytes, lane: Lane, near: Near) -> None:
        """Packets to this IPv4 address go this way."""
        if len(self._lanes) >= MAX_LANES:
            self.clear()
        self._lanes[destination] = lane, near

    def clear(self) -> None:
        """Forgets all lanes; call it before a near socket is closed."""
        self._lanes.clear()
        self.used = None

    def out(self, length: int, now: float, *, ask: bool = False) -> bool:
        """Send a small packet that was read into the buffer, `length` octets with its header; False: not this way.

        With `ask` it looks for an answer at once: who answers may have had this processor since.
        """
        flags, gso_type, version, destination = _LOOK.unpack_from(self._buffer)
        if version != IPV4 or gso_type or length > _MAX_LENGTH:
            return False
        way = self._lanes.get(destination)
        if way is None:
            return False
        lane, near = way
        if flags:
            packet = offload.complete(self._buffer[:VNET_HEADER_LEN], bytes(self._view[VNET_HEADER_LEN:length]))
            self._view[VNET_HEADER_LEN:length] = packet
            self._buffer[0] = 0  # made: who goes the general way after all must not make it again
        padding = (VNET_HEADER_LEN - length) & 15
        end = length + padding
        if padding:
            self._view[length:end] = PADS[padding]
        datagram = lane.seal(self._view[VNET_HEADER_LEN:end], now)
        if datagram is None:
            self.clear()
            return False
        try:
            sent = near.write(datagram)
        except OSError:
            sent = None
        if sent is None:
            near.send(datagram, near.endpoint)
        self.came = self.take(near, now) if ask and near.single else None
        lane.note(length - VNET_HEADER_LEN, now)
        self.used = near
        return True

    def take(self, near: Near, now: float) -> bool | None:
        """Read one datagram from a socket whose `single` is set; None: there was none.

        True: our host has got the packet. False: it was something else, which the node has taken.
        """
        try:
            length = near.readinto(self._arrived)
        except OSError:
            return None
        if not length:
            return None
        if length >= messages.TRANSPORT_MIN_LEN:
            kind, index, counter = _UNPACK_HEAD(self._arrived)
            inlet = self._inlets.get(index)
            if inlet is not None and kind == messages.TRANSPORT:
                packet = inlet.open(counter, self._arrived_view[HEAD_LEN:length], now)
                if packet is not None:
                    try:
                        self._put(offload.PLAIN_HEADER + packet)
                    except OSError as error:
                        if error.errno not in REFUSED:
                            raise
                    inlet.note(len(packet), now)
                    self.octets = length
                    return True
        self.octets = length
        self._receive(bytes(self._arrived_view[:length]), near.endpoint, now)
        return False
