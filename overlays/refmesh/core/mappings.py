"""The ports that routers map to ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from overlays.refmesh.core.connectivity import PORT_MAPPED
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.portmap import ROUTER_PORT, PortMapper
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire.control import Endpoint


class Mappings:
    """One mapper for each router; none when the mode has no direct paths."""

    def __init__(self, outbox: Outbox, rng: Rng, *, direct: bool) -> None:
        self.mappers: list[PortMapper] = []
        self._outbox, self._rng, self._direct = outbox, rng, direct

    def ask(self, routers: Sequence[tuple[str, str]], ports: Mapping[str, int]) -> None:
        """Asks these routers from now on: pairs of a router's IPv4 address and ours; `ports` are ours by address."""
        found = [(router, own) for router, own in routers if own in ports] if self._direct else []
        self.mappers = [PortMapper(router, own, ports[own], self._rng) for router, own in found]

    def candidates(self) -> list[tuple[str, str, int]]:
        """What has been mapped, as candidates."""
        return [(PORT_MAPPED, *mapper.external) for mapper in self.mappers if mapper.external is not None]

    def is_from_router(self, source: Endpoint) -> bool:
        """Whether a datagram is from a router that we ask."""
        return source[1] == ROUTER_PORT and any(mapper.router == source for mapper in self.mappers)

    def receive(self, datagram: bytes, source: Endpoint, now: float) -> bool:
        """Takes a router's answer; True when the candidates have changed."""
        changed = False
        for mapper in self.mappers:
            if mapper.receive(datagram, source, now):
                changed = True
                said = f"router {source[0]} maps {mapper.external}" if mapper.external else "mapping lost"
                self._outbox.events.append(said)
        self._outbox.wake(now)
        return changed

    def tick(self, now: float) -> None:
        """Asks what is due."""
        for mapper in self.mappers:
            self._outbox.main.extend((request, mapper.router) for request in mapper.requests(now))

    def deadline(self) -> float:
        """When something is due."""
        return min((mapper.deadline() for mapper in self.mappers), default=math.inf)
