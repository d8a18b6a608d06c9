"""refmesh's engines over every pair of simulated NATs, with loss and reordering, against what the oracle says.

    python -m bench.refmesh_punch [--runs 100] [--only direct|either] [--part 1/1] [--loss 0.02] [--json]

In memory, without privileges. NATs: mapping x filtering x port allocation, firewalls, a public host, and some equipment
with names of its own. Exit 1 when a pair that the oracle calls certain is direct in fewer than 99 % of the runs, when
one that it calls impossible is direct at all, or when birthday probing is three standard errors below its formula.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
import time
from typing import Any, NamedTuple

from harness.model.nat import Filtering, Mapping, NatBehaviour, PortAllocation, parse_nat
from harness.nat.oracle import expected_path
from overlays.refmesh.core.punching import BIRTHDAY_SOCKETS, BIRTHDAY_TRIES, ROUNDS
from overlays.refmesh.simulation.world import World

DEADLINE_S = 15.0
ALLOCATIONS = (PortAllocation.PRESERVING, PortAllocation.RANDOM, PortAllocation.SEQUENTIAL)
NAMED = ("poisoning-router", "rejecting-router", "home-router", "short-lived")


class Pair(NamedTuple):
    """Two sides, and what came of them."""

    a: NatBehaviour | None
    b: NatBehaviour | None
    verdict: str
    probability: float
    runs: int
    direct: int

    @property
    def wrong(self) -> bool:
        """Whether the runs contradict the oracle."""
        if self.verdict == "direct":
            return self.direct < 0.99 * self.runs
        if self.verdict == "either":
            error = math.sqrt(max(self.probability * (1 - self.probability), 1 / self.runs) / self.runs)
            return self.direct / self.runs < self.probability - 3 * error
        return self.direct > 0


def sides() -> list[NatBehaviour | None]:
    """Every NAT that the model can describe by its three axes, and those that are more."""
    found: list[NatBehaviour | None] = [None]
    for mapping, filtering, allocation in itertools.product(
        (Mapping.EIM, Mapping.ADM, Mapping.APDM), (Filtering.EIF, Filtering.ADF, Filtering.APDF), ALLOCATIONS
    ):
        try:
            found.append(NatBehaviour(mapping=mapping, filtering=filtering, port_allocation=allocation))
        except ValueError:
            continue  # the model refuses it, and says why
    firewalls = (NatBehaviour(mapping=Mapping.NONE, filtering=filtering) for filtering in Filtering)
    return [*found, *firewalls, *map(parse_nat, NAMED)]


def direct(a: NatBehaviour | None, b: NatBehaviour | None, *, seed: int, loss: float, certain: bool) -> bool:
    """One run: whether both use a direct path within the deadline. Delay, jitter and who starts first are drawn."""
    rng = random.Random(f"{seed}")
    delay_s = rng.uniform(0.002, 0.1)
    world = World({"a": a, "b": b}, seed=seed, delay_s=delay_s, jitter_s=delay_s * rng.random(), loss=loss)
    first, second = rng.sample(("a", "b"), 2)
    world.start(first)
    world.run(rng.random() * 2)
    world.start(second)
    # An impossible pair that is direct at any time would be found at the end as well: paths that work are kept.
    return world.run(DEADLINE_S, (lambda: set(world.paths()) == {"direct"}) if certain else None) or set(
        world.paths()
    ) == {"direct"}


def measure(a: NatBehaviour | None, b: NatBehaviour | None, *, runs: int, seed: int, loss: float) -> Pair:
    """All runs of one pair. The first four rounds of birthday probing fit into the deadline, or most of them."""
    expected = expected_path(
        *([[side] if side is not None else [] for side in (a, b)]),
        technique="birthday",
        opened_ports=BIRTHDAY_SOCKETS,
        tried_ports=BIRTHDAY_TRIES,
    )
    certain = expected.verdict != "relayed"
    count = sum(direct(a, b, seed=seed + run, loss=loss, certain=certain) for run in range(runs))
    return Pair(a, b, expected.verdict, expected.probability, runs, count)


def label(side: NatBehaviour | None) -> str:
    """Return a name for the tables."""
    return side.label if side is not None else "public"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--only", choices=("direct", "either", "relayed"), help="pairs of this verdict of the oracle")
    parser.add_argument("--loss", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="1/1", help="I/N: every Nth pair, from the Ith on")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    started, found = time.monotonic(), list[Pair]()
    for number, (a, b) in enumerate(itertools.combinations_with_replacement(sides(), 2)):
        verdict = expected_path([a] if a else [], [b] if b else [], "birthday").verdict
        if number % parts != part - 1 or options.only not in (None, verdict):
            continue
        found.append(measure(a, b, runs=options.runs, seed=options.seed + 1000 * number, loss=options.loss))
        last = found[-1]
        if last.wrong:
            print(f"{label(a)} x {label(b)}: {last.direct} of {last.runs}, {last.verdict}", file=sys.stderr, flush=True)
    report(found, options, time.monotonic() - started)
    sys.exit(any(pair.wrong for pair in found))


def report(found: list[Pair], options: argparse.Namespace, took_s: float) -> None:
    """Print what was measured, by what the oracle had said."""
    result: dict[str, Any] = {"runs": options.runs, "loss": options.loss, "rounds": ROUNDS, "took_s": round(took_s, 1)}
    for verdict in ("direct", "either", "relayed"):
        pairs = [pair for pair in found if pair.verdict == verdict]
        if not pairs:
            continue
        worst = min(pairs, key=lambda pair: pair.direct)
        result[verdict] = {
            "pairs": len(pairs),
            "runs": sum(pair.runs for pair in pairs),
            "direct": sum(pair.direct for pair in pairs),
            "wrong": sum(pair.wrong for pair in pairs),
            "fewest": f"{label(worst.a)} x {label(worst.b)}: {worst.direct} of {worst.runs}",
        }
    if options.json:
        rows = [[label(p.a), label(p.b), p.verdict, round(p.probability, 4), p.direct, p.runs] for p in found]
        print(json.dumps(result | {"pairs": rows}, indent=2))
    else:
        print("\n".join(f"{key:<10} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
