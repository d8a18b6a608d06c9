"""What events that affect a router have in common."""

from __future__ import annotations

from harness.model.topology import Topology


def router_names(topology: Topology) -> tuple[str, ...]:
    """Return the routers of a topology; those of a Mininet class are unknown."""
    return tuple(topology.routers)
