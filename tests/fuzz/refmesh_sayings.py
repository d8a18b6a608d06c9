"""What hostile members and servers say: control frames with odd fields, packets, frames and noise."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from refmesh_hostility import peer

from overlays.refmesh.server.engine import Server
from overlays.refmesh.simulation.world import World, ip_packet
from overlays.refmesh.wire import control
from overlays.refmesh.wire.control import Endpoint

ODD: list[Any] = [
    None, True, False, -1, 0, 1, 2, 7, 1 << 31, 1 << 32, 1 << 40, 1 << 64, 1.5, "", "a", "7", "é", [], [[]], {},
    "45.0.1.1", "10.9.9.9", "66.7.7.7", "fe80::1", "::1", "0.0.0.0", ["tls", 1], [0, 5], [[0, 5]], [[5, 0]],
    ["host", "10.9.9.9", 5], [["host", "10.9.9.9", 5]], [["host", 5, 5], ["host", "66.7.7.7", 9]],
]  # fmt: skip
ODD_TEXT = ["1e999", "NaN", "-Infinity", "[" * 500, "9" * 400, '{"a":' * 50, "\udcff"]


def payload(rng: random.Random, addresses: Sequence[str], json_body: Callable[[], tuple[int, bytes]]) -> bytes:
    """Return the inside of a message: control frames with odd fields, packets between addresses, frames, noise."""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 200))
    if kind == 1:
        return bytes((rng.choice((0x45, 0x46, 0x4F, 0x60, 0x41)),)) + rng.randbytes(rng.randrange(0, 120))
    if kind == 2:
        source, target = rng.choice(addresses), rng.choice(addresses)
        return ip_packet(source, target, rng.randbytes(rng.randrange(0, 60)), protocol=rng.choice((1, 6, 17)))
    if kind == 3:
        body = rng.randbytes(rng.choice((0, 7, 8, 9, rng.randrange(80))))
        return control.frame(rng.choice((control.PING, control.PONG, control.ETHERNET, rng.randrange(256))), body)
    if kind == 4:
        frame = bytearray(control.frame(rng.randrange(1, 9), rng.randbytes(20), rng.randrange(256)))
        frame[2:4] = rng.randbytes(2)
        return bytes(frame)
    return control.frame(*json_body())


def odd(rng: random.Random, body: dict[str, Any]) -> bytes:
    """Return a body of JSON, some of whose fields are odd."""
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        body[rng.choice(list(body))] = rng.choice(ODD)
    text = json.dumps(body)
    if not rng.randrange(8):
        field = json.dumps(body | {rng.choice(list(body)): "@@"})
        text = field.replace('"@@"', rng.choice(ODD_TEXT))
    data = text.encode("utf-8", "surrogateescape")
    return data[: rng.randrange(len(data))] if not rng.randrange(16) else data


class Sayings:
    """What they say in one world, whose state they know: so that much of it is nearly right."""

    def __init__(self, seed: int, world: World | None = None) -> None:
        """`world`: with members a, b and c and a server; by default a mesh."""
        self.rng = random.Random(seed)
        mode = "direct" if seed % 4 == 3 else "mesh"
        self.world = world or World({"a": None, "b": None, "c": None}, seed=seed, mode=mode)
        self.world.start_all()
        self.world.run(3.0)
        server = self.world.servers["s0"]
        assert server is not None
        self.server: Server = server
        self.came: Counter[Endpoint] = Counter()
        self.went: Counter[Endpoint] = Counter()
        self.texts = [self.world.network.certificates[name] for name in "abc"]

    def payload(self) -> bytes:
        """Return the inside of a message: control frames with odd fields, packets, frames, noise."""
        return payload(self.rng, [self.world.overlay_address(name) for name in "abc"], self.json_body)

    def json_body(self) -> tuple[int, bytes]:
        """Return a HELLO, UPDATE or PUNCH, some of whose fields are odd."""
        kind, body = self.rng.choice((self.hello, self.update, self.punch))()
        return kind, odd(self.rng, body)

    def hello(self) -> tuple[int, dict[str, Any]]:
        rng, herald = self.rng, self.server.herald
        candidates = [
            ["host", f"10.9.{rng.randrange(256)}.{rng.randrange(1, 255)}", rng.randrange(65536)] for _ in range(3)
        ]
        rev = rng.randrange(herald.log.revision + 3)
        body = {"seq": rng.randrange(9), "candidates": candidates, "direct": True, "hub": False, "rev": rev}
        have = [[rev + 2, rev + 3]] if not rng.randrange(3) else []
        return control.HELLO, body | {
            "epoch": rng.choice((herald.epoch, "")),
            "quiet": not rng.randrange(2),
            "have": have,
        }

    def update(self) -> tuple[int, dict[str, Any]]:
        rng = self.rng
        link = self.world.nodes["a"].servers.links[0]
        start = max(0, link.rev + rng.randrange(-3, 4))
        text = rng.choice(self.texts)
        if not rng.randrange(4):
            position = rng.randrange(len(text))
            text = text[:position] + rng.choice("AB-_+/=.") + text[position + 1 :]
        entry = {
            "certificate": text, "relay": rng.randrange(1, 1 << 32), "online": bool(rng.randrange(2)), "direct": True,
            "candidates": [["host", "66.7.7.7", rng.randrange(1, 65536)]], "seen": ["66.7.7.8", 7],
        }  # fmt: skip
        for _ in range(rng.choice((0, 0, 1))):
            entry[rng.choice(list(entry))] = rng.choice(ODD)
        part = {"policy": rng.randrange(4), "part": rng.randrange(3), "parts": 2, "text": "x" * rng.randrange(900)}
        return control.UPDATE, {
            "seq": link.greeting.seq, "epoch": rng.choice((link.epoch, link.epoch, link.epoch, "other")), "from": start,
            "to": start + rng.randrange(4), "you": ["45.0.0.1", 40000], "hub": bool(rng.randrange(2)),
            "entries": rng.choice(([entry], [part], [entry, part], [])),
        }  # fmt: skip

    def punch(self) -> tuple[int, dict[str, Any]]:
        rng, node = self.rng, self.world.nodes["a"]
        number = rng.choice(
            [r.number for r in self.server.registry.by_key.values()] + [peer(self.world, "a", "b").numbers[0]]
        )
        assert node
        body = {"to": number, "from": number, "n": rng.randrange(6), "ask": bool(rng.randrange(2))}
        host = rng.choice(("", "45.0.1.1", "66.7.7.8", "66.7.7.7"))
        return control.PUNCH, body | {
            "dependent": bool(rng.randrange(2)),
            "host": host,
            "ports": [rng.randrange(1, 65536)],
        }
