"""The ports that routers map to ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from overlays.refmesh.core.check import PORT_MAPPED
from overlays.refmesh.core.igd import AFTER_S as IGD_AFTER_S
from overlays.refmesh.core.igd import IgdMapping, Request
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.portmap import NONCE_LEN, ROUTER_PORT, PortMapper
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire.control import Endpoint


class Mappings:
    """For each router one mapper for PCP and NAT-PMP and one for UPnP IGD."""

    def __init__(self, outbox: Outbox, rng: Rng, protocols: Sequence[str]) -> None:
        """`protocols`: of `pcp`, `nat-pmp` and `upnp-igd` those that may be used."""
        self.routers: list[tuple[str, str]] = []
        """The routers that are asked, as given."""
        self.requests: list[Request] = []
        """What the driver is to ask for by UPnP IGD; it empties the list, and calls `on_igd` for each."""
        self._mappers: list[PortMapper] = []
        self._igd: dict[str, IgdMapping] = {}
        self._translated = False
        self._outbox, self._rng, self._protocols = outbox, rng, frozenset(protocols)

    def ask(self, routers: Sequence[tuple[str, str]], ports: Mapping[str, int], now: float) -> None:
        """Asks these routers from now on: pairs of a router's IPv4 address and ours; `ports` are ours by address."""
        self.routers = list(routers)
        found = [(router, own) for router, own in routers if own in ports]
        pcp, natpmp = "pcp" in self._protocols, "nat-pmp" in self._protocols
        # A router that is still the same takes our word for a mapping of ours by the nonce alone (RFC 6887, 11.3.2).
        nonces = {(mapper.router[0], mapper.own, mapper.port): mapper.nonce for mapper in self._mappers}
        self._mappers = [
            PortMapper(
                *(router, own, ports[own]),
                nonces.get((router, own, ports[own])) or self._rng(NONCE_LEN),
                pcp=pcp,
                natpmp=natpmp,
            )
            for router, own in found
            if pcp or natpmp
        ]
        if "upnp-igd" in self._protocols:
            first_s = now + (IGD_AFTER_S if self._mappers else 0.0)
            self._igd = {own: IgdMapping(own, ports[own], first_s) for _, own in found}

    def candidates(self) -> list[tuple[str, str, int]]:
        """Return what has been mapped, as candidates."""
        mapped = [*(mapper.external for mapper in self._mappers), *(each.external for each in self._igd.values())]
        return [(PORT_MAPPED, *external) for external in dict.fromkeys(mapped) if external is not None]

    def is_from_router(self, source: Endpoint) -> bool:
        """Whether a datagram is from a router that we ask."""
        return source[1] == ROUTER_PORT and any(mapper.router == source for mapper in self._mappers)

    def receive(self, datagram: bytes, source: Endpoint, now: float) -> bool:
        """Take a router's answer; True when the candidates have changed."""
        changed = False
        for mapper in self._mappers:
            if mapper.receive(datagram, source, now):
                changed = True
                self._say("PCP or NAT-PMP", mapper.external)
            if mapper.external is not None and mapper.router == source and mapper.own in self._igd:
                self._igd[mapper.own].not_needed(now)
        self._outbox.wake(now)
        return changed

    def on_igd(self, request: Request, external: Endpoint | None, lease_s: float, now: float) -> bool:
        """Take what came of a request; True when the candidates have changed."""
        mapping = self._igd.get(request.own)
        if mapping is None or not mapping.answer(request, external, lease_s, now):
            return False
        self._say("UPnP IGD", external)
        self._outbox.wake(now)
        return True

    def tick(self, now: float, *, translated: bool) -> bool:
        """Ask what is due; True when the candidates have changed, as a router does not answer any more.

        UPnP IGD, which takes a thread and a search, is for who is known to be `translated`.
        """
        changed = False
        for mapper in self._mappers:
            before = mapper.external
            self._outbox.main.extend((request, mapper.router) for request in mapper.requests(now))
            if mapper.external != before:
                changed = True
                self._say("PCP or NAT-PMP", None)
        self._translated = translated
        for mapping in self._igd.values() if translated else ():
            request = mapping.request(now)
            if request is not None:
                self.requests.append(request)
        return changed

    def deadline(self) -> float:
        """When something is due."""
        if not self._mappers and not self._igd:
            return math.inf
        due_s = [mapper.deadline() for mapper in self._mappers]
        if self._translated:
            due_s += [each.deadline() for each in self._igd.values()]
        return min(due_s, default=math.inf)

    def _say(self, protocol: str, external: Endpoint | None) -> None:
        said = f"maps {external[0]}:{external[1]} to us" if external is not None else "has taken the mapping back"
        self._outbox.events.append(f"a router {said} ({protocol})")
