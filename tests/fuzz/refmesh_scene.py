"""One world with hostile members, relays and servers: how they say what they say, and what must hold whatever it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from refmesh_hostility import peer, registration, sealed
from refmesh_sayings import Sayings

from overlays.refmesh.core import packets
from overlays.refmesh.core.connectivity import MAX_CANDIDATES, UNPROVED_BURST, UNPROVED_PER_S
from overlays.refmesh.core.coordination import MAX_SPANS, WINDOW
from overlays.refmesh.core.keypair import Keypair
from overlays.refmesh.core.node import Node
from overlays.refmesh.core.puncher import MAX_LOCALS
from overlays.refmesh.core.punching import MAX_SHOTS, PAUSE_S
from overlays.refmesh.core.session import Session
from overlays.refmesh.server.engine import Server
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.control import Endpoint

A, B, S = ("45.0.0.1", 40000), ("45.0.1.1", 40000), ("9.9.0.9", 7447)
SAID = 40
NAMED, SEEN = ("66.7.7.7", "10.9."), "66.7.7.8"
"""Hosts that members and servers name as candidates, and one where the server says that it has seen a member."""
SETTLES_S = 12.0
"""After a sleep all find each other again within so long, in the simulated world."""


class Scene(Sayings):
    """Three members and a server; `b` is hostile, and so is the server where it is its turn to be."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.said: deque[tuple[bytes, Endpoint]] = deque(maxlen=SAID)
        """What `b` would say if it were honest: it says that as well, from where it likes."""
        self.began_s, self.named, self.shots = self.world.now, 0, 0
        """Since when, and how often, the node has said something to hosts that were only named to it, and to `SEEN`."""

    # --- how it is said

    def honestly(self) -> None:
        """Say what an honest `b` would (answers to checks, to handshakes), from wherever: late, twice, to the wrong."""
        if not self.said:
            return
        datagram, to = self.rng.choice((self.said[-1], self.rng.choice(self.said)))
        source = self.rng.choice((B, B, self.stranger()))
        self.note(source, datagram)
        if to == A or not self.rng.randrange(20):
            self.world.nodes["a"].ingress.receive(datagram, source, self.world.now)
        else:
            self.server.receive(datagram, source, self.world.now)

    def shake_hands(self) -> None:
        """Begin a handshake of `b` with node or server, from wherever; `hear` has it finished from wherever."""
        b, server = self.world.nodes["b"], self.rng.randrange(2)
        session = b.servers.links[0].peer.session if server else peer(self.world, "b", "a").session
        datagram, source = b.tunnel.initiate(session, self.world.now), self.rng.choice((B, self.stranger()))
        self.note(source, datagram)
        if server:
            self.server.receive(datagram, source, self.world.now)
        else:
            self.world.nodes["a"].ingress.receive(datagram, source, self.world.now)

    def hear(self, datagrams: Iterable[tuple[bytes, Endpoint]], source: Endpoint) -> None:
        """Give `b` what was sent to it, and keep what it has to say to that."""
        b, now = self.world.nodes["b"], self.world.now
        for datagram, to in datagrams:
            if to == B:
                b.ingress.receive(datagram, source, now)
        if not self.rng.randrange(16):
            b.tick(now)
        self.said += [(datagram, to) for datagram, to in b.outbox.main if to in (A, S)]
        for full in (b.outbox.main, b.outbox.fresh, b.outbox.probes, b.outbox.events, b.plane.to_tun, b.plane.large):
            full.clear()
        b.puncher.closed.clear()

    def sealed(self, session: Session) -> list[bytes]:
        """Return what somebody says, well sealed; now and then without the padding that it should have."""
        bare = not self.rng.randrange(2) and session.current is not None
        return sealed(session, self.payload(), self.world.now, bare=bare) or []

    def sleep(self) -> None:
        """Let all sleep: for so long that keys are to be renewed, or too old, or that members are taken for gone."""
        self.world.now += self.rng.choice((1.0, 16.0, 30.0, 75.0, 125.0, 185.0, 200.0))

    def settle(self) -> None:
        """Let those who are honest, and `b` as well for once, find each other again."""
        self.world.run(SETTLES_S)

    def member_to_server(self) -> None:
        link = self.world.nodes["b"].servers.links[0]
        genuine = registration(self.world, "b").endpoint
        assert genuine is not None
        source = genuine if self.rng.randrange(10) else self.stranger()
        for datagram in self.sealed(link.peer.session):
            self.note(source, datagram)
            if self.rng.randrange(5):
                self.server.receive(datagram, source, self.world.now)
            else:
                self.server.receive_run([datagram, datagram], source, self.world.now)
        if not self.rng.randrange(10):
            number = self.rng.choice([r.number for r in self.server.registry.by_key.values()] + [7])
            relayed = messages.RELAY_HEAD.pack(messages.RELAY, number) + self.rng.randbytes(self.rng.randrange(60))
            self.note(source, relayed)
            self.server.receive(relayed[: self.rng.randrange(len(relayed) + 1)], source, self.world.now)

    def member_to_member(self) -> None:
        to_a = peer(self.world, "b", "a").session
        source = B if self.rng.randrange(10) else self.stranger()
        keypair = to_a.current
        if keypair is None:
            return
        if not self.rng.randrange(5):
            self.chunks(keypair, source)
            return
        for datagram in self.sealed(to_a):
            self.note(source, datagram)
            self.world.nodes["a"].ingress.receive(datagram, source, self.world.now)

    def chunks(self, keypair: Keypair, source: Endpoint) -> None:
        """Bulk chunks, or transport messages, of one size, with whatever inside; the row way has them as well."""
        rng = self.rng
        size, kind = rng.choice((0, 7, 48, 600, 900)), rng.choice((messages.BULK, messages.BULK, messages.TRANSPORT))
        head = bytes((0x45, 0)) + bytes(18) + bytes(12) + bytes((0x50,)) + bytes(7)
        start, length = rng.choice((20, 20, 40, 3)), rng.choice((40, 40, 60, 255, 0))
        datagrams = []
        count = rng.randrange(1, 7)
        for number in range(count):
            mark = number * size | ((1 << 31) if number == count - 1 and rng.randrange(2) else 0)
            plain = mark.to_bytes(4, "big") + bytes((length, start)) + size.to_bytes(2, "big") + head + bytes(size)
            if not rng.randrange(6):
                plain = rng.randbytes(len(plain))
            if number == count - 1:
                plain = plain[: rng.randrange(len(plain) + 1)]
            top = messages.TRANSPORT_HEAD.pack(kind, keypair.remote_index, keypair.counter)
            keypair.counter += 1
            cipher = keypair.bulk[0].encrypt if kind == messages.BULK else keypair.encrypt
            datagrams.append(top + cipher(bytes(4) + top[8:], plain, None))
        if not rng.randrange(4):
            rng.shuffle(datagrams)
        ingress, now = self.world.nodes["a"].ingress, self.world.now
        for datagram in datagrams:
            self.note(source, datagram)
        same = len({len(datagram) for datagram in datagrams[:-1]}) <= 1 and len(datagrams[-1]) <= len(datagrams[0])
        if not same or not ingress.receive_rows(
            memoryview(bytearray(b"".join(datagrams))), len(datagrams[0]), source, now
        ):
            ingress.receive_run(datagrams, source, now)

    def server_to_member(self) -> None:
        node, session = self.world.nodes["a"], registration(self.world, "a").session
        source = node.servers.links[0].udp if self.rng.randrange(10) else self.stranger()
        for datagram in self.sealed(session):
            self.note(source, datagram)
            node.ingress.receive(datagram, source, self.world.now)

    def relay_to_member(self) -> None:
        """Do what a relay can with what it carries: repeat, cut, turn, give to another, and invent."""
        node, rng = self.world.nodes["a"], self.rng
        sealed = peer(self.world, "c", "a").session.sealed([b""], self.world.now) or [b""]
        inner = bytearray(rng.choice((sealed[0], rng.randbytes(rng.randrange(80)))))
        if inner and rng.randrange(2):
            inner[rng.randrange(len(inner))] ^= 1 << rng.randrange(8)
        number = rng.choice(
            (*peer(self.world, "a", "c").numbers.values(), *peer(self.world, "a", "b").numbers.values(), 9)
        )
        relayed = messages.RELAY_HEAD.pack(messages.RELAY, number) + bytes(inner)
        relayed = relayed[: rng.randrange(len(relayed) + 1)] if not rng.randrange(8) else relayed
        node.ingress.receive(relayed, node.servers.links[0].udp, self.world.now)
        if relayed:
            node.ingress.receive_run([relayed] * 3, node.servers.links[0].udp, self.world.now)

    def stranger(self) -> Endpoint:
        """Return an address that is only written on datagrams: a new one, or one of a few; nothing is proved there."""
        host = self.rng.choice((1, 2, self.rng.randrange(1 << 16)))
        return (f"66.6.{host >> 8}.{host & 255}", 6)

    def note(self, source: Endpoint, datagram: bytes) -> None:
        self.came[source] += len(datagram)

    # --- what must hold

    def drain(self) -> str | None:
        """Take what has been said; return what is wrong with it."""
        node, server = self.world.nodes["a"], self.server
        others = ((said, to) for _, said, to in (*node.outbox.fresh, *node.outbox.probes))
        from_node, from_server = [*node.outbox.main, *others], server.outlet.datagrams[:]
        wrong = self.overspent(from_node, from_server)
        if wrong:
            return wrong
        for packet in node.plane.to_tun:
            if packets.source(packet) != self.world.overlay_address("b"):
                return f"a packet of {packets.source(packet)} got through"
        for buffers in node.plane.large:
            if packets.source(bytes(buffers[1])) != self.world.overlay_address("b"):
                return "a large packet with another's address got through"
        if any(host.startswith("66.6.") for host, _ in self.believed()):
            return f"an address that was only written on datagrams counts as proved: {self.believed()}"
        for full in (node.outbox.main, node.outbox.fresh, node.outbox.probes, node.outbox.events):
            full.clear()
        for full in (node.plane.to_tun, node.plane.large, node.puncher.closed):
            full.clear()
        for full in (server.outlet.datagrams, server.outlet.to_tun, server.outlet.events):
            full.clear()
        self.hear(from_node, A)
        self.hear(from_server, S)
        return None

    def overspent(
        self, from_node: Iterable[tuple[bytes, Endpoint]], from_server: Iterable[tuple[bytes, Endpoint]]
    ) -> str | None:
        """Return what is too much for hosts that nobody has proved to be at."""
        for said, to in (*from_node, *from_server):
            if to[0].startswith("66.6."):
                self.went[to] += len(said)
                if self.went[to] > 3 * self.came[to]:
                    return f"{self.went[to]} octets to {to}, from which {self.came[to]} came"
        self.named += sum(to[0].startswith(NAMED) for _, to in from_node)
        self.shots += sum(to[0] == SEEN for _, to in from_node)
        seconds = self.world.now - self.began_s
        checks = 2 * (UNPROVED_BURST + UNPROVED_PER_S * seconds)  # of either peer
        if self.named > checks or self.shots > checks + 2 * MAX_SHOTS * (1 + seconds / PAUSE_S):
            return f"{self.named} and {self.shots} datagrams to hosts that were only named, or seen"
        if any(to[0].startswith((*NAMED, SEEN)) for _, to in from_server):
            return "the server has said something to a host that was only named"
        return None

    def believed(self) -> list[Endpoint]:
        """Where node and server take somebody to receive. `b` gets nothing at addresses that it has only written."""
        b = peer(self.world, "a", "b")
        assert b.finder is not None
        proved = [path.endpoint for path, check in b.finder.checks.items() if check.proved or check.valid]
        used = [b.path.endpoint] if b.path is not None else []
        return proved + used + [r.endpoint for r in self.server.registry.by_key.values() if r.endpoint is not None]

    def wrong(self) -> str | None:
        """Return what is wrong with the state of node and server."""
        node, server = self.world.nodes["a"], self.server
        faults = node.guard.count + server.guard.count
        if faults:
            return f"{faults} faults were caught"
        known = {"b": "b", "c": "c"}
        if {p.name: p.certificate and p.certificate.name for p in node.peers.by_key.values()} != known:
            return f"the node knows {[p.name for p in node.peers.by_key.values()]}"
        if {r.certificate.text for r in server.registry.by_key.values()} != set(self.texts):
            return "the server's members are not those that are certified"
        for name in "bc":
            address = self.world.overlay_address(name)
            if node.plane.routes.find(bytes(map(int, address.split(".")))) is not peer(self.world, "a", name):
                return f"the address of {name} leads elsewhere"
            if server.registry.by_address[address].certificate.name != name:
                return f"the address of {name} is another's at the server"
        return self.unbounded(node, server)

    @staticmethod
    def unbounded(node: Node, server: Server) -> str | None:
        """Return the name of a table that has grown out of its bounds."""
        link, b = node.servers.links[0], next(p for p in node.peers.by_key.values() if p.name == "b")
        assert b.finder is not None
        sizes = {
            "checks": (len(b.finder.checks), MAX_CANDIDATES + 4),
            "sockets": (len(node.puncher._open), MAX_LOCALS),
            "spans": (len(link.have), MAX_SPANS),
            "told": (len(link.told), 3),
            "numbers": (len(link.by_number), 4),
            "keypairs": (len(node.tunnel._keypairs) + len(server.tunnel._keypairs), 80),
            "log": (len(server.herald.log._entries), 8),
            "flight": (max(len(r.flight) for r in server.registry.by_key.values()), WINDOW),
            "sessions": (len(server.tunnel.sessions), 3),
        }
        return next((f"{name}: {size} of {most}" for name, (size, most) in sizes.items() if size > most), None)
