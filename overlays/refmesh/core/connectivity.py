"""Which way to a peer: candidates, authenticated checks, and the path in use (RFC 8445's words, not its wire format).

A check is a PING inside the session, answered by a PONG the same way back; so a path is valid only when both directions
work and the peer's keys were there. Each side sends on its own best valid path and takes packets from any, so there is
no nomination. Relayed paths need no check to be used: the session came up over them.

| a candidate's check | event | then |
|---|---|---|
| waiting | due | PING; next one after 50 ms, slower with its age |
| waiting or valid | PING from there | PONG back; check it at once (a triggered check, RFC 8445 section 7.3.1.4) |
| waiting, known from a PING alone | due | PING, as many as have come from there: its source may be forged |
| waiting | PONG | valid |
| relayed, waiting | no direct path 1 s after the session came up | PING; with one it can wait for the next keepalive |
| valid | three PINGs in a row unanswered | waiting, from the start |
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from overlays.refmesh.core.check import PEER_REFLEXIVE, PREDICTED, RELAYED, SERVER_REFLEXIVE, Check, Path
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.core.pace import MAX_PATIENCE_S, PACE, PLAIN_TRIES, pace_at
from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.core.volley import Volleys
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire.control import TRANSACTION_LEN, Endpoint

MAX_CANDIDATES = 24
LOST_AFTER = 3
RETRY_MIN_S = 0.3
OUT_OF_STEP = 0.08
"""Keepalives come by up to this fraction earlier, at random, so that two ends do not stay in step."""
FRESH_TRY_S = 2.0
"""So long a path from a socket of its own is tried: several round trips of a slow network."""
RELAY_CHECK_AFTER_S = 1.0
"""Most pairs have a direct path by then, and all that checks over relays tell is which relay is best."""
SILENCE_S = 1.0
BACK_S = 60.0
"""A peer whose idle path has died is heard another way, or again, within so long; else it has gone, not its NAT."""
BETTER_BY = 0.8
"""A path replaces one of its kind when its round trip is this fraction of the other's, or less."""
MAX_CREDIT, LEAD = 3, 6
"""Checks that a peer may owe us for its PINGs, and those of ours that go on though answered, to lead it on."""
UNPROVED_PER_S, UNPROVED_BURST = 0.5, 250
"""Checks of addresses that nothing has come from: the peer names them, so they may be anybody's. A dozen candidates
take some twenty checks each until they are tried every 30 s only. When our own addresses change, the whole burst is
available again."""


