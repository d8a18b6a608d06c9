"""What lies in front of a member, in words: its NATs and its links, nearest first. Pure."""

from __future__ import annotations

from harness.model.topology import Topology

_IDEAL = "ideal"


def nat_label(topology: Topology, member: str) -> str | None:
    """Return the labels of the routers in front of a member, nearest first, joined by `+`; None for a public node."""
    return "+".join(topology.routers[name].nat.label for name in topology.routers_of(member)) or None


def link_label(topology: Topology, member: str) -> str:
    """Return the labels of the links from a member to the outermost segment, nearest first; `ideal` where all are."""
    host = topology.hosts[member]
    links = [host.link, *(topology.routers[name].outside.link for name in topology.routers_of(member))]
    return "+".join(link.label for link in links if link.label != _IDEAL) or _IDEAL
