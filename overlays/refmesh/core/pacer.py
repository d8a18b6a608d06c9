"""Token buckets without a clock."""

from __future__ import annotations

from collections.abc import Hashable


class Pacer:
    """So many events a second, and so many at once."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._tokens = float(burst)
        self._seen_s = 0.0

    def available(self, now: float) -> int:
        """How many events may happen now."""
        if self._tokens < self._burst:  # most that are asked are full
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._seen_s) * self._per_s)
        self._seen_s = now
        return int(self._tokens)

    def take(self, count: int = 1) -> None:
        """So many have happened."""
        self._tokens -= count

    def next_s(self, now: float) -> float:
        """When the next one may happen: now, or as soon as there is a token again."""
        return now if self._tokens >= 1 else now + (1 - self._tokens) / self._per_s


class Pacers:
    """A pacer for each of those who would else use up each other's turns."""

    def __init__(self, per_s: float, burst: int, room: int = 4096) -> None:
        """`room`: so many are remembered; who was asked for longest ago is forgotten, and has a full bucket again."""
        self._per_s, self._burst, self._room = per_s, burst, room
        self._pacers: dict[Hashable, Pacer] = {}

    def of(self, name: Hashable) -> Pacer:
        """Return the pacer of `name`, full when it is new."""
        pacer = self._pacers.pop(name, None)
        if pacer is None:
            pacer = Pacer(self._per_s, self._burst)
            if len(self._pacers) >= self._room:
                del self._pacers[next(iter(self._pacers))]
        self._pacers[name] = pacer
        return pacer
