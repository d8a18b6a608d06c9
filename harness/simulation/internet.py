"""An Internet in memory: hosts behind stacks of routers, shared or not, in IPv4 and IPv6; delay, jitter, loss.

    internet = Internet(random.Random(1))
    carrier = internet.router(parse_nat("cgn"))
    home = internet.router(parse_nat("home-router"), carrier, Link(0.01))
    host = internet.host(home, receive=lambda datagram, source, port: ...)
    host.send(datagram, 40000, ("9.9.0.9", 7447))
    internet.events.run(5.0)

A packet goes from network to network as it would: up through a router while no host in the network has its address, and
down into the router that has its address. A router looks at a packet when the packet gets there, not when it was sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from harness.model.nat import NatBehaviour
from harness.nat.packet import Endpoint, Packet
from harness.nat.simulated import SimulatedNat
from harness.simulation.addresses import (
    PUBLIC,
    AddressesUsedUp,
    carrier_networks,
    home_networks,
    ipv6_addresses,
    public_addresses,
)
from harness.simulation.events import Events
from harness.simulation.links import IDEAL, Link, Links
from harness.simulation.router import SimulatedRouter

__all__ = ["IDEAL", "Host", "Internet", "Link", "Packet", "Router", "SimulatedNat"]

PlainEndpoint = tuple[str, int]
Receive = Callable[[bytes, PlainEndpoint, int], None]


@dataclass
class _Network:
    """Who has an address here; `router` leads out, None for the Internet itself."""

    router: Router | None = None
    devices: dict[str, Host | Router] = field(default_factory=dict)


class Router:
    """A router with its place."""

    def __init__(
        self, tables: SimulatedRouter, outside: _Network, link: Link, prefix: str, hosts: Iterator[str]
    ) -> None:
        self.tables, self.outside, self.link, self.prefix, self.hosts = tables, outside, link, prefix, hosts
        self.inside = _Network(self)

    @property
    def ipv6(self) -> bool:
        """Whether hosts behind it have IPv6."""
        above = self.outside.router
        return self.tables.ipv6 is not None and (above is None or above.ipv6)


class Host:
    """A host: its addresses, and the socket layer of whoever lives there."""

    def __init__(self, internet: Internet, network: _Network, link: Link, receive: Receive) -> None:
        self.internet, self.network, self.link, self.receive = internet, network, link, receive
        self.address = ""
        """Its IPv4 address; empty where it has none."""
        self.address6 = ""
        """Its IPv6 address; empty where it has none."""
        self.reachable = True
        """False: nothing goes out or comes in (asleep, unplugged)."""
        self.sent = self.sent_bytes = self.received = self.received_bytes = 0

    @property
    def router(self) -> Router | None:
        """The nearest router."""
        return self.network.router

    def send(self, datagram: bytes, port: int, destination: PlainEndpoint) -> None:
        """Send a UDP datagram from a local port."""
        own = self.address6 if ":" in destination[0] else self.address
        if own and self.reachable:
            self.sent += 1
            self.sent_bytes += len(datagram)
            self.internet.send(self, Packet(Endpoint(own, port), Endpoint(*destination), datagram))


class Internet:
    """Networks, routers and hosts, and one heap of events."""

    def __init__(self, rng: random.Random, *, core: Link = IDEAL) -> None:
        """`core` is crossed by each packet that reaches the Internet itself, in addition to the links on its way."""
        self.rng, self.core = rng, core
        self.events = Events()
        self.core_of: dict[str, Link] = {}
        """Another core for packets from or to these public addresses."""
        self.drops: Callable[[Packet], bool] | None = None
        """Asked of each packet that reaches the Internet itself: whether it gets no further."""
        self.on_delivery: Callable[[Host, Host, Packet], None] | None = None
        """Told of every datagram that arrives: who sent it, who got it, as he gets it."""
        self._internet = _Network()
        self._links = Links(rng, self.events)
        self._public, self._public6 = public_addresses(), ipv6_addresses()
        self._homes, self._carriers = home_networks(), carrier_networks()

    def router(
        self,
        behaviour: NatBehaviour,
        above: Router | None = None,
        link: Link = IDEAL,
        *,
        carrier: bool = False,
        address: str | None = None,
    ) -> Router:
        """Put a router behind another, or on the Internet; `carrier`: its inside is a carrier's (RFC 6598)."""
        outside = above.inside if above is not None else self._internet
        # One that translates nothing is a bridge between two parts of a network, and has no address itself.
        count = behaviour.pool_size if behaviour.translates else 0
        own = [address] if address is not None and count else []
        own += [self._address_in(outside) for _ in range(count - len(own))]
        prefix, inside, hosts = next(self._carriers if carrier else self._homes)
        while any(prefix == each.prefix for each in _up(outside)):
            prefix, inside, hosts = next(self._carriers if carrier else self._homes)
        tables = SimulatedRouter(
            behaviour,
            addresses=own,
            inside=inside,
            network=prefix,
            public=_is_public(outside),
            rng=self.rng,
        )
        router = Router(tables, outside, link, prefix, hosts)
        for each in own:
            self._enter(outside, each, router)
        return router

    def host(
        self,
        router: Router | None,
        receive: Receive,
        link: Link = IDEAL,
        *,
        ipv6: bool = False,
        address: str | None = None,
    ) -> Host:
        """Put a host behind a router, or on the Internet; `ipv6`: it has IPv6 where all its routers forward it."""
        network = router.inside if router is not None else self._internet
        host = Host(self, network, link, receive)
        self.move(host, router, ipv6=ipv6, address=address)
        return host

    def remove(self, host: Host) -> None:
        """Take a host off the network; it keeps its address, where nothing answers."""
        for old in (host.address, host.address6):
            self._leave(host.network, old)

    def remove_idle(self, router: Router | None) -> None:
        """Take a router off the network behind which nobody is, and those above it for which that holds then."""
        while router is not None and not router.inside.devices:
            for own in router.tables.addresses:
                self._leave(router.outside, own)
            router = router.outside.router

    def move(self, host: Host, router: Router | None, *, ipv6: bool = False, address: str | None = None) -> None:
        """Give a host a place and new addresses; those that it had lead nowhere."""
        self.remove(host)
        host.network = network = router.inside if router is not None else self._internet
        host.address = host.address6 = ""
        if all(each.tables.behaviour.ipv4 for each in _up(network)):
            host.address = address or self._address_in(network)
            self._enter(network, host.address, host)
        if ipv6 and (router is None or router.ipv6):
            host.address6 = next(self._public6)
            self._enter(network, host.address6, host)

    def readdress(self, router: Router, address: str | None = None) -> None:
        """Give a router another outside address; its tables are new."""
        for old in router.tables.addresses:
            self._leave(router.outside, old)
        own = [address] if address is not None else []
        own += [self._address_in(router.outside) for _ in range(len(router.tables.addresses) - len(own))]
        router.tables.readdress(own)
        for each in own:
            self._enter(router.outside, each, router)

    def send(self, host: Host, packet: Packet) -> None:
        """Carry a packet from a host, who knows its own address in that IP version."""
        if host.link is IDEAL:
            self._forward(host, packet, host.network)
        else:
            self._links.cross(host, packet, lambda: self._forward(host, packet, host.network))

    def lease(self, host: Host, port: int, wanted: int, lifetime_s: float) -> PlainEndpoint | None:
        """Ask the nearest router by UPnP IGD, which takes no packets here; None: it maps nothing."""
        router = host.router
        if router is None or "upnp-igd" not in router.tables.protocols:
            return None
        lease = router.tables.lease(Endpoint(host.address, port), wanted, lifetime_s, self.events.now)
        return (router.tables.external, lease.port) if lease is not None else None

    # Addresses

    def _address_in(self, network: _Network) -> str:
        while network.router is not None and not network.router.tables.behaviour.translates:
            network = network.router.outside  # whoever is behind a router without NAT has an address of outside
        found = next(self._public if network.router is None else network.router.hosts, None)
        if found is None:
            raise AddressesUsedUp(network.router.prefix if network.router is not None else str(PUBLIC))
        return found

    def _enter(self, network: _Network, address: str, device: Host | Router) -> None:
        network.devices[address] = device
        router = network.router
        if router is not None and (":" in address or not router.tables.behaviour.translates):
            self._enter(router.outside, address, router)

    def _leave(self, network: _Network, address: str) -> None:
        network.devices.pop(address, None)
        if network.router is not None and network.router.outside.devices.get(address) is network.router:
            self._leave(network.router.outside, address)

    # Packets

    def _forward(self, sender: Host, packet: Packet, network: _Network) -> None:
        """Carry a packet on that is in a network, by whatever way it came in."""
        now, target = self.events.now, packet.destination.address
        device = network.devices.get(target)
        router = network.router
        if isinstance(device, Host):
            self._leg(packet, network, device, partial(self._deliver, sender, device, packet))
        elif device is not None:
            self._leg(packet, network, device, partial(self._into, sender, packet, device))
        elif router is not None and target == router.tables.inside:
            for answer in router.tables.asked(packet, now):
                self._forward(sender, Packet(packet.destination, packet.source, answer), network)
        elif router is not None:
            out = router.tables.outbound(packet, now)
            if out is None:
                return
            if out.destination != packet.destination:
                self._forward(sender, out, network)  # hairpinned
                return
            self._links.cross(router, out, partial(self._forward, sender, out, router.outside))

    def _into(self, sender: Host, packet: Packet, router: Router) -> None:
        inside = router.tables.inbound(packet, self.events.now)
        if inside is not None:
            self._forward(sender, inside, router.inside)

    def _deliver(self, sender: Host, host: Host, packet: Packet) -> None:
        if host.reachable:
            host.received += 1
            host.received_bytes += len(packet.payload)
            if self.on_delivery is not None:
                self.on_delivery(sender, host, packet)
            host.receive(packet.payload, (packet.source.address, packet.source.port), packet.destination.port)

    def _leg(self, packet: Packet, network: _Network, device: Host | Router, then: Callable[[], None]) -> None:
        """Cross the Internet, where the packet is there, and a device's link, in one event."""
        if network.router is not None:
            self._links.cross(device, packet, then, inwards=True)
            return
        if self.drops is not None and self.drops(packet):
            return
        core = self.core
        if self.core_of:
            source, destination = packet.source.address, packet.destination.address
            core = self.core_of.get(destination) or self.core_of.get(source) or core
        self._links.cross(device, packet, then, core, inwards=True)


def _up(network: _Network) -> Iterator[Router]:
    while network.router is not None:
        yield network.router
        network = network.router.outside


def _is_public(network: _Network) -> bool:
    return all(not router.tables.behaviour.translates for router in _up(network))
