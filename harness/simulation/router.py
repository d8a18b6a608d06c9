"""A router of the simulated Internet: IPv4 translated or filtered, IPv6 filtered, ports mapped on request. No I/O."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.nat import NatBehaviour
from harness.model.nat_ipv6 import as_seen_in_ipv6
from harness.nat.packet import Endpoint, Packet
from harness.nat.ports import RouterPorts, port_blocks
from harness.nat.simulated import SimulatedNat
from harness.simulation.portmap import PMP_PORT, Lease, answer


@dataclass
class _Forward:
    """A mapping that an inside host asked for; `expires` in seconds of the world."""

    internal: Endpoint
    external: Endpoint
    expires: float


class SimulatedRouter:
    """What a behaviour says, in both IP versions."""

    def __init__(
        self,
        behaviour: NatBehaviour,
        *,
        addresses: Sequence[str],
        inside: str,
        network: str,
        public: bool,
        rng: random.Random,
    ) -> None:
        """Make a router with empty tables.

        Args:
            addresses: its outside IPv4 addresses, its own first.
            inside: its inside IPv4 address, which is where it is asked for ports.
            network: its inside IPv4 prefix; who is in it gets a port block, where ports are allocated so.
            public: whether the outside addresses are public. One behind another NAT refuses to map ports, as miniupnpd
                does.
        """
        self.behaviour = behaviour
        self.inside = inside
        self._network, self._rng = network, rng
        seen = as_seen_in_ipv6(behaviour)
        self.ipv6 = SimulatedNat(seen, addresses=(), rng=rng) if seen is not None else None
        self._public = public
        self.readdress(addresses)

    def readdress(self, addresses: Sequence[str]) -> None:
        """Forget all that was mapped, and use these outside addresses from now on."""
        self.addresses = tuple(addresses)
        ports = RouterPorts("wan", self.addresses, ("lan",), (self._network,))
        blocks = port_blocks(self.behaviour, ports)
        self.ipv4 = SimulatedNat(
            self.behaviour, addresses=addresses, rng=self._rng, blocks=blocks, leased=self._leased_to
        )
        self._forwards: dict[int, _Forward] = {}
        self._through_forward: dict[tuple[Endpoint, Endpoint], _Forward] = {}

    def reboot(self) -> None:
        """Forget all mappings, sessions and forwarded ports."""
        self.ipv4.reboot()
        if self.ipv6 is not None:
            self.ipv6.reboot()
        self._forwards.clear()
        self._through_forward.clear()

    def outbound(self, packet: Packet, now: float) -> Packet | None:
        """Return what becomes of a packet from inside; one for a host inside has been hairpinned."""
        if ":" in packet.destination.address:
            return self.ipv6.outbound(packet, now) if self.ipv6 is not None else None
        through = self._through_forward
        forward = through.get((packet.source, packet.destination)) if through else None
        if forward is not None and forward.expires > now:
            return packet.sent_by(forward.external)
        return self.ipv4.outbound(packet, now)

    def inbound(self, packet: Packet, now: float) -> Packet | None:
        """Return what becomes of a packet from outside."""
        if ":" in packet.destination.address:
            return self.ipv6.inbound(packet, now) if self.ipv6 is not None else None
        forward = self._forwards.get(packet.destination.port) if self._forwards else None
        if forward is not None and forward.expires > now and forward.external == packet.destination:
            self._through_forward[forward.internal, packet.source] = forward
            return packet.sent_to(forward.internal)
        return self.ipv4.inbound(packet, now)

    def asked(self, packet: Packet, now: float) -> list[bytes]:
        """Return the answers to a packet for the router itself: PCP (RFC 6887) and NAT-PMP (RFC 6886)."""
        if packet.destination.port != PMP_PORT or not self.behaviour.port_mapping:
            return []
        return answer(packet.payload, packet.source, self, now)

    # What `harness.simulation.portmap` asks of a router.

    @property
    def protocols(self) -> frozenset[str]:
        """The protocols by which it may be asked for ports."""
        return frozenset(self.behaviour.port_mapping)

    @property
    def external(self) -> str:
        """The address of the ports that it maps."""
        return self.addresses[0]

    def lease(self, internal: Endpoint, wanted: int, lifetime_s: float, now: float) -> Lease | None:
        """Map a port for an inside endpoint; None: refused.

        Args:
            wanted: the external port that is asked for; 0 for any.
            lifetime_s: how long; 0 takes the mapping back.

        A port that the NAT's table has for another endpoint is passed over: what comes for that one would go to this.
        """
        if not self._public:
            return None
        self._through_forward = {ends: each for ends, each in self._through_forward.items() if each.expires > now}
        for port, forward in list(self._forwards.items()):
            if forward.internal == internal and not lifetime_s:
                del self._forwards[port]
                return Lease(port, 0.0)
        for port in dict.fromkeys((wanted or internal.port, internal.port, *range(40000, 40016))):
            external = Endpoint(self.external, port)
            if {self._leased_to(external, now), self.ipv4.holder(external, now)} <= {None, internal}:
                self._forwards[port] = _Forward(internal, external, now + lifetime_s)
                return Lease(port, lifetime_s)
        return None

    def _leased_to(self, external: Endpoint, now: float) -> Endpoint | None:
        forward = self._forwards.get(external.port)
        if forward is None or forward.expires <= now or forward.external != external:
            return None
        return forward.internal
