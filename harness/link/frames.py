"""Parts of the link model: a frame, the counts of a direction, and its random streams (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_MASK: Final = (1 << 64) - 1


class Stream:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the random numbers of one effect of one direction."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def draw(self) -> int:
        """Return the next 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def chance(self, threshold: int) -> bool:
        """Return True with probability threshold / 2^63."""
        return (self.draw() >> 1) < threshold


@dataclass
class Counts:
    """Frames of the direction; the names are those of `DirectionCounts`."""

    received: int = 0
    sent: int = 0
    lost: int = 0
    queue_drops: int = 0
    oversize_drops: int = 0
    duplicated: int = 0
    corrupted: int = 0
    reordered: int = 0


@dataclass(order=True)
class Frame:
    """A frame in the model; ordered by when it is due. `flipped_bit` counts from the end of the Ethernet header."""

    deliver: int
    number: int
    arrival: int = field(compare=False)
    length: int = field(compare=False)
    flipped_bit: int | None = field(compare=False, default=None)
    payload: bytes = field(compare=False, default=b"")
