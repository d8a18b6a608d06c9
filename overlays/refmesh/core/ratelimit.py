"""How often a source may ask for the work of a handshake: WireGuard's ratelimiter, in its words and numbers.

Its reference takes 20 a second and 5 at once from an IPv4 address or an IPv6 /64 network, has room for so many sources,
and lets who comes when it is full wait. It is asked where we are busy, and after the cookie, so that a written source
uses up no other's share. Whom a relay brings is a source of its own.
"""

from __future__ import annotations

import ipaddress

from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.wire.control import Endpoint

PER_S, BURST = 20.0, 10
"""A node sends an introduction and an initiation at a time: twice WireGuard's five."""
MAX_SOURCES = 8192
FORGET_AFTER_S = 1.0
"""A source that has been silent for so long has all of its share again."""


class RateLimiter:
    """A token bucket for each source."""

    def __init__(self) -> None:
        self._buckets: dict[object, tuple[Pacer, float]] = {}

    def allows(self, source: Endpoint, relay: int, now: float) -> bool:
        """Whether this source may ask now; asking counts."""
        name = relay, _network(source)
        bucket, _ = self._buckets.pop(name, (None, 0.0))
        if bucket is None:
            self._collect(now)
            if len(self._buckets) >= MAX_SOURCES:
                return False
            bucket = Pacer(PER_S, BURST)
        # A dict keeps the order of insertion, so the longest silent one is the first.
        self._buckets[name] = bucket, now
        if bucket.available(now) < 1:
            return False
        bucket.take()
        return True

    def _collect(self, now: float) -> None:
        while self._buckets:
            name = next(iter(self._buckets))
            if now - self._buckets[name][1] < FORGET_AFTER_S:
                return
            del self._buckets[name]


def _network(source: Endpoint) -> object:
    if source[0] == "tls":
        return source
    return source[0] if ":" not in source[0] else ipaddress.ip_address(source[0]).packed[:8]
