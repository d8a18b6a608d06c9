"""What the events that befall a router have in common."""

from __future__ import annotations

from harness.model.topology import Topology


def router_names(topology: Topology) -> tuple[str, ...]:
    """The routers of a topology; those of a Mininet class are nobody's to know."""
    return tuple(topology.routers)
