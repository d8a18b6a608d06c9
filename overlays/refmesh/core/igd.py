"""When to ask the router for a port by UPnP IGD, the third protocol; the asking itself is a library's and the driver's.

| state | event | then |
|---|---|---|
| waiting | PCP and NAT-PMP have had no answer for 0.6 s, or are not to be used; a server sees us translated | asking |
| asking | mapped | mapped; again at half of the lease |
| asking | refused, or no router there | waiting; again after 5 minutes |
| any | PCP or NAT-PMP has an answer | waiting |
"""

from __future__ import annotations

import math
from typing import NamedTuple

from overlays.refmesh.wire.control import Endpoint

AFTER_S = 0.6
"""PCP answers within one round trip; whoever has not after two tries most likely does not know it."""
REST_S = 300.0


class Request(NamedTuple):
    """A mapping of a UDP port of ours that is wanted."""

    own: str
    """Our address towards the router."""
    port: int
    external_port: int
    """The one that we would like to have."""


class IgdMapping:
    """One UDP port of ours, mapped by UPnP IGD."""

    def __init__(self, own: str, port: int, at: float) -> None:
        """`at`: when to ask first."""
        self.external: Endpoint | None = None
        self._own, self._port = own, port
        self._due_s = at
        self._asked: Request | None = None

    def request(self, now: float) -> Request | None:
        """Return what is to be asked now; `answer` must follow before anything else is asked."""
        if now < self._due_s:
            return None
        self._due_s = math.inf
        self._asked = Request(self._own, self._port, self.external[1] if self.external is not None else self._port)
        return self._asked

    def answer(self, request: Request, external: Endpoint | None, lease_s: float, now: float) -> bool:
        """Take what came of it, None for nothing; `lease_s` 0: a mapping that stays. True: `external` has changed.

        What came of a request from before a change of the network, most likely of another router, is left alone.
        """
        if request is not self._asked:
            return False
        self._asked = None
        changed = external != self.external
        self.external = external
        self._due_s = now + (REST_S if external is None or not lease_s else max(1.0, lease_s / 2))
        return changed

    def not_needed(self, now: float) -> None:
        """Note that the router has answered in another way, for now."""
        if self._due_s != math.inf and self.external is None:
            self._due_s = now + REST_S

    def deadline(self) -> float:
        """When `request` has something."""
        return self._due_s
