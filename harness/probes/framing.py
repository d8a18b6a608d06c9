"""How much larger than a ping the packet that carries it is, learnt from pings of unpredictable sizes. Pure.

A tunnel adds headers and perhaps fills up to a multiple of its cipher's block. Both are read off the observations: the
difference between packet and ping that comes back with ping after ping, more often than chance would have it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from harness.probes.pings import LARGEST_BYTES, SMALLEST_BYTES

# Two IP headers, an Ethernet header inside, a relay's address, TLS, padding: all products that are known stay below.
MOST_OVERHEAD_BYTES: Final = 250
_STEPS: Final = (1, 2, 4, 8, 16, 32)
_FEWEST: Final = 4
_RANGE: Final = LARGEST_BYTES - SMALLEST_BYTES + 1
# That chance alone makes so many fit, over all hypotheses that are tried.
_MOST_LIKELY_CHANCE: Final = 1e-6
# A coarser step explains at least this much more, or the finer one stands.
_BETTER: Final = 1.15


@dataclass(frozen=True)
class Framing:
    """A packet that carries a ping of L octets has L + `least` to L + `most` octets and is `residue` modulo `step`.

    From `least` to `most` is a step, and what few pings leave open of where it begins.
    """

    least: int
    most: int
    step: int
    residue: int

    def fits(self, packet_bytes: int, ping_bytes: int) -> bool:
        """Tell whether a packet of that size can carry that ping."""
        return self.least <= packet_bytes - ping_bytes <= self.most and packet_bytes % self.step == self.residue

    def any_fits(self, packets_bytes: Collection[int], ping_bytes: int) -> bool:
        """Tell whether one of the packets can carry that ping."""
        return any(self.fits(one, ping_bytes) for one in packets_bytes)


def learn(observations: Sequence[tuple[int, Collection[int]]]) -> Framing | None:
    """Return the framing that explains most packets; None when none explains more than chance would.

    Args:
        observations: for each ping its size in octets of IP packet, and the sizes of the packets that passed while it
            was under way.
    """
    best: tuple[int, Framing] | None = None
    for step in _STEPS:
        found = _best_of_step(observations, step)
        if found is not None and (best is None or found[0] > _BETTER * best[0]):
            best = found
    return None if best is None else best[1]


def _best_of_step(observations: Sequence[tuple[int, Collection[int]]], step: int) -> tuple[int, Framing] | None:
    votes: Counter[tuple[int, int]] = Counter()
    chance = 0.0
    for ping_bytes, packets in observations:
        seen = set()
        for packet in packets:
            for least in range(packet - ping_bytes - step + 1, packet - ping_bytes + 1):
                if 0 <= least <= MOST_OVERHEAD_BYTES:
                    seen.add((least, packet % step))
        votes.update(seen)
        chance += min(1.0, len(set(packets)) * step / _RANGE)
    if not votes:
        return None
    most = max(votes.values())
    if most < _FEWEST or _tail(most, chance) * len(_STEPS) * MOST_OVERHEAD_BYTES * step > _MOST_LIKELY_CHANCE:
        return None
    best = [key for key, count in votes.items() if count == most]
    residue = best[0][1]
    leasts = [least for least, other in best if other == residue and least < best[0][0] + step]
    return most, Framing(min(leasts), max(leasts) + step - 1, step, residue)


def _tail(count: int, expected: float) -> float:
    """Return an upper bound (Chernoff) of the chance that a Poisson variable of mean `expected` reaches `count`."""
    if expected <= 0:
        return 0.0
    if count <= expected:
        return 1.0
    return math.exp(count - expected - count * math.log(count / expected))