class PathFinder:
    """The paths to one peer."""

    def __init__(
        self, rng: Rng, *, direct: bool, relayed: bool, reflexive: bool = True, lifetime: Lifetime | None = None
    ) -> None:
        """`direct` and `relayed` say which kinds of path may be used at all; `reflexive`: those learned from PINGs."""
        self.checks: dict[Path, Check] = {}
        self.best: Path | None = None
        self._lifetime = lifetime or Lifetime()
        self._rng = rng
        self._direct, self._relayed, self._reflexive = direct, relayed, reflexive
        self._volleys = Volleys(rng)
        self._unproved = Pacer(UNPROVED_PER_S, UNPROVED_BURST)
        self.relays: tuple[Path, ...] = ()
        self._patience_s, self._lost_s = 0.0, -math.inf

    def set_relays(self, relays: Iterable[Path], now: float) -> None:
        """Return the relayed paths that exist now; the first is preferred while none has a measured round trip."""
        if not self._relayed:
            return
        self.relays = tuple(relays)
        for path in [path for path in self.checks if not path.direct and path not in self.relays]:
            del self.checks[path]
        for path in self.relays:
            if path not in self.checks:
                self.checks[path] = Check(path, RELAYED, now, math.inf)
        self._choose()

    def add(self, endpoint: Endpoint, kind: str, now: float, local: int = 0) -> Check | None:
        """Add a candidate of the peer; None when it is not wanted. A known one stays as it is."""
        path = Path(endpoint, 0, local)
        if not self._direct or (kind == PEER_REFLEXIVE and not self._reflexive):
            return None
        check = self.checks.get(path)
        if check is None:
            if len(self.checks) >= MAX_CANDIDATES and not self._evict():
                return None
            check = self.checks[path] = Check(path, kind, now, now)
        return check

    def restart(self, now: float, rtt_s: float = 0.0) -> None:
        """Check all direct candidates at the first pace again: the session is new, or the network has changed.

        `rtt_s`: how long answers take, as far as is known; no check is repeated sooner.
        """
        self._patience_s, self._lost_s = min(rtt_s, MAX_PATIENCE_S), -math.inf
        for check in self.checks.values():
            if check.path.direct:
                check.since_s, check.due_s, check.unanswered = now, now, 0
            elif check.path == self.best or self.best is None:
                check.due_s = now + (RELAY_CHECK_AFTER_S if self._direct else 0.0)

    def on_ping(self, path: Path, now: float) -> None:
        """Note that the peer has checked this path: a candidate, if it was none, and one to be checked at once."""
        self._heard(now)
        check = self.checks.get(path)
        if check is None and path.direct:
            check = self.add(path.endpoint, PEER_REFLEXIVE, now, path.local)
        if check is None:
            return
        if check.valid and not check.pinged:
            check.due_s = now + self._pause(check)  # both ends know it now
        check.pinged = True
        check.seen_s, check.credit = now, min(check.credit + 1, MAX_CREDIT)
        if not check.valid and path.direct and now - check.since_s > PACE[0][0]:
            check.since_s = now
        if not check.valid and (path.direct or not self._direct or check.due_s == math.inf):
            check.due_s = min(check.due_s, now)

    def volley(self, paths: Iterable[Path], now: float) -> list[tuple[Path, bytes]]:
        """Return PINGs on many paths that are no candidates, as path and transaction; the one answered becomes one."""
        return self._volleys.fire(paths, now)

    def on_pong(self, transaction: bytes, path: Path, now: float) -> Path | None:
        """Note that a check was answered; return its path, None when it was not asked for (or too long ago)."""
        sent_s = self._volleys.sent_s(transaction, path)
        if sent_s is not None:
            hit = self.add(path.endpoint, PREDICTED, now, path.local)
            if hit is not None:
                hit.transactions.setdefault(transaction, sent_s)
        for check in self.checks.values():
            sent_s = check.transactions.get(transaction)
            if sent_s is None:
                continue
            self._heard(now)
            rtt_s = now - sent_s
            # A smoothed value, as TCP's (RFC 6298); the first sample as it is.
            check.rtt_s = rtt_s if not check.valid or check.rtt_s == math.inf else 0.875 * check.rtt_s + 0.125 * rtt_s
            if check.paused and check.path == self.best and check.path.direct:
                (self._lifetime.lived if check.unanswered == 1 else self._lifetime.stumbled)()
            check.paused, check.pong_s = False, now
            check.valid, check.unanswered, check.seen_s, check.proved = True, 0, now, True
            check.answered += 1
            check.transactions.clear()
            check.due_s = now + self._pause(check)
            if check.path.direct and not check.pinged and check.answered <= LEAD:
                # The peer may know it from our PINGs alone, and has one check for each of them.
                check.due_s = now + max(RETRY_MIN_S, 2 * rtt_s)
            self._choose()
            return check.path
        return None

    def suspect(self, now: float) -> None:
        """Check the path in use, and all others, now: data goes out and nothing comes back."""
        for check in self.checks.values():
            if check.path == self.best or not check.path.direct:
                check.due_s = min(check.due_s, now)

    def doubt(self, now: float) -> None:
        """Return the peer uses another path than we do: checks ours now, unless that is under way."""
        check = self.checks.get(self.best) if self.best is not None else None
        if check is not None and not check.unanswered:
            check.due_s = min(check.due_s, now)

    def moved(self, now: float) -> None:
        """Our addresses have changed: no direct path is known to work before it has been checked again."""
        for check in self.checks.values():
            if check.path.direct:
                check.valid, check.rtt_s = False, math.inf
        self._unproved = Pacer(UNPROVED_PER_S, UNPROVED_BURST)
        self.restart(now)
        self._choose()

    def due(self, now: float, limit: int = MAX_CANDIDATES) -> list[tuple[Path, bytes]]:
        """Return the PINGs to send now, as path and transaction; at most `limit`, the others stay due."""
        pings: list[tuple[Path, bytes]] = []
        checks, short = list(self.checks.values()), self._short(now)
        if self.deadline() > now:
            return pings
        if short:
            # Else the first would have had all turns. The newest first: a peer that has moved has left the older ones.
            checks.reverse()
            checks.sort(key=lambda check: check.unanswered)
        for check in checks:
            if now < check.due_s or len(pings) >= limit:
                continue
            if check.path.local and not check.valid and now - max(check.seen_s, check.since_s) > FRESH_TRY_S:
                # Its socket was opened for one try and is closed, or about to be.
                del self.checks[check.path]
                continue
            if not check.path.direct and not (check.answered or check.unanswered) and self._has_direct:
                check.due_s = now + self._pause(check)
                continue
            if check.unanswered >= LOST_AFTER and check.valid:
                if check.path == self.best and check.paused and check.path.direct:
                    self._lost_s = now
                check.valid, check.rtt_s, check.since_s = False, math.inf, now
                self._choose()
            if check.path.direct and not self._may_try(check, now):
                check.due_s = math.inf if check.kind == PEER_REFLEXIVE else self._unproved.next_s(now)
                continue
            transaction = self._rng(TRANSACTION_LEN)
            if len(check.transactions) >= 16:
                del check.transactions[next(iter(check.transactions))]
            check.transactions[transaction] = now
            if not check.unanswered:
                check.paused = now - check.pong_s >= 0.9 * self._lifetime.interval_s
            check.unanswered += 1
            check.due_s = now + self._pace(check, now)
            pings.append((check.path, transaction))
        return pings

    def deadline(self) -> float:
        """When the next PING is due."""
        return min([check.due_s for check in self.checks.values()], default=math.inf)

    @property
    def translated(self) -> bool:
        """Whether servers see the peer at another address than its own."""
        return any(check.kind == SERVER_REFLEXIVE for check in self.checks.values())

    def tried(self, now: float) -> bool:
        """Whether plain direct candidates have been checked often enough, or may not be, to be given up for now."""
        plain = (check for check in self.checks.values() if check.path.direct and not check.path.local)
        return self._short(now) or all(check.unanswered >= PLAIN_TRIES for check in plain)

    def _short(self, now: float) -> bool:
        return self._unproved.available(now) < len(self.checks)

    def ways(self, now: float) -> list[Path]:
        """Where a handshake may be sent: the relays, then direct candidates."""
        direct = [check for check in self.checks.values() if check.path.direct]
        # An initiation is larger than three PINGs, so one is not enough to draw it.
        tried = [
            check.path
            for check in direct
            if check.proved or (check.kind != PEER_REFLEXIVE and self._may_try(check, now))
        ]
        return [*self.relays, *tried]

    def _heard(self, now: float) -> None:
        """Note that the peer is there: if its path has died while idle, it was a NAT that forgot it."""
        if now - self._lost_s < BACK_S:
            self._lifetime.died()
        self._lost_s = -math.inf

    def _may_try(self, check: Check, now: float) -> bool:
        """Whether something may be sent on a direct path now; what nothing has come from is tried only so often."""
        if check.proved:
            return True
        if check.credit:
            check.credit -= 1
            return True
        # Known from a datagram alone, whose source anybody can write: as many checks as PINGs have come from there.
        if check.kind == PEER_REFLEXIVE or self._unproved.available(now) < 1:
            return False
        self._unproved.take()
        return True

    @property
    def _has_direct(self) -> bool:
        return self.best is not None and self.best.direct

    def _pace(self, check: Check, now: float) -> float:
        if check.valid:
            return float(max(RETRY_MIN_S, min(1.0, 2 * check.rtt_s)) * 1.5 ** min(check.unanswered - 1, 4))
        if not check.path.direct:
            return 1.0 if check.unanswered < 10 else 15.0
        age_s = now - check.since_s
        pace_s = max(self._patience_s, pace_at(age_s))
        # With a direct path at hand the hopeless candidates need no haste.
        return max(pace_s, 2.0) if self._has_direct and age_s > 1.0 else pace_s

    def _pause(self, check: Check) -> float:
        # Checks of both ends that cross open each other's NAT again, and then any interval would seem short enough.
        interval_s = self._lifetime.interval_s * (1 - self._rng(1)[0] / 255 * OUT_OF_STEP)
        return interval_s if check.path.direct or check.path == self.best or self.best is None else 4 * interval_s

    def _choose(self) -> None:
        usable = [check for check in self.checks.values() if check.valid or not check.path.direct]
        if not usable:
            self.best = None
            return
        # Direct before relayed; a relay that answers before one that has not yet; then the shorter round trip.
        winner = min(usable, key=lambda check: (not check.path.direct, not check.valid, check.rtt_s))
        holder = self.checks.get(self.best) if self.best is not None else None
        if holder in usable and holder is not None:
            same = holder.path.direct == winner.path.direct and holder.valid == winner.valid
            if same and winner.rtt_s > BETTER_BY * holder.rtt_s:
                return
        self.best = winner.path

    def _evict(self) -> bool:
        idle = [check for check in self.checks.values() if check.path.direct and not check.valid]
        if not idle:
            return False
        del self.checks[min(idle, key=lambda check: check.seen_s).path]
        return True
