"""What a node learns of itself comes to its servers, at whatever moment of a greeting it learns it."""

from __future__ import annotations

import pytest
from refmesh_pair import pair

from overlays.refmesh.core.check import PORT_MAPPED

# In units of the way to the server and back, since the start: before the HELLO, while it is under way, and answered.
MOMENTS = [0.5, 1.01, 1.25, 1.5, 1.75, 1.99, 2.5]


@pytest.mark.parametrize("round_trips", MOMENTS)
def test_what_changes_while_the_first_hello_is_under_way_is_told_after_it(round_trips: float) -> None:
    """A router's answer that came then was never told: with short ways, once in some fifty starts."""
    world = pair("port-restricted", "port-restricted", delay_s=0.05)
    world.start_all()
    world.run(round_trips * 0.1)
    servers = world.nodes["b"].servers
    servers.candidates = [*servers.candidates, (PORT_MAPPED, "45.0.0.99", 50000)]
    servers.greet(world.internet.events.now)
    world.run(2.0)
    (b,) = world.nodes["a"].peers.by_key.values()
    assert b.finder is not None
    assert ("45.0.0.99", 50000) in {check.path.endpoint for check in b.finder.checks.values()}
