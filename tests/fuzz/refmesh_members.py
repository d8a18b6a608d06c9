"""A member, a relay and a server that may send anything well sealed, against honest nodes and an honest server.

    python tests/fuzz/refmesh_members.py [--count 1000000] [--seed 1]      exits 1 at the first violation

What must hold, whatever comes: no exception, not even one that the guard would have caught; nobody known who is not
certified, under the names and addresses of his certificate; nothing to our host with another's address, and nothing at
all of a server's; towards an address from which nothing was proved at most three times what came from there; tables,
memory and what is said bounded. Afterwards those who had no part in it still reach each other.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from refmesh_hostility import peer, registration
from refmesh_sayings import Sayings

from overlays.refmesh.core import packets, rows_loader
from overlays.refmesh.core.connectivity import MAX_CANDIDATES
from overlays.refmesh.core.coordination import MAX_SPANS, WINDOW
from overlays.refmesh.core.keypair import Keypair
from overlays.refmesh.core.node import Node
from overlays.refmesh.core.puncher import MAX_LOCALS
from overlays.refmesh.server.engine import Server
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.control import Endpoint

SCENE = 20_000
MAX_GROWTH = 6 << 20
STEP_S = 0.0005


class Scene(Sayings):
    """Three members and a server; `b` is hostile, and so is the server where it is its turn to be."""

    # --- how it is said

    def member_to_server(self) -> None:
        link = self.world.nodes["b"].servers.links[0]
        genuine = registration(self.world, "b").endpoint
        assert genuine is not None
        source = genuine if self.rng.randrange(10) else self.stranger()
        for datagram in link.peer.session.sealed([self.payload()], self.world.now) or ():
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
        source = ("45.0.1.1", 40000) if self.rng.randrange(10) else self.stranger()
        keypair = to_a.current
        if keypair is None:
            return
        if not self.rng.randrange(5):
            self.chunks(keypair, source)
            return
        for datagram in to_a.sealed([self.payload()], self.world.now) or ():
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
        for datagram in session.sealed([self.payload()], self.world.now) or ():
            self.note(source, datagram)
            node.ingress.receive(datagram, source, self.world.now)

    def relay_to_member(self) -> None:
        """What a relay can do with what it carries: repeat, cut, turn, give to another, and invent."""
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
        """An address that somebody writes on his datagrams; nothing is ever proved there."""
        return (f"66.6.{self.rng.randrange(1, 250)}.{self.rng.randrange(1, 250)}", self.rng.randrange(1, 9999))

    def note(self, source: Endpoint, datagram: bytes) -> None:
        self.came[source] += len(datagram)

    # --- what must hold

    def drain(self) -> str | None:
        """Takes what has been said; returns what is wrong with it."""
        node, server = self.world.nodes["a"], self.server
        for said, to in (
            *node.outbox.main,
            *((said, to) for _, said, to in node.outbox.fresh),
            *server.outlet.datagrams,
        ):
            if to[0].startswith("66.6."):
                self.went[to] += len(said)
                if self.went[to] > 3 * self.came[to]:
                    return f"{self.went[to]} octets to {to}, from which {self.came[to]} came"
        for packet in node.plane.to_tun:
            if packets.source(packet) != self.world.overlay_address("b"):
                return f"a packet of {packets.source(packet)} got through"
        for buffers in node.plane.large:
            if packets.source(bytes(buffers[1])) != self.world.overlay_address("b"):
                return "a large packet with another's address got through"
        for full in (node.outbox.main, node.outbox.fresh, node.outbox.events, node.plane.to_tun, node.plane.large):
            full.clear()
        for full in (server.outlet.datagrams, server.outlet.to_tun, server.outlet.events):
            full.clear()
        node.puncher.closed.clear()
        return None

    def wrong(self) -> str | None:
        """What is wrong with the state of node and server."""
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
        """The name of a table that has grown out of its bounds."""
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


def scene(seed: int, count: int) -> str | None:
    """Says `count` things to one scene; returns what went wrong, None when nothing did."""
    it = Scene(seed)
    ways = [it.member_to_server, it.member_to_member, it.server_to_member, it.relay_to_member]
    for number in range(count):
        it.world.now += STEP_S
        state = it.rng.getstate() if not number % 1000 else None
        try:
            it.rng.choice(ways)()
            if not number % 8:
                it.world.nodes["a"].tick(it.world.now)
                it.server.tick(it.world.now)
        except Exception as error:  # whatever it is, it should not be
            return f"seed {seed}, message {number}: {type(error).__name__}: {error}"
        wrong = it.drain() or (it.wrong() if state is not None else None)
        if wrong:
            return f"seed {seed}, message {number}: {wrong}"
    world = it.world
    for src, dst in (("a", "c"), ("c", "a")):
        world.received[dst].clear()
        # Its checks were swallowed with all else that `drain` takes, so it may first have to find its paths again.
        for _ in range(16):
            world.send(src, dst, b"still working")
            world.run(0.5)
        if not any(packet.endswith(b"still working") for packet in world.received[dst]):
            return f"seed {seed}: afterwards nothing goes from {src} to {dst} any more"
    return it.wrong()


def attack(count: int, seed: int) -> str | None:
    """Says `count` things in scenes of 20,000; returns what went wrong, None when nothing did."""
    while rows_loader.large() is None:
        rows_loader._threads[0].join()
    first = 0
    for number in range(-(-count // SCENE)):
        wrong = scene(seed + number, min(SCENE, count - number * SCENE))
        if wrong:
            return wrong
        if number == 1:
            tracemalloc.start()
        elif number == 2:
            first = tracemalloc.get_traced_memory()[0]
        elif number > 2 and tracemalloc.get_traced_memory()[0] - first > MAX_GROWTH:
            return f"{tracemalloc.get_traced_memory()[0] - first} octets more memory after {number} scenes"
    return None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    wrong = attack(options.count, options.seed)
    print(
        wrong or f"{options.count} sealed messages in {time.monotonic() - started:.1f} s: all that must hold has held"
    )
    sys.exit(wrong is not None)


if __name__ == "__main__":
    main()
