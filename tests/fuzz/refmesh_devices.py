"""A node's driver between its device and its sockets: any packet from its host, any sealed packet from a peer.

    python tests/fuzz/refmesh_devices.py [--count 1000000] [--seed 1]      exits 1 at the first violation

Two nodes with all that runs once a packet (`driver/datapath.py` and what is under it), joined by sockets in memory that
join datagrams as the kernel does, and devices in memory that look at what is written. What must hold: no exception; a
device is given well-formed packets of the peer alone, with data as the peer's host sent it, and checksums that are
right where they were and wrong where they were wrong; what is ordinary comes out once; memory is bounded.
"""

from __future__ import annotations

import random
import sys
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from refmesh_command import command
from refmesh_ends import ENDPOINTS, End, flush, scene_of
from refmesh_inner import Inner, good_tcp, good_udp, hostile, hostile_read, series

from overlays.refmesh.core import rows_loader
from overlays.refmesh.core.offload import PLAIN_HEADER
from overlays.refmesh.wire import control, messages

SCENE = 20_000
MAX_GROWTH = 8 << 20
STEP_S = 0.0002


class Fuzz:
    """One scene: what the hosts send, and what `b` sends that no host has sent."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now, self.ends = scene_of(seed)
        self.layer_2 = seed % 5 == 4
        self.inputs = 0
        """Reads of devices and sealed messages that were tried."""

    def reads(self, end: End, other: End) -> list[Inner]:
        """Return what a host sends at once."""
        rng, made = self.rng, []
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            kind = rng.randrange(8)
            versions = rng.choice(list(zip(end.addresses, other.addresses, strict=True)))
            if kind < 2:
                made.append(good_udp(*versions, rng))
            elif kind < 4:
                made.append(good_tcp(*versions, rng))
            elif kind == 4:
                made.append(good_tcp(*versions, rng, bad_sum=True))
            else:
                strange = rng.choice((versions[1], versions[1], rng.randbytes(len(versions[1])), versions[0]))
                made.append(hostile_read(versions[0], strange, rng))
        if self.layer_2:
            mac = rng.choice((b"\2" + bytes(5), b"\2" + rng.randbytes(5), b"\xff" * 6))
            kind = rng.choice((b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00", rng.randbytes(2)))
            made = [Inner(r.data[:10] + mac + b"\2" + rng.randbytes(5) + kind + r.data[10:]) for r in made]
            made = [Inner(r.data[: rng.choice((65559, rng.randrange(10, 30)))]) for r in made]
        return made

    def sent_by_host(self) -> str | None:
        """Let one host send; returns what is wrong with what comes out."""
        end, other = self.rng.sample(self.ends, 2)
        reads = self.reads(end, other)
        before = other.device.octets
        other.device.packets.clear()
        end.device.waiting += [inner.data for inner in reads]
        self.inputs += len(reads)
        while end.device.waiting:
            end.datapath.on_tun(self.now)
        flush(self.ends, self.rng, self.now)
        if self.layer_2:
            return None
        for inner in reads:
            if inner.udp and other.device.packets.count(inner.udp) != 1:
                count = other.device.packets.count(inner.udp)
                return f"{inner.udp.hex()} came out {count} times"
        wanted = sum(inner.octets for inner in reads)
        if other.device.octets - before != wanted:
            return f"{other.device.octets - before} octets of TCP came out, not {wanted}"
        return None

    def sealed_by_peer(self) -> None:
        """Let `b` send sealed packets of any kind, together as the kernel joins them, in order or not."""
        a, b = self.ends
        rng, keypair = self.rng, b.peer.session.current
        if keypair is None:
            return
        size = rng.choice((48, 96, 600, 1024, 1392))
        inner = [hostile(b.addresses[0], a.addresses[0], rng) for _ in range(rng.randrange(1, 9))]
        inner = rng.choice((inner, inner[:1] * len(inner)))
        if rng.randrange(2):
            inner = [packet[:2] + size.to_bytes(2, "big") + packet[4:] for packet in inner]
        plain = [(packet + bytes(size))[:size] for packet in inner]
        if not rng.randrange(4):
            plain = [control.frame(control.ETHERNET, packet[: size - 4]) for packet in plain]
        if not rng.randrange(3):
            plain = series(b.addresses[0], a.addresses[0], rng)
        datagrams = keypair.seal_many(plain)
        if not rng.randrange(4):
            head = messages.RELAY_HEAD.pack(messages.RELAY, rng.randrange(1 << 32))
            datagrams = [head + datagram for datagram in datagrams]
        for change in (rng.shuffle, lambda some: some.append(some[0]), lambda some: some.pop()):
            if not rng.randrange(6):
                change(datagrams)
        if datagrams and not rng.randrange(4):
            datagrams[-1] = datagrams[-1][: rng.randrange(len(datagrams[-1]) + 1)]
        self.inputs += len(datagrams)
        if datagrams:
            a.arrive([datagrams], ENDPOINTS["b"], rng, self.now)
        flush(self.ends, rng, self.now)

    def narrow(self) -> None:
        """Let a path become narrow, or wide again."""
        end, other = self.rng.sample(self.ends, 2)
        if self.rng.randrange(6):
            endpoint = other.peer_path_of(end)
            end.node.refused(endpoint, self.rng.choice((0, 548, 600, 1200, 1300, 1400)), self.now)
        else:
            end.peer.mtus.clear()
            end.peer.limit = 1 << 16

    def step(self, number: int) -> str | None:
        """Do one thing; returns what is wrong."""
        self.now += STEP_S
        wrong = None
        kind = self.rng.randrange(40)
        if kind == 0:
            self.narrow()
        elif kind < 10:
            self.sealed_by_peer()
        else:
            wrong = self.sent_by_host()
        if not number % 16:
            for end in self.ends:
                end.node.tick(self.now)
            flush(self.ends, self.rng, self.now)
        faults = sum(end.node.guard.count for end in self.ends)
        said = [event for end in self.ends for event in end.node.outbox.events if "fault" in event]
        return (
            wrong
            or next((end.device.wrong for end in self.ends if end.device.wrong), None)
            or (f"{faults} faults: {said}" if faults else None)
        )


def scene(fuzz: Fuzz, seed: int, count: int) -> str | None:
    """Try `count` inputs in one scene; returns what went wrong, None when nothing did."""
    number = 0
    while fuzz.inputs < count:
        try:
            wrong = fuzz.step(number)
        except Exception as error:  # whatever it is, it should not be
            return f"seed {seed}, step {number}: {type(error).__name__}: {error}"
        if wrong:
            return f"seed {seed}, step {number}: {wrong}"
        number += 1
    if not fuzz.layer_2:
        for end, other in (fuzz.ends, fuzz.ends[::-1]):
            inner = good_udp(end.addresses[0], other.addresses[0], fuzz.rng)
            other.device.packets.clear()
            end.device.waiting.append(PLAIN_HEADER + inner.udp)
            end.datapath.on_tun(fuzz.now)
            flush(fuzz.ends, fuzz.rng, fuzz.now)
            if inner.udp not in other.device.packets:
                return f"seed {seed}: afterwards nothing comes through any more"
    return None


def attack(count: int, seed: int) -> str | None:
    """Try `count` inputs in scenes of 20,000; returns what went wrong, None when nothing did."""
    while rows_loader.large() is None:
        rows_loader._threads[0].join()
    first = 0
    for number in range(-(-count // SCENE)):
        wrong = scene(Fuzz(seed + number), seed + number, min(SCENE, count - number * SCENE))
        if wrong:
            return wrong
        if number == 5:
            tracemalloc.start()
        elif number == 10:
            first = tracemalloc.get_traced_memory()[0]
        elif number > 10 and tracemalloc.get_traced_memory()[0] - first > MAX_GROWTH:
            return f"{tracemalloc.get_traced_memory()[0] - first} octets more memory after {number} scenes"
    return None


if __name__ == "__main__":
    command(__doc__, lambda count, seed: (attack(count, seed), f"{count} reads and sealed messages"))
