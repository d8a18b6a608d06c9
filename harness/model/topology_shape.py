"""What a topology is: segments, hosts, routers, who takes part. Whether it holds together is `topology`'s. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from pydantic import BaseModel, ConfigDict, Field

from harness.model.family import FAMILIES, Address, Family, family_of
from harness.model.link import LinkProfile
from harness.model.nat64 import synthesised
from harness.model.nodes import Attachment, Host, MininetClass, NodeName, Router, RouterName, Segment, families_of


class TopologyShape(BaseModel):
    """The fields of a resolved topology, and what follows from them.

    `server` is the public node of overlays that need one, `helpers` are further ones for overlays that need several.
    Either ours (`segments`, `routers`) or a Mininet class; then `hosts` holds what its `Topo` gives them, on the
    segment that stands for its switches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    segments: dict[NodeName, Segment] = {}
    hosts: dict[str, Host] = Field(min_length=1)
    routers: dict[RouterName, Router] = {}
    members: tuple[str, ...] = Field(min_length=1)
    server: str | None = None
    helpers: tuple[str, ...] = ()
    mininet: MininetClass | None = None

    def attachments(self) -> dict[str, list[Attachment]]:
        """Return every node's attachments, in the order of its interfaces: a router's outside is the first."""
        attached: dict[str, list[Attachment]] = {name: [host] for name, host in self.hosts.items()}
        attached |= {name: [router.outside, *router.inside] for name, router in self.routers.items()}
        return attached

    def impaired_links(self) -> list[LinkProfile]:
        """Return the links that need a backend."""
        return [
            attachment.link
            for attached in self.attachments().values()
            for attachment in attached
            if attachment.link.impaired
        ]

    def address(self, node: str) -> IPv4Address:
        """Return a node's first IPv4 underlay address; of a router the outside one.

        Raises:
            ValueError: it has none; where that may be, ask for `families` first.
        """
        addresses = self.attachments()[node][0].ipv4
        if not addresses:
            raise ValueError(f"{node} has no IPv4 address")
        return addresses[0]

    def address_in(self, node: str, family: Family) -> Address:
        """Return a node's first underlay address of an IP version. Raises StopIteration where it has none."""
        return next(iter(self.attachments()[node][0].of(family)))

    def families(self, host: str) -> tuple[Family, ...]:
        """Return the IP versions in which a host gets through to the Internet, IPv4 first: it has an address of that
        version, and every router in front of it carries it.
        """
        return tuple(
            family
            for family in FAMILIES
            if family in families_of(self.hosts[host])
            and all(self.routers[name].carries(family, on) for name, on in self.ways_in(host))
        )

    def common_families(self, hosts: tuple[str, ...]) -> tuple[Family, ...]:
        """Return the IP versions that all of these hosts share, IPv4 first."""
        return tuple(family for family in FAMILIES if all(family in self.families(host) for host in hosts))

    def translator_of(self, host: str) -> str | None:
        """Return the router by which a host with IPv6 alone reaches IPv4: the first in front of it, if that is one."""
        via = self.hosts[host].via
        if via is None or not self.routers[via].nat.nat64 or "ipv4" in self.families(host):
            return None
        return via if "ipv6" in self.families(host) else None

    def address_seen_by(self, viewer: str, node: str) -> Address:
        """Return the address by which a host reaches a public node: in IPv4 where both have it, or as DNS64 makes it.

        Raises:
            ValueError: it does not reach it.
        """
        common = self.common_families((viewer, node))
        if common:
            return self.address_in(node, common[0])
        if self.translator_of(viewer) is None:
            raise ValueError(f"{viewer} and {node} have no IP version in common")
        return synthesised(self.address(node))

    def prefix_length(self, attachment: Attachment, address: Address) -> int:
        """Return the prefix length of the address's subnet."""
        subnet = self.segments[attachment.on].of(family_of(address))
        assert subnet is not None  # held by the rules
        return subnet.prefixlen

    def routers_of(self, host: str) -> list[str]:
        """Return the routers in front of a host, nearest first; empty for a public one."""
        return [name for name, _ in self.ways_in(host)]

    def ways_in(self, host: str) -> list[tuple[str, str]]:
        """Return the routers in front of a host, nearest first, each with the inside segment on which it is met."""
        chain: list[tuple[str, str]] = []
        upstream, on = self.hosts[host].via, self.hosts[host].on
        while upstream is not None and upstream not in dict(chain):
            chain.append((upstream, on))
            outside = self.routers[upstream].outside
            upstream, on = outside.via, outside.on
        return chain
