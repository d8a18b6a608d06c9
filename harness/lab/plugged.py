"""Where the nodes of a Mininet class are plugged in, as the kernel has it once the class is built.

Interfaces of a topology file have names that tell what they are; those of a class are its author's, and what his own
`config` did to them, nobody else knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from harness.errors import LabError
from harness.lab.mininet_topo import islands_of
from harness.lab.neighbours import Attached
from harness.lab.node import LabNode
from harness.model.family import Address
from harness.model.topology import Topology


@dataclass(frozen=True)
class Plugged:
    """A node's interface: its addresses but for link-local ones, and the port of the sandbox that faces it."""

    interface: str
    index: int
    mac: bytes
    addresses: tuple[Address, ...]
    port: str


def plugged_in(node: LabNode) -> list[Plugged]:
    """Return the interfaces of a node that have a cable, in the order of its ports."""
    links = {link.get_attr("IFLA_IFNAME"): link for link in node.netlink.get_links()}
    addresses: dict[int, list[Address]] = {}
    for found in node.netlink.get_addr():
        address = ip_address(found.get_attr("IFA_ADDRESS"))
        if not address.is_link_local:
            addresses.setdefault(int(found["index"]), []).append(address)
    ends = [one for one in node.intfList() if one.link is not None and str(one.name) in links]
    return [_plugged(one, links[str(one.name)], addresses) for one in ends]


def require_interfaces(nodes: Mapping[str, LabNode]) -> None:
    """Refuse interfaces that a class has named in its own `config`, and that are not there.

    Raises:
        LabError: one is not.
    """
    for name, node in nodes.items():
        there = {link.get_attr("IFLA_IFNAME") for link in node.netlink.get_links()}
        absent = [interface for interface in node.intfNames() if interface not in there]
        if absent:
            raise LabError(
                f"node {name}: its class says that it has the interface {absent[0]}, but there is none: what should "
                "make it has failed, or this machine lacks the program or the kernel module"
            )


def _plugged(end: Any, link: Any, addresses: Mapping[int, Sequence[Address]]) -> Plugged:
    index = int(link["index"])
    mac = bytes.fromhex(link.get_attr("IFLA_ADDRESS").replace(":", ""))
    other = end.link.intf2 if end.link.intf1 is end else end.link.intf1
    return Plugged(str(end.name), index, mac, tuple(addresses.get(index, ())), str(other.name))


def attachments_found(topology: Topology, plugged: Mapping[str, Sequence[Plugged]]) -> dict[str, list[str]]:
    """Return, by node, the interface of each of its attachments in the topology: the one with its first address. Pure.

    Raises:
        LabError: no interface has that address; the class's own `config` took it away.
    """
    return {
        name: [_with_address(name, plugged[name], attachment.addresses[0]) for attachment in attached]
        for name, attached in topology.attachments().items()
    }


def _with_address(name: str, plugged: Sequence[Plugged], address: Address) -> str:
    for one in plugged:
        if address in one.addresses:
            return one.interface
    shown = ", ".join(str(found) for one in plugged for found in one.addresses) or "none"
    raise LabError(f"node {name}: once its class has configured it, it has {shown}, and not {address} as its Topo says")


def segments_found(net: Any, plugged: Mapping[str, Sequence[Plugged]]) -> list[list[Attached]]:
    """Return who is on each segment of joined switches, with hardware addresses and addresses."""
    islands = islands_of(net)
    found: dict[str, list[Attached]] = {}
    for name, ends in plugged.items():
        for one in ends:
            segment = found.setdefault(islands[one.port][0], [])
            segment.append(Attached(name, one.index, one.mac, one.addresses))
    return list(found.values())


def ports_watched(net: Any, topology: Topology, plugged: Mapping[str, Sequence[Plugged]]) -> dict[str, list[str]]:
    """Return, by segment, the ports at which a packet of the hosts on it is seen.

    Those of all segments on which these hosts have an interface: one with several counts as being where its first
    address is, whichever cable its packets take.
    """
    islands = islands_of(net)
    ports: dict[str, dict[str, None]] = {}
    for name, host in topology.hosts.items():
        for one in plugged[name]:
            ports.setdefault(host.on, {}).update(dict.fromkeys(islands[one.port]))
    return {segment: list(names) for segment, names in ports.items()}
