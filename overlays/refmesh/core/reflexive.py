"""Our own addresses as servers see them (server-reflexive candidates, RFC 8445), and what they say of our NAT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from overlays.refmesh.core.check import HOST, SERVER_REFLEXIVE
from overlays.refmesh.core.coordination import MAX_CANDIDATES_TOLD
from overlays.refmesh.core.server_link import ServerLink
from overlays.refmesh.wire.control import Endpoint

Candidate = tuple[str, str, int]
"""Kind, host and port."""


def seen(links: Sequence[ServerLink]) -> set[Endpoint]:
    """Return all addresses that servers see us at."""
    return {endpoint for link in links for endpoint in (link.seen_as, link.mapped) if endpoint is not None}


def dependent(links: Sequence[ServerLink]) -> bool:
    """Whether our mapping is known to depend on the destination: servers' ports see different ports of ours."""
    return len({endpoint for endpoint in seen(links) if ":" not in endpoint[0]}) > 1


def translated(links: Sequence[ServerLink], candidates: Sequence[Candidate]) -> bool:
    """Whether a server sees us at an address that no interface of ours has; `candidates`: our own."""
    own = {host for kind, host, _ in candidates if kind == HOST}
    return any(endpoint[0] not in own for endpoint in seen(links))


class Nat:
    """What links say of our NAT, found out anew when they say something else: each look at a peer asks."""

    def __init__(self, links: Sequence[ServerLink]) -> None:
        self._links = links
        self._said: list[object] | None = None
        self._found = False, False

    def known(self, candidates: Sequence[Candidate]) -> tuple[bool, bool]:
        """Return `dependent` and `translated`."""
        said: list[object] = [*candidates]
        for link in self._links:
            said += (link.seen_as, link.mapped)
        if said != self._said:
            self._said = said
            self._found = dependent(self._links), translated(self._links, candidates)
        return self._found


def told_to(link: ServerLink, links: Sequence[ServerLink], candidates: Sequence[Candidate]) -> list[list[Any]]:
    """Return what a server is to tell others of us: our own `candidates`, and where all servers see us but itself.

    As many as servers pass on. Where that is too few for a host with many addresses, of containers say, those at which
    the world sees us come first: who hears of no other reaches us by them.
    """
    own = {(host, port) for _, host, port in candidates}
    outside: list[Endpoint] = []
    for other in links:
        for endpoint in (other.mapped, other.seen_as if other is not link else None):
            if endpoint is not None and endpoint not in own and endpoint not in outside:
                outside.append(endpoint)
    del outside[MAX_CANDIDATES_TOLD // 2 :]
    kept = candidates[: MAX_CANDIDATES_TOLD - len(outside)]
    return [*map(list, kept), *([SERVER_REFLEXIVE, *endpoint] for endpoint in outside)]
