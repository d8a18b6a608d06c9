"""Many refmesh nodes that start at once in a simulated world: when all know each other, and what a pair costs.

    python -m bench.refmesh_crowd [--nodes 200] [--nat port-restricted] [--loss 0.02] [--json]

Nodes and server are those that run in production, with crypto that is cheap. Processors take no time there, so this
shows what the protocol sends and how its work grows, and `bench.refmesh_mesh` what a machine makes of it. Datagrams are
counted where they cross the Internet: a relayed one twice.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import Any

from overlays.refmesh.network import Site, make_network
from overlays.refmesh.simulation.crypto import CHEAP, cheap_public
from overlays.refmesh.simulation.world import UNIX_S, World

DELAY_S, JITTER_S, STEP_S, LIMIT_S, IDLE_S = 0.005, 0.001, 0.25, 120.0, 60.0


def measured(nodes: int, nat: str | None, loss: float) -> dict[str, Any]:
    """Return what became of it; a time is None when it took more than two minutes."""
    rng, names = random.Random(1), [f"n{i}" for i in range(nodes)]
    sites, until = [Site("s0", "9.9.0.9")], int(UNIX_S) + 10**6
    network = make_network(names, sites, rng=rng.randbytes, not_after=until, public=cheap_public)
    world = World(
        dict.fromkeys(names, nat), network=network, delay_s=DELAY_S, jitter_s=JITTER_S, loss=loss, suite=CHEAP
    )
    sent = 0

    def count(*_: object) -> bool:
        nonlocal sent
        sent += 1
        return False

    world.internet.drops = count
    pairs = nodes * (nodes - 1) // 2
    begun_s = time.process_time()
    world.start_all()
    known_s = _until(world, lambda: sum(len(node.peers.by_key) for node in world.nodes.values()) == 2 * pairs)
    direct_s = _until(world, lambda: _direct(world) == 2 * pairs)
    result = {
        "nodes": nodes,
        "pairs": pairs,
        "direct": _direct(world),
        "all_known_s": known_s,
        "all_direct_s": direct_s,
        "datagrams_a_pair": round(sent / pairs, 1),
        "cpu_ms_a_pair": round((time.process_time() - begun_s) / pairs * 1000, 2),
    }
    before = sent
    world.run(IDLE_S)
    return result | {"idle_datagrams_a_pair_and_minute": round((sent - before) / pairs * 60 / IDLE_S, 1)}


def _until(world: World, done: Any) -> float | None:
    while not done():
        if world.now >= LIMIT_S:
            return None
        world.run(STEP_S)
    return round(world.now, 2)


def _direct(world: World) -> int:
    peers = (peer for node in world.nodes.values() for peer in node.peers.by_key.values())
    return sum(peer.path is not None and peer.path.direct and peer.session.usable(world.now) for peer in peers)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--nat", help="an alias or behaviour in front of each node; without: none")
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measured(options.nodes, options.nat, options.loss)
    print(json.dumps(result, indent=2) if options.json else "\n".join(f"{k:<34} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
