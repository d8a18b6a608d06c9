"""refmesh for `overlaybench simulate`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from harness.simulation.contract import Abilities, Claim, Crypto
from harness.simulation.internet import Host, Internet
from overlays.refmesh import keys
from overlays.refmesh.config import MAPPING_PROTOCOLS, TRAVERSALS
from overlays.refmesh.core import punching
from overlays.refmesh.core.noise import REAL
from overlays.refmesh.network import Network, Site, make_network
from overlays.refmesh.simulation.crypto import CHEAP, cheap_public
from overlays.refmesh.simulation.mesh import UNIX_S, Mesh

SITE = Site("s0", "9.9.0.9")
FIRST_ROUND_S = punching.START_AFTER_S + punching.MEASURE_S
"""After plain checks, and what a round measures before it fires."""
ROUND_S = punching.BIRTHDAY_TRIES / punching.TRIES_PER_BURST * punching.BURST_S + punching.SETTLE_S + punching.MEASURE_S
NETWORKS = 16
"""So many different networks of a size are made and signed; worlds draw one of them."""


class RefmeshSimulation:
    """The nodes and the server that run in production, one socket each."""

    name = "refmesh"
    overlays: Sequence[str] = ("refmesh", "refmesh-tap")
    techniques: Sequence[str] = TRAVERSALS
    guesses_both = False  # `punching.plan` opens and tries no random port there

    def birthday_ports(self, within_s: float) -> tuple[int, int]:
        """How many ports are open at a time, and how many are tried by then: rounds of a fixed number, paced."""
        tries, at = 0, FIRST_ROUND_S
        for _ in range(punching.MAX_SHOTS // punching.BIRTHDAY_TRIES):
            fired = (within_s - at - punching.REPEAT_S) / punching.BURST_S * punching.TRIES_PER_BURST
            tries += max(0, min(punching.BIRTHDAY_TRIES, int(fired)))
            at += ROUND_S
        return punching.BIRTHDAY_SOCKETS, tries

    def network(
        self, internet: Internet, hosts: Sequence[Host], rng: random.Random, abilities: Abilities, crypto: Crypto
    ) -> RefmeshNetwork:
        """Start the server, and give each host its node."""
        network = _network(len(hosts), crypto, rng.randrange(NETWORKS))
        mesh = Mesh(
            internet,
            network,
            rng=rng,
            options={
                "traversal": abilities.technique,
                "port_mapping": MAPPING_PROTOCOLS if abilities.port_mapping else (),
            },
            server_ipv6=True,
            keeps_log=False,
            suite=REAL if crypto == "real" else CHEAP,
        )
        return RefmeshNetwork(mesh, hosts)


@lru_cache(maxsize=4 * NETWORKS)
def _network(members: int, crypto: Literal["real", "cheap"], number: int) -> Network:
    """Return a network's credentials; which one depends on the arguments alone, so every process makes the same."""
    return make_network(
        [_name(member) for member in range(members)],
        [SITE],
        rng=random.Random(f"refmesh network {members} {crypto} {number}").randbytes,
        not_after=int(UNIX_S) + 10**8,
        public=keys.public if crypto == "real" else cheap_public,
    )


def _name(member: int) -> str:
    return f"m{member}"


class RefmeshNetwork:
    """One network."""

    def __init__(self, mesh: Mesh, hosts: Sequence[Host]) -> None:
        self.mesh = mesh
        self._names = [_name(member) for member in range(len(hosts))]
        self._keys = [mesh.suite.static(mesh.network.private_keys[name]).public for name in self._names]
        for name, host in zip(self._names, hosts, strict=True):
            mesh.join(name, host)

    def start(self, member: int) -> None:
        """Start a member's daemon, or start it again."""
        self.mesh.start(self._names[member])

    def stop(self, member: int) -> None:
        """End a member's daemon without a word."""
        self.mesh.stop(self._names[member])

    def address_changed(self, member: int) -> None:
        """Tell a member that its host has other addresses."""
        self.mesh.tell_addresses(self._names[member])
        self.mesh.settle(self._names[member])

    def woken(self, member: int) -> None:
        """Go on with what is due."""
        self.mesh.settle(self._names[member])

    def server_stops(self) -> None:
        """Silence all servers."""
        for name in self.mesh.servers:
            self.mesh.stop_server(name)

    def server_starts(self) -> None:
        """Start all servers again."""
        for name in self.mesh.servers:
            self.mesh.start_server(name)

    def claim(self, src: int, dst: int) -> Claim:
        """Return what `refmesh status` says, without making the whole of it."""
        node = self.mesh.nodes.get(self._names[src])
        peer = node.peers.by_key.get(self._keys[dst]) if node is not None else None
        if peer is None or peer.path is None or not peer.session.usable(self.mesh.now):
            return "none"
        return "direct" if peer.path.direct else "relayed"

    def send(self, src: int, dst: int, payload: bytes) -> None:
        """Send a UDP packet through the tunnel."""
        self.mesh.send(self._names[src], self._names[dst], payload)

    def has_received(self, member: int, payload: bytes) -> bool:
        """Whether a payload has come out of a member's tunnel."""
        return any(packet.endswith(payload) for packet in self.mesh.received[self._names[member]])

    def server_hosts(self) -> Sequence[Host]:
        """Return the hosts of its servers."""
        return tuple(self.mesh.server_hosts.values())

    def server_states(self) -> Sequence[object]:
        """Return the servers that run."""
        return tuple(server for server in self.mesh.servers.values() if server is not None)
