"""How soon refmesh connects: first packet and direct path after both nodes are ready, by round trip.

    python -m bench.refmesh_connect [--runs 50] [--far] [--json]
    python -m bench.refmesh_connect --lab [--runs 5] [--json]

In memory, behind punchable NATs, the server half way, so that a relayed round trip is as long as a direct one. Targets:
first packet within one RTT and 300 ms (a handshake and the packet take one and a half), direct path within five RTT and
300 ms. `--far`: the server as far from each node as the peer is; one relayed RTT, then, is two direct ones.
`--lab`: real daemons and the harness's own probe; a daemon is up, here too, once its server has answered.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from typing import Any

from bench.refmesh_connect_lab import SLACK_S, judged
from bench.refmesh_connect_lab import rows as rows_of_lab
from overlays.refmesh.simulation.world import World

RTT_MS = (20, 100, 300)
NATS = ("full-cone", "address-restricted", "port-restricted")


def connect(rtt_s: float, seed: int, *, far: bool) -> tuple[float, float]:
    """Seconds from both being ready to the first packet's arrival and to a direct path on both sides."""
    rng = random.Random(f"{seed}")
    world = World(
        {"a": rng.choice(NATS), "b": rng.choice(NATS)},
        seed=seed,
        delay_s=rtt_s / 2,
        server_delay_s=rtt_s / (2 if far else 4),
    )
    world.start("a")
    world.run(rng.random() * 2)
    world.start("b")
    assert world.run(20.0, lambda: all(node.ready for node in world.nodes.values()))
    ready_s = world.now
    src, dst = rng.sample("ab", 2)  # who has just come may be the one that speaks
    world.send(src, dst, b"first")
    assert world.run(20.0, lambda: bool(world.received[dst]))
    first_s = world.now - ready_s
    assert world.run(20.0, lambda: set(world.paths()) == {"direct"})
    return first_s, world.now - ready_s


def rows_of_memory(runs: int, *, far: bool) -> list[dict[str, Any]]:
    """Return a row for each round trip."""
    rows = []
    for rtt_ms in RTT_MS:
        rtt_s = rtt_ms / 1000
        times = [connect(rtt_s, seed, far=far) for seed in range(runs)]
        row: dict[str, Any] = {"rtt_ms": rtt_ms, "runs": runs}
        row |= judged("first_packet", [first for first, _ in times], (2 if far else 1) * rtt_s + SLACK_S)
        row |= judged("direct", [direct for _, direct in times], 5 * rtt_s + SLACK_S)
        rows.append(row)
    return rows


def main() -> None:
    """Run the command line; exit 1 when a run misses a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, help="of each round trip; default 50, 5 with --lab")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--far", action="store_true")
    where.add_argument("--lab", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = rows_of_lab(options.runs or 5) if options.lab else rows_of_memory(options.runs or 50, far=options.far)
    print(json.dumps(rows, indent=2) if options.json else "\n".join(map(str, rows)))
    sys.exit(any(row["first_packet_missed"] or row["direct_missed"] for row in rows))


if __name__ == "__main__":
    main()
