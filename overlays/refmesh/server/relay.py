"""The relay: passes on what it cannot read, for members from their own addresses to members at theirs."""

from __future__ import annotations

from overlays.refmesh.server.outlet import Outlet
from overlays.refmesh.server.registry import Registry
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.control import Endpoint


class Relay:
    """The relay of one server."""

    def __init__(self, registry: Registry, outlet: Outlet, *, enabled: bool) -> None:
        """Take `enabled`: whether it passes on anything."""
        self._registry, self._outlet, self._enabled = registry, outlet, enabled

    def target(self, source: Endpoint, number: int) -> tuple[int, Endpoint] | None:
        """For a relay header from `source`: the number to put in, and where to send it. None: not to be relayed."""
        sender, target = self._registry.by_endpoint.get(source), self._registry.by_number.get(number)
        if not self._enabled or sender is None or target is None or target.endpoint is None:
            return None
        if not self._registry.holds(sender, source) or not self._registry.holds(target, target.endpoint):
            return None
        if target.greeted and not target.online:
            return None  # it has been silent for long: its address may be another's by now
        return sender.number, target.endpoint

    def receive(self, datagram: bytes, source: Endpoint) -> None:
        """Take one message of type 6."""
        if len(datagram) < messages.RELAY_HEAD.size:
            return
        target = self.target(source, messages.RELAY_HEAD.unpack_from(datagram)[1])
        if target is not None:
            number, endpoint = target
            self.count(source, len(datagram))
            head = messages.RELAY_HEAD.pack(messages.RELAY, number)
            self._outlet.datagrams.append((head + datagram[messages.RELAY_HEAD.size :], endpoint))

    def count(self, source: Endpoint, octets: int) -> None:
        """Count what a member had relayed, headers included."""
        self._registry.by_endpoint[source].relayed_bytes += octets
