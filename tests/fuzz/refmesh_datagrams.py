"""Throws datagrams at a refmesh node and a server that are in the middle of things: forged, cut, repeated, random.

    python tests/fuzz/refmesh_datagrams.py [--count 1000000] [--seed 1]     exits 1 at the first violation
    python tests/fuzz/refmesh_datagrams.py --record                         writes the corpus again

What must hold, whatever comes: no exception; no answer but cookie replies and STUN answers (to strangers), and nothing
relayed for strangers; no session, key, path, peer or route changed; memory does not grow. The corpus holds a genuine
message of every kind; what is thrown are those of *this* run's sessions, mutated, and pure noise.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from harness.simulation.internet import Packet
from overlays.refmesh.core.node import Node
from overlays.refmesh.server.engine import Server
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire import messages, stun
from overlays.refmesh.wire.control import Endpoint

CORPUS = Path(__file__).with_name("corpus")
STRANGER: Endpoint = ("66.6.6.6", 6666)
MAX_GROWTH = 2 << 20
NAMES = {1: "initiation", 2: "response", 3: "cookie", 4: "transport", 5: "introduction", 6: "relay", 7: "bulk"}


class Recorder(World):
    """A world that keeps every datagram that is sent in it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.sent: list[tuple[bytes, Endpoint, Endpoint]] = []
        super().__init__(*args, **options)

    def loses(self, packet: Packet) -> bool:
        self.sent.append((packet.payload, tuple(packet.source), tuple(packet.destination)))
        return super().loses(packet)


def scene(seed: int) -> Recorder:
    """Two nodes with a session, a server, and some traffic."""
    world = Recorder({"a": None, "b": "symmetric"}, seed=seed, servers=1)
    world.start_all()
    world.run(3.0)
    for number in range(20):
        world.send("a", "b", bytes(number * 60))
        world.send("b", "a", bytes(number))
    world.run(1.0)
    return world


def record() -> None:
    """Write one genuine message of each kind to the corpus."""
    CORPUS.mkdir(exist_ok=True)
    for datagram, _, _ in scene(1).sent:
        name = "stun" if stun.is_stun(datagram) else NAMES[messages.message_type(datagram)]
        path = CORPUS / f"{name}-{len(datagram)}.bin"
        if len(list(CORPUS.glob(f"{name}-*.bin"))) < 6 and not path.exists():
            path.write_bytes(datagram)


def node_state(node: Node) -> Any:
    """All that a stranger must not change."""
    return [
        (
            peer.name,
            peer.path,
            peer.rx_bytes,
            peer.tx_bytes,
            session.current and (session.current.local_index, session.current.counter, session.current.window.highest),
            [pair.local_index for pair in session.unconfirmed],
            session.last_received_s,
            session._last_timestamp,
            sorted(map(str, peer.finder.checks)) if peer.finder else None,
        )
        for peer in [*node.peers.by_key.values(), *(link.peer for link in node.servers.links)]
        for session in [peer.session]
    ]


def server_state(server: Server) -> Any:
    """Return the same for a server."""
    return [
        (
            registration.certificate.name,
            registration.endpoint,
            registration.seen_s,
            registration.relayed_bytes,
            registration.session.current and registration.session.current.window.highest,
            registration.session._last_timestamp,
        )
        for registration in server.registry.by_key.values()
    ] + [server.herald.log.revision, len(server.tunnel.sessions), len(server.joined)]


def mutations(genuine: list[bytes], rng: random.Random) -> Iterator[bytes]:
    """Datagrams without end."""
    while True:
        kind = rng.randrange(8)
        if kind == 0:
            yield rng.randbytes(rng.randrange(0, 200))
            continue
        datagram = bytearray(rng.choice(genuine))
        if kind == 1:
            yield bytes(datagram)  # a replay
            continue
        if kind == 2:
            del datagram[rng.randrange(len(datagram) + 1) :]
        elif kind == 3:
            datagram += rng.randbytes(rng.randrange(1, 40))
        elif kind == 4:
            datagram[: messages.HEADER.size] = messages.HEADER.pack(rng.randrange(0, 10))
            datagram[-1] ^= 1
        elif kind == 5 and len(datagram) > 16:
            start = rng.randrange(4, len(datagram))
            datagram[start:] = rng.randbytes(len(datagram) - start)
        else:
            for _ in range(rng.randrange(1, 4)):
                datagram[rng.randrange(len(datagram))] ^= 1 << rng.randrange(8)
        yield bytes(datagram)


def allowed_answer(datagram: bytes) -> bool:
    """Return what may be said to a stranger."""
    return messages.message_type(datagram) == messages.COOKIE_REPLY or stun.is_stun(datagram)


def attack(count: int, seed: int) -> str | None:  # noqa: PLR0911 - one `return` a violation
    """Throws `count` datagrams; returns what went wrong, None when nothing did."""
    world = scene(seed)
    rng = random.Random(seed)
    node, server = world.nodes["a"], world.servers["s0"]
    assert server is not None
    genuine = list({datagram for datagram, _, _ in world.sent})
    genuine += [path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))]
    if len(genuine) < 20:
        return "the corpus is missing"
    before = node_state(node), server_state(server)
    now = world.now
    baseline = 0
    for number, datagram in zip(range(count), mutations(genuine, rng), strict=False):
        now += 1e-5
        try:
            node.ingress.receive(datagram, STRANGER, now)
            server.receive(datagram, STRANGER, now)
            if datagram:
                node.ingress.receive_run([datagram, datagram], STRANGER, now)
        except Exception as error:  # whatever it is, it should not be
            return f"datagram {number} ({datagram.hex()}): {type(error).__name__}: {error}"
        for said, to in (*node.outbox.main, *server.outlet.datagrams):
            if not allowed_answer(said) or to != STRANGER:
                return f"datagram {number} ({datagram.hex()}) was answered with {said.hex()} to {to}"
        if node.plane.to_tun or node.plane.large or node.outbox.fresh or server.outlet.to_tun:
            return f"datagram {number} ({datagram.hex()}) got through"
        node.outbox.main.clear()
        server.outlet.datagrams.clear()
        node.outbox.events.clear()
        server.outlet.events.clear()
        if number == min(20_000, count // 4):
            tracemalloc.start()
            baseline = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - baseline
    tracemalloc.stop()
    if grown > MAX_GROWTH:
        return f"{grown} octets more memory after {count} datagrams"
    if (node_state(node), server_state(server)) != before:
        return f"state changed: {before} became {(node_state(node), server_state(server))}"
    for src, dst in (("a", "b"), ("b", "a")):
        world.now = max(world.now, now)
        world.send(src, dst, b"still working")
        world.run(1.0)
        if not world.received[dst][-1].endswith(b"still working"):
            return f"afterwards nothing goes from {src} to {dst} any more"
    return None


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.record:
        record()
        return
    started = time.monotonic()
    wrong = attack(options.count, options.seed)
    print(
        wrong or f"{options.count} datagrams in {time.monotonic() - started:.1f} s: nothing happened, as it should be"
    )
    sys.exit(wrong is not None)


if __name__ == "__main__":
    main()
