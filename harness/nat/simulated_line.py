"""What a simulated router does to a packet whatever its mappings. Pure."""

from __future__ import annotations

from harness.model.nat import Fragments, NatBehaviour
from harness.nat.packet import Packet
from harness.nat.policing import Policer
from harness.nat.ports import FULL_MTU_BYTES

# The headers of IP and UDP before a datagram's payload (RFC 791, RFC 8200).
_HEADERS_BYTES = {False: 28, True: 48}


class Line:
    """A router's two directions, whose buckets are full at first."""

    def __init__(self, behaviour: NatBehaviour) -> None:
        self._drops_fragments = behaviour.fragments is Fragments.DROP
        rate = behaviour.udp_rate_mbit
        self._policers = None if rate is None else {outward: Policer(rate) for outward in (True, False)}

    def lets_through(self, packet: Packet, now: float, *, outward: bool) -> bool:
        """Tell whether a packet passes that has a mapping and is let in by the filter."""
        if packet.protocol != "udp":  # a segment of TCP is never longer than a frame
            return True
        if not self._drops_fragments and self._policers is None:
            return True
        size_bytes = len(packet.payload) + _HEADERS_BYTES[":" in packet.destination.address]
        if self._drops_fragments and size_bytes > FULL_MTU_BYTES:
            return False
        return self._policers is None or self._policers[outward].passes(size_bytes, now)
