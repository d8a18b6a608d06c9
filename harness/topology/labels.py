"""What lies in front of a member, in words: its NATs and its links, nearest first. Pure."""

from __future__ import annotations

from harness.model.nat import parse_nat
from harness.model.topology import Topology

_IDEAL = "ideal"
_PLAIN = tuple(parse_nat({"alias": "none", "ipv6_filtering": filtering}) for filtering in (None, "none"))


def nat_label(topology: Topology, member: str) -> str | None:
    """Return the labels of the routers in front of a member, nearest first, joined by `+`; None for a public node."""
    return "+".join(topology.routers[name].nat.label for name in telling_routers(topology, member)) or None


def telling_routers(topology: Topology, member: str) -> list[str]:
    """Return the routers in front of a member, nearest first, that make a difference to it.

    One that neither translates nor filters, a region's say, is left out where there is another one.
    """
    names = topology.routers_of(member)
    return [name for name in names if topology.routers[name].nat not in _PLAIN] or names[:1]


def link_label(topology: Topology, member: str) -> str:
    """Return the labels of the links from a member to the outermost segment, nearest first; `ideal` where all are."""
    host = topology.hosts[member]
    links = [host.link, *(topology.routers[name].outside.link for name in topology.routers_of(member))]
    return "+".join(link.label for link in links if link.label != _IDEAL) or _IDEAL
