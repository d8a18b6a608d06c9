"""Between whom refmesh punches: wherever a NAT is at one of the two ends, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.nat import Mapping, NatBehaviour, PortAllocation
from overlays.refmesh.core import holes
from overlays.refmesh.core.punching import START_AFTER_S
from overlays.refmesh.simulation.world import World

FIREWALL = NatBehaviour(mapping=Mapping.NONE)
SEQUENTIAL = NatBehaviour(mapping=Mapping.APDM, port_allocation=PortAllocation.SEQUENTIAL)
SEEDS = range(4)
"""Which of the two keys is the lower one, and so who asks, depends on the seed; among these both happen."""


@pytest.fixture
def punches(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the bodies of all PUNCHes that are sent."""
    sent: list[dict[str, Any]] = []
    real = holes.frame

    def frame(number: int, body: dict[str, Any]) -> bytes:
        sent.append(body)
        return real(number, body)

    monkeypatch.setattr(holes, "frame", frame)
    return sent


@pytest.mark.parametrize("mode", ["mesh", "direct"])
@pytest.mark.parametrize("nat", [None, FIREWALL], ids=["public", "firewall"])
def test_untranslated_nodes_never_punch(nat: NatBehaviour | None, mode: str, punches: list[dict[str, Any]]) -> None:
    """Not even when the direct way is closed for long: it is direct by plain checks as soon as it opens."""
    for seed in SEEDS:
        world = World({"a": nat, "b": nat}, mode=mode, seed=seed)
        world.cut_between.update({"45.0.0.1", "45.0.1.1"})
        world.start_all()
        world.run(5 * START_AFTER_S)
        assert "direct" not in world.paths()
        world.cut_between.clear()
        assert world.run(10.0, lambda world=world: set(world.paths()) == {"direct"}), f"seed {seed}"  # type: ignore[misc]
        assert not punches, f"seed {seed}"
        assert [node.puncher._next_local for node in world.nodes.values()] == [1, 1], "other sockets were opened"


@pytest.mark.parametrize("translated", ["a", "b"])
def test_one_translated_end_is_enough_to_punch(translated: str, punches: list[dict[str, Any]]) -> None:
    """The other is a public host behind a firewall, which no plain check gets through."""
    lower = set()
    for seed in SEEDS:
        punches.clear()
        world = World({name: SEQUENTIAL if name == translated else FIREWALL for name in "ab"}, seed=seed)
        world.start_all(apart_s=0.5)
        assert world.run(15.0, lambda world=world: set(world.paths()) == {"direct"}), f"seed {seed}"  # type: ignore[misc]
        assert {body["ask"] for body in punches} == {True, False}, f"seed {seed}"
        lower.add(min(world.nodes, key=lambda name, world=world: world.nodes[name].tunnel.static.public))  # type: ignore[misc]
    assert lower == {"a", "b"}
