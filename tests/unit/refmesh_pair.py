"""Two refmesh members in a simulated world."""

from __future__ import annotations

from overlays.refmesh.simulation.world import World


def pair(nat_a: str, nat_b: str, **options: object) -> World:
    nats = {"a": None if nat_a == "none" else nat_a, "b": None if nat_b == "none" else nat_b}
    return World(nats, **options)  # type: ignore[arg-type]
