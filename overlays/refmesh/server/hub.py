"""The hub: ends its members' tunnels and forwards between them, packets by address, frames as a learning switch."""

from __future__ import annotations

from collections.abc import Sequence

from overlays.refmesh.core import packets
from overlays.refmesh.core.access import Openness
from overlays.refmesh.core.switch import Switch
from overlays.refmesh.server.outlet import Outlet
from overlays.refmesh.server.registry import Registration, Registry

LOOKS_PER_COPY = 20
"""Members that may be looked at for the price of a copy to one."""


class Hub:
    """A forwarder of decrypted packets."""

    def __init__(self, registry: Registry, outlet: Outlet, own_addresses: Sequence[str]) -> None:
        """`own_addresses`: overlay addresses whose packets go to the TUN device."""
        self._registry, self._outlet = registry, outlet
        self._own = {address.split("/")[0] for address in own_addresses}
        self._switch: Switch[Registration] = Switch(self._owner)
        self.openness = Openness()
        """Who may exchange frames by the rules in force; without any, nobody."""

    def forward_from(self, registration: Registration, payloads: Sequence[bytes], now: float) -> None:
        """Packets of a member, still padded; those with a source that is not its own are dropped.

        Members enforce the rules among themselves, at both ends. For our own host we are an end.
        """
        batch = [packet for packet in map(packets.trim, payloads) if self._owns(registration, packet)]
        for target_address, group in packets.by_destination(batch):
            if target_address not in self._own:
                self._forward(target_address, group, now)
            elif registration.access is not None:
                access = registration.access
                self._outlet.to_tun.extend(packet for packet in group if access.open or access.inbound(packet, now))

    def from_host(self, packet: bytes, now: float) -> None:
        """Return a packet of our own host for a member."""
        for target_address, group in packets.by_destination([packet]):
            target = self._registry.by_address.get(target_address)
            access = target.access if target is not None else None
            if access is not None and (access.open or access.outbound(packet, now)):
                self._forward(target_address, group, now)

    def _forward(self, target_address: str, group: list[bytes], now: float) -> None:
        target = self._registry.by_address.get(target_address)
        if target is not None and target.endpoint is not None:
            self._outlet.send_many(target, group, now)

    def switch(self, registration: Registration, frame: bytes, payload: bytes, now: float) -> None:
        """Pass on an Ethernet frame of a member, in the control frame that carried it.

        Only members between whom all is allowed exchange frames. Elsewhere both ends see to that; here the sender does
        not know who gets its frame, nor the receiver from whom one is. A frame that is for all, or whose target is not
        known, costs as much as there are members, so of those each has so many a second, also where rules let none of
        the copies be made: asking them takes a twentieth of making one.
        """
        if not self._switch.learn(frame, registration, now):
            return
        known = self._switch.find(frame, now)
        if known is None and registration.copies.available(now) < 1:
            return
        targets = [known] if known is not None else list(self._registry.by_key.values())
        copies = 0
        for target in targets:
            if target is not registration and target.hub and target.online and self._open(registration, target):
                self._outlet.send(target, payload, now)
                copies += 1
        if known is None:
            registration.copies.take(max(1, copies, len(targets) // LOOKS_PER_COPY))

    def forget(self, registration: Registration) -> None:
        """Note that the member is gone."""
        self._switch.forget(registration)

    def _open(self, one: Registration, other: Registration) -> bool:
        return self.openness.between(*((of.name, *of.groups) for of in (one.certificate, other.certificate)))

    def _owner(self, packed: bytes) -> object:
        address = packets.address_text(packed)
        return self if address in self._own else self._registry.by_address.get(address)

    def _owns(self, registration: Registration, packet: bytes) -> bool:
        source = packets.source(packet)
        return source is not None and self._registry.by_address.get(source) is registration
