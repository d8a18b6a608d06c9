"""How large a datagram a path carries, found out by probes inside the session (RFC 8899).

Sizes are octets of UDP payload. The search is optimistic: what the configuration asks for is in use until it has been
seen to fail, as it passes nearly everywhere; so a path that is wide enough costs one probe, and one that carries no
large packets costs none.

| state | event | then |
|---|---|---|
| resting | a large packet goes out, the last proof is older than 5 s | probe the size in use |
| probing | the probe is answered | that size is proved; searching goes on between it and the smallest that failed |
| probing | three probes unanswered, the path alive: the size in use | a black hole: use 1,200 (or 548), search up |
| probing | three probes unanswered, the path alive: a larger one | it is the smallest that failed; search below it |
| any | the kernel refuses a size | use what it allows, prove it |
| resting below the wanted size | ten minutes later | search upwards again |
"""

from __future__ import annotations

import math

BASE = 1200
"""RFC 8899, section 5.1.2: BASE_PLPMTU."""
LEAST = 548
"""What an IPv4 path of 576 octets carries: every host takes that much (RFC 791)."""
MAX_PROBES = 3
GIVE_UP_AFTER = 10
"""So many unanswered probes of a path on which nothing else comes either say that it is dead, not narrow."""
RAISE_S = 600.0
"""RFC 8899, section 5.1.1: PMTU_RAISE_TIMER."""
CONFIRM_S = 5.0
"""RFC 8899 leaves to the protocol how black holes are found; while large packets go out, by a probe so often."""
STEP = 16
"""The search ends when it is this near: packets are padded to multiples of it."""
OVERHEAD = 40
"""What a packet grows by at most: message head, bulk head, tag."""
MIN_WAIT_S, MAX_WAIT_S = 0.25, 2.0
ANY = 1 << 16
"""The limit of a path that carries all."""


def largest(mtu: int) -> int:
    """Return the largest datagram, without a relay header, that packets of up to `mtu` octets become."""
    return max((mtu + 15 & ~15) + 32, mtu + OVERHEAD)


class PathMtu:
    """The search on one path."""

    def __init__(self, wanted: int) -> None:
        """`wanted`: what the configuration asks for."""
        self._wanted = wanted
        self.size = wanted
        """The largest datagram to be sent now."""
        self.due_s = math.inf
        """When to look at it again."""
        self._failed = wanted + 1
        """The smallest size that is known not to pass."""
        self._proved_s = -math.inf
        self._probe = 0
        """The size being probed; 0: none."""
        self._sent = 0
        self._since_s = self._raise_s = math.inf

    @property
    def in_doubt(self) -> bool:
        """Whether it is time to see that the path lives, by something small, before a probe is given up."""
        return self._sent >= MAX_PROBES

    def limit(self, prefix: int) -> int:
        """Return the largest packet that may be sent, in octets, with so many octets of a relay header before each."""
        return ANY if self.size >= self._wanted else (self.size - prefix - OVERHEAD) & ~(STEP - 1)

    def used(self, now: float) -> None:
        """Note that a large packet goes out."""
        if not self._probe and now - self._proved_s > CONFIRM_S:
            self._begin(self.size, now)

    def refused(self, allowed: int, now: float) -> None:
        """Note that the kernel does not send what is larger than `allowed`."""
        allowed = max(allowed, LEAST)
        if allowed >= self.size:
            return
        self.size, self._failed = allowed, allowed + 1
        self._begin(allowed, now)

    def probe(self, now: float, heard_s: float, rtt_s: float) -> int | None:
        """Return the size of the probe that is due, if any.

        `heard_s`: when the peer was last heard; `rtt_s`: its round trip, infinite when it is not known.
        """
        if now < self.due_s:
            return None
        if not self._probe:
            # Ten minutes have gone by; the path may be another one.
            self._failed = self._wanted + 1
            self._next(now)
        elif self._sent >= MAX_PROBES and heard_s > self._since_s:
            self._lost(now)
        elif self._sent >= GIVE_UP_AFTER:
            self._probe, self.due_s = 0, math.inf
        if not self._probe:
            return None
        if not self._sent:
            self._since_s = now
        self._sent += 1
        wait_s = min(max(3 * rtt_s, MIN_WAIT_S), MAX_WAIT_S) if math.isfinite(rtt_s) else 2 * MIN_WAIT_S
        self.due_s = now + wait_s * (1 if self._sent <= MAX_PROBES else 4)
        return self._probe

    def answered(self, size: int, now: float) -> None:
        """Note that a probe of this size has come through."""
        self._proved_s = now
        if size >= self._failed:
            self._failed = self._wanted + 1
        self.size = max(self.size, min(size, self._wanted))
        self._next(now)

    def _lost(self, now: float) -> None:
        self._failed, self._raise_s = self._probe, math.inf
        if self._probe <= self.size:
            self.size = BASE if self._probe > BASE else LEAST
        self._next(now)

    def _next(self, now: float) -> None:
        if self._failed > self._wanted and self.size < self._wanted:
            self._begin(self._wanted, now)
        elif self._failed - self.size > STEP:
            self._begin((self.size + self._failed) // 2, now)
        else:
            self._probe = 0
            if self.size >= self._wanted:
                self._raise_s = math.inf
            elif not now < self._raise_s < math.inf:
                self._raise_s = now + RAISE_S
            self.due_s = self._raise_s

    def _begin(self, size: int, now: float) -> None:
        self._probe, self._sent, self.due_s = size, 0, now
