"""Leads a peer to the socket that is in use, before others at which it may aim are closed.

Birthday probing can hit several of our sockets at once. Both sides then know several paths to be valid, each takes the
one that it likes best, and nothing is said of that (there is no nomination): closing what we do not use ourselves would
close what the peer uses. So a socket on which the peer was heard falls silent first: checks there are not answered any
more, while all else is taken. The peer finds that path lost, by the checks that it makes at any rate, and goes on with
the one in use, which we check often meanwhile. No peer needs to know of this.

Where our own path leaves from the main socket, the peer may have opened sockets as well, and use one of ours while we
use one of its own. Silence on both sides would then leave no path, so the one with the higher key falls silent later.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import PathFinder

MAX_SPARES = 3
"""So many sockets of a peer are open besides the one in use."""
QUIET_AFTER_S = 7.0
"""The lower key's peers have gone over by then: they check within 5 s after hearing us elsewhere, three times."""
CLOSE_AFTER_S = 18.0
"""Longer than a keepalive interval at first (15 s) and three tries: enough for a peer that heeds nothing else."""
LEAD_S = 1.0
"""So often the path in use is checked meanwhile, which is what tells the peer that its own may be the wrong one."""


class Handover:
    """The sockets of one peer that are to be closed."""

    def __init__(self) -> None:
        self.quiet: set[int] = set()
        """Those on which checks are not answered."""
        self._since_s: dict[int, float] = {}
        self._lead_s = math.inf

    def step(self, finder: PathFinder, used: Path, opened: Iterable[int], *, first: bool, now: float) -> set[int]:
        """Return which of the opened sockets stay open, while `used` is in use.

        Args:
            finder: the paths to the peer; those of sockets that fall silent, or are closed, are taken out.
            first: whether it is on us to fall silent first, where both may have opened sockets.
        """
        spares = {local for local in opened if local in self._since_s and local != used.local}
        heard = {path.local: check.seen_s for path, check in finder.checks.items() if path.local and path.direct}
        fresh = [local for local in opened if local in heard and local not in spares and local != used.local]
        spares.update(sorted(fresh, key=lambda local: -heard[local])[: MAX_SPARES - len(spares)])
        self._since_s = {local: self._since_s.get(local, now) for local in opened if local in spares}
        self.quiet.intersection_update(self._since_s)
        for local, since_s in list(self._since_s.items()):
            if now >= since_s + CLOSE_AFTER_S:
                del self._since_s[local]
                self.quiet.discard(local)
            elif local not in self.quiet and now >= since_s + (0.0 if used.local or first else QUIET_AFTER_S):
                self.quiet.add(local)
                for path in [path for path in finder.checks if path.local == local]:
                    del finder.checks[path]
        if not self._since_s:
            self._lead_s = math.inf
        elif self._lead_s == math.inf:
            self._lead_s = now + LEAD_S
        elif now >= self._lead_s:
            self._lead_s = now + LEAD_S
            finder.doubt(now)
        kept = {used.local, *self._since_s}
        for path in [path for path in finder.checks if path.local and path.local not in kept]:
            del finder.checks[path]  # it leaves from a socket that is closed now
        return kept

    def deadline(self) -> float:
        """When the next step is due."""
        return self._lead_s

    def end(self) -> None:
        """Note that no direct path is in use: whatever is open may become one."""
        self.quiet.clear()
        self._since_s.clear()
        self._lead_s = math.inf
