"""A learning switch for layer 2 networks: who has a MAC address (IEEE 802.1D, section 7), and who may not say so.

A frame's source is whatever its sender writes, so learning alone lets one member take another's frames and fill the
table. Here an address stays with who had it first until it has been silent for five minutes, a member has so many at
most, and an address that a certificate gives to somebody is his in ARP (RFC 826), neighbour discovery (RFC 4861) and
IP:

| frame of a member | |
|---|---|
| source is a group address, or our own | dropped |
| source is another's, and not aged | dropped |
| source is new, and the member has 128 | passes, is not learned: frames for it go to all |
| its IP, ARP or neighbour discovery bears another member's certified address as the sender's | dropped |
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from overlays.refmesh.core import headers

AGEING_S = 300.0
MAX_ADDRESSES, MAX_OF_ONE = 8192, 128
HEADER_LEN = 14
_IPV4, _ARP, _IPV6, _VLAN = b"\x08\x00", b"\x08\x06", b"\x86\xdd", (b"\x81\x00", b"\x88\xa8")
_NEIGHBOUR_ADVERTISEMENT = 136

Member = TypeVar("Member", bound=Hashable)


class Switch(Generic[Member]):
    """Learns from what comes from members; says where a frame goes."""

    def __init__(self, owner: Callable[[bytes], object]) -> None:
        """`owner`: the member whose certificate has a packed IP address, None for no member."""
        self._owner = owner
        self._table: dict[bytes, tuple[Member, float]] = {}
        self._count: dict[Member, int] = {}
        self._own: dict[bytes, float] = {}

    def learn(self, frame: bytes, member: Member, now: float) -> bool:
        """Note the sender of a frame that came from a member; False for what is no frame, or not the member's."""
        source = frame[6:12]
        if len(frame) < HEADER_LEN or source[0] & 1 or now < self._own.get(source, 0.0):
            return False
        if any(self._owner(address) not in (None, member) for address in senders(frame)):
            return False
        holder, until_s = self._table.get(source, (None, 0.0))
        if holder is not None and holder is not member and now < until_s:
            return False
        if holder is not None:
            self._drop(source)
        count = self._count.get(member, 0)
        if count < MAX_OF_ONE and (len(self._table) < MAX_ADDRESSES or self._age(now)):
            # A dict keeps the order of insertion, so the longest silent address is the first.
            self._table[source], self._count[member] = (member, now + AGEING_S), count + 1
        return True

    def learn_own(self, frame: bytes, now: float) -> None:
        """Note the sender of a frame of our own host, or of who is behind it."""
        source = bytes(frame[6:12])
        if len(self._own) >= MAX_OF_ONE and source not in self._own:
            self._own.clear()
        self._own[source] = now + AGEING_S

    def find(self, frame: bytes, now: float) -> Member | None:
        """Return the one member for a frame; None: all of them, as for broadcast, multicast and unknown addresses."""
        destination = frame[:6]
        if destination[0] & 1:
            return None
        member, until_s = self._table.get(destination, (None, 0.0))
        if member is not None and until_s <= now:
            self._drop(destination)
            return None
        return member

    def forget(self, member: Member) -> None:
        """Note that the member is gone."""
        if self._count.pop(member, None):
            self._table = {source: entry for source, entry in self._table.items() if entry[0] is not member}

    def _age(self, now: float) -> bool:
        source = next(iter(self._table))
        if self._table[source][1] > now:
            return False
        self._drop(source)
        return True

    def _drop(self, source: bytes) -> None:
        member, _ = self._table.pop(source)
        self._count[member] -= 1


def senders(frame: bytes) -> list[bytes]:
    """Return the IP addresses, packed, that a frame says it is from."""
    kind, start = frame[12:14], HEADER_LEN
    while kind in _VLAN:  # however many: the kernel takes off priority tags (802.1Q, VLAN 0) one after the other
        kind, start = frame[start + 2 : start + 4], start + 4
    body = frame[start:]
    if kind == _IPV4 and len(body) >= 20:
        return [body[12:16]]
    if kind == _ARP and len(body) >= 28:
        return [body[14:18]]
    if kind == _IPV6 and len(body) >= 40:
        found = [body[8:24]]
        # Hosts read neighbour discovery behind extension headers (RFC 7113), but not in fragments (RFC 6980).
        _, protocol, at = headers.transport(body, len(body)) or (6, 0, 0)
        if protocol == headers.ICMP[6] and len(body) >= at + 24 and body[at] == _NEIGHBOUR_ADVERTISEMENT:
            found.append(body[at + 8 : at + 24])
        return found
    return []
