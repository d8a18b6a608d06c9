"""Which peer has an inner address: longest prefix first (WireGuard's cryptokey routing)."""

from __future__ import annotations

import ipaddress

from overlays.refmesh.core.peer import Peer


class Routes:
    """From inner destination to peer."""

    def __init__(self) -> None:
        self.version = 0
        """Grows with each change."""
        self._hosts: dict[bytes, Peer] = {}
        self._owners: dict[bytes, Peer] = {}
        self._wide: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, Peer]] = []

    def assign(self, owner: Peer, via: Peer) -> None:
        """Reach the addresses of `owner` through `via`: itself, or the server of a hub."""
        self.version += 1
        for packed in owner.sources:
            self._hosts[packed] = via
            self._owners[packed] = owner
        self._wide = [(network, peer) for network, peer in self._wide if peer is not owner]
        self._wide += [(network, via) for network in owner.networks if network.num_addresses > 1]
        self._wide.sort(key=lambda item: -item[0].prefixlen)

    def remove(self, owner: Peer) -> None:
        """Forgets the addresses of a peer."""
        self.version += 1
        for packed in owner.sources:
            if self._owners.get(packed) is owner:
                del self._hosts[packed], self._owners[packed]
        self._wide = [(network, peer) for network, peer in self._wide if peer is not owner]

    def owner(self, packed: bytes) -> Peer | None:
        """Return the member that has an address, however it is reached."""
        return self._owners.get(packed)

    def find(self, packed: bytes) -> Peer | None:
        """Return the peer for a packed destination address; None when no peer has it."""
        peer = self._hosts.get(packed)
        if peer is not None or not self._wide or not packed:
            return peer
        address = ipaddress.ip_address(packed)
        return next((peer for network, peer in self._wide if address in network), None)
