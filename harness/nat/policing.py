"""A policer: a token bucket that drops what it has no tokens for, as routers limit a protocol's rate. Pure."""

from __future__ import annotations

# What nft adds to its bucket of one second (nft_limit.c): the longest bundle that a host hands over at once.
EXTRA_BYTES = 65536


def bytes_a_second(rate_mbit: float) -> int:
    """Return the rate in bytes of IP packets a second."""
    return round(rate_mbit * 125_000)


def burst_bytes(rate_mbit: float) -> int:
    """Return how much passes at once after a pause: a second's worth and a bundle."""
    return bytes_a_second(rate_mbit) + EXTRA_BYTES


class Policer:
    """One direction's bucket, full at first."""

    def __init__(self, rate_mbit: float) -> None:
        self._rate = bytes_a_second(rate_mbit)
        self._depth = self._tokens = float(burst_bytes(rate_mbit))
        self._filled_at = 0.0

    def passes(self, size_bytes: int, now: float) -> bool:
        """Tell whether a packet of that size passes at `now` (seconds that never go back), and take its tokens."""
        self._tokens = min(self._depth, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if size_bytes > self._tokens:
            return False
        self._tokens -= size_bytes
        return True
