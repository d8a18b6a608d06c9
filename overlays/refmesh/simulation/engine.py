"""refmesh for `overlaybench simulate`."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

from harness.simulation.contract import Abilities, Claim, Crypto, Delays
from harness.simulation.internet import Host, Internet
from overlays.refmesh import keys
from overlays.refmesh.config import MAPPING_PROTOCOLS, TRAVERSALS
from overlays.refmesh.core import punching
from overlays.refmesh.core.noise import REAL
from overlays.refmesh.core.pace import plain_checks_s
from overlays.refmesh.core.puncher import TURN_S
from overlays.refmesh.network import Network, Site, make_network
from overlays.refmesh.simulation.crypto import CHEAP, cheap_public
from overlays.refmesh.simulation.mesh import UNIX_S, Mesh

SITE = Site("s0", "9.9.0.9")
SHOOTING_S = punching.BIRTHDAY_TRIES / punching.TRIES_PER_BURST * punching.BURST_S
BURSTS = math.ceil(punching.BIRTHDAY_TRIES / punching.TRIES_PER_BURST)
NETWORKS = 16
"""So many different networks of a size are made and signed; worlds draw one of them, and who in it is which host: the
lower key of two is the one that asks, and 16 draws of it would do for all."""


class RefmeshSimulation:
    """The nodes and the server that run in production, one socket each."""

    name = "refmesh"
    overlays: Sequence[str] = ("refmesh", "refmesh-tap")
    techniques: Sequence[str] = TRAVERSALS
    guesses_both = False  # `punching.plan` opens and tries no random port there

    def birthday_ports(self, within_s: float, delays: Delays) -> tuple[int, tuple[int, ...]]:
        """How many ports are open at a time, and how many are tried by then: rounds of a fixed number, paced.

        On links that lose nothing. Where a packet takes more than 100 ms from one host by the server to the other,
        rounds begin later than is said here: both then begin a session, and plain checks start anew.
        """
        found = (
            _tries(within_s - first_s, by_server_s, delays.first_s + delays.second_s)
            for first_s, by_server_s in _first_shots(delays)
        )
        return punching.BIRTHDAY_SOCKETS, tuple(found)

    def network(
        self, internet: Internet, hosts: Sequence[Host], rng: random.Random, abilities: Abilities, crypto: Crypto
    ) -> RefmeshNetwork:
        """Start the server, and give each host its node."""
        network = _network(len(hosts), crypto, rng.randrange(NETWORKS))
        names = [_name(member) for member in range(len(hosts))]
        rng.shuffle(names)
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
        return RefmeshNetwork(mesh, hosts, names)


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


def _first_shots(delays: Delays) -> Iterator[tuple[float, float]]:
    """Yield when random ports are first tried, and how long a packet takes by the server, for each way it may come.

    Either host may be the last to start, either asks (whose key is the lower one), and either is the one that tries.
    """
    to_server = [delays.first_s + delays.server_s, delays.second_s + delays.server_s]
    by_server_s = sum(to_server)
    tried_s = 2 * by_server_s + plain_checks_s(2 * by_server_s)  # the session comes up by the server
    waits = math.ceil(max(0.0, tried_s - punching.START_AFTER_S) / TURN_S - 1e-9)
    for last_s, asking_s in itertools.product(to_server, repeat=2):
        # The last one shakes hands with the server and says hello, of which the server tells both.
        measures_s = 3 * last_s + asking_s + punching.START_AFTER_S + waits * TURN_S
        # Both measure, one after the other; the asking PUNCH goes one way, and the answer back for who has asked.
        answers_s = measures_s + 3 * by_server_s + punching.REPEAT_S
        yield from ((answers_s, by_server_s), (answers_s + by_server_s, by_server_s))


def _tries(left_s: float, by_server_s: float, between_s: float) -> int:
    """Return how many ports are tried in time, of rounds of which the first one's shots begin `left_s` before."""
    left_s -= 3 * between_s  # there, a check back, and its answer
    tries = 0
    for _ in range(punching.MAX_SHOTS // punching.BIRTHDAY_TRIES):
        bursts = max(0, min(BURSTS, math.floor(left_s / punching.BURST_S) + 1))
        tries += min(punching.BIRTHDAY_TRIES, bursts * punching.TRIES_PER_BURST)
        left_s -= SHOOTING_S + punching.SETTLE_S + 4 * by_server_s
    return tries


class RefmeshNetwork:
    """One network."""

    def __init__(self, mesh: Mesh, hosts: Sequence[Host], names: Sequence[str]) -> None:
        """`names` are those of the hosts, in order, in the mesh's network."""
        self.mesh = mesh
        self._names = list(names)
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
