"""A node's addresses and routes, in the IP versions that the topology has for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from harness.lab.node import LabNode
from harness.lab.routes import routes_of
from harness.model.family import Address, family_of
from harness.model.topology import Topology
from harness.nat.ports import FULL_MTU_BYTES
from harness.topology.wiring import announced_mtus, interface_name, line_mtu_bytes

# An access link carries no ARP in life; here it does, and may lose it. A lost request then costs a moment, not the
# kernel's second, and the many tries outlast the longest round trip.
_NEIGHBOUR_DISCOVERY = {"retrans_time_ms": "100", "mcast_solicit": "50", "ucast_solicit": "50"}

# The topology says it all: no router is advertised, and no address is taken twice.
_IPV6 = {"accept_dad": "0", "accept_ra": "0", "disable_ipv6": "0"}


def configure(node: LabNode, topology: Topology, name: str) -> None:
    """Set addresses on all interfaces, then routes; IPv6 is off where the topology gives the node none.

    Raises:
        LabError: the kernel refused something.
    """
    attached = topology.attachments()[name]
    interfaces = [interface_name(name, number) for number in range(len(attached))]
    node.write_sysctls({"net.ipv4.ip_forward": "1" if name in topology.routers else "0", **NO_IPV6})
    if any(attachment.ipv6 for attachment in attached):
        # Off and on again: an interface that is up already would have a link-local address that is still being tried.
        node.write_sysctls(
            {
                f"net.ipv6.conf.{place.replace('.', '/')}.{key}": value
                for key, value in _IPV6.items()
                for place in (*interfaces, *_ALL)
            }
        )
    for interface, attachment in zip(interfaces, attached, strict=True):
        for address in attachment.addresses:
            node.intf(interface).setIP(f"{address}/{topology.prefix_length(attachment, address)}")
    _take_lines_mtus(node, topology, name)
    announced = announced_mtus(topology)
    for route in routes_of(topology, name):
        node.add_route(route.network, route.gateway, announced.get(ip_address(route.gateway)))
    _know_neighbours_lines(node, topology, name, announced)


def _take_lines_mtus(node: LabNode, topology: Topology, name: str) -> None:
    """Give interfaces on narrow lines their MTU; a router's outside gets its own with its rules."""
    for number, attachment in enumerate(topology.attachments()[name]):
        outside = number == 0 and name in topology.routers
        if not outside and (mtu_bytes := line_mtu_bytes(attachment)) < FULL_MTU_BYTES:
            node.check_output(["ip", "link", "set", interface_name(name, number), "mtu", str(mtu_bytes)])


def _know_neighbours_lines(node: LabNode, topology: Topology, name: str, announced: Mapping[Address, int]) -> None:
    """Give a node the MTU of each other on its segments whose line is narrower than the segment."""
    routes = [
        f"route replace {address} dev {interface_name(name, number)} mtu {mtu_bytes}"
        for number, attachment in enumerate(topology.attachments()[name])
        for others in topology.attachments().values()
        for other in others
        if other.on == attachment.on and other is not attachment
        for address, mtu_bytes in announced.items()
        if address in other.addresses and attachment.of(family_of(address))
    ]
    if routes:
        node.check_output(["ip", "-batch", "-"], stdin="\n".join(routes) + "\n")


def accept_ipv6_later(node: LabNode) -> None:
    """Let interfaces that come later have IPv6, as an overlay's own: a network without it says nothing about them.

    Raises:
        LabError: the kernel refused it.
    """
    node.write_sysctls({f"net.ipv6.conf.default.{key}": value for key, value in _IPV6.items()})


_ALL = ("all", "default")
NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": "1"}


def neighbour_sysctls(interfaces: Sequence[str], ipv6: bool) -> Mapping[str, str]:
    """Return settings by which a node asks for a neighbour's hardware address soon and often."""
    return {
        f"net.{version}.neigh.{interface.replace('.', '/')}.{key}": value
        for version in ("ipv4", *(["ipv6"] if ipv6 else []))
        for interface in interfaces
        for key, value in _NEIGHBOUR_DISCOVERY.items()
    }
