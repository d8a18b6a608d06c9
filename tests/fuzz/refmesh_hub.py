"""A member of a hub that may send anything well sealed, and a hub that may, against the hub and its other members.

    python tests/fuzz/refmesh_hub.py [--count 1000000] [--seed 1]      exits 1 at the first violation

The rules let `a` exchange everything with `b` and `c`, let `b` reach UDP ports 1 to 1000 of the hub's own host, and
nothing else; every other scene is of layer 2. `b` is hostile, and so is the hub where it is its turn to be. Each of the
two roles says `count` messages.

What must hold, whatever comes: no exception, not even one that the guard would have caught; what a member or the hub's
host is given bears a certified address of its sender, and passes the rules; a frame goes to those alone with whom its
sender may exchange all, once to each; the switch learns at most 128 addresses of a member, none of which is another's;
towards an address from which nothing was proved at most three times what came from there; memory is bounded.
Afterwards the others still reach each other, and what is for one of them goes to no other.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from refmesh_command import command, each_role
from refmesh_hostility import registration, sealed
from refmesh_sayings import Sayings

from overlays.refmesh import credentials
from overlays.refmesh.core import packets
from overlays.refmesh.core.session import Session
from overlays.refmesh.core.switch import MAX_OF_ONE, senders
from overlays.refmesh.network import Site, make_network
from overlays.refmesh.server.hub import Hub
from overlays.refmesh.server.registry import Registration
from overlays.refmesh.simulation.world import UNIX_S, World, ip_packet
from overlays.refmesh.wire import control
from overlays.refmesh.wire.control import Endpoint

SCENE = 20_000
STEP_S = 0.0005
BROADCAST = b"\xff" * 6
MAC = {name: bytes((2, 0, 0, 0, 0, number)) for number, name in enumerate("abc", 1)}
AT: dict[str, Endpoint] = {name: (f"45.0.{number}.1", 40000) for number, name in enumerate("abc")}
S, PORTS = ("9.9.0.9", 7447), range(1, 1001)
RULES = [
    *({"from": one, "to": other} for one, other in ("ab", "ba", "ac", "ca")),
    {"from": "b", "to": "s0", "protocol": "udp", "ports": f"{PORTS[0]}-{PORTS[-1]}"},
]


def world_of(seed: int, **options: str) -> World:
    """Return a hub and its members, who are not started yet."""
    rng = random.Random(seed)
    network = make_network(list("abc"), [Site("s0", S[0])], rng=rng.randbytes, not_after=int(UNIX_S) + 10**6)
    policy = credentials.sign_policy(network.authority_private, 2, RULES)
    nats = dict.fromkeys("abc")
    return World(nats, seed=seed, mode="hub", hub=True, network=network, policy=policy, options=options)


class HubScene(Sayings):
    """Three members and a hub."""

    def __init__(self, seed: int) -> None:
        self.layer_2 = bool(seed % 2)
        super().__init__(seed, world_of(seed, layer="l2" if self.layer_2 else "l3"))
        assert self.server.hub is not None
        self.hub: Hub = self.server.hub
        self.misled: str | None = None
        """What is wrong with where frames of `b` went."""
        switch = self.hub.switch

        def watched(member: Registration, frame: bytes, payload: bytes, now: float) -> None:
            before = len(self.server.outlet.datagrams)
            switch(member, frame, payload, now)
            went = [to for _, to in self.server.outlet.datagrams[before:]]
            if member.certificate.name == "b" and went not in ([], [AT["a"]]):
                self.misled = f"a frame of b went to {went}: {frame.hex()}"

        self.hub.switch = watched  # type: ignore[method-assign]
        self.addresses = {name: self.world.overlay_address(name) for name in ("a", "b", "c", "s0")}
        if self.layer_2:
            for name in "ac":
                self.world.nodes[name].egress.frame(BROADCAST + MAC[name] + b"\x08\x06" + bytes(40), self.world.now)
                self.world._settle_node(name)
            self.world.run(1.0)

    # --- what is said

    def inside(self) -> bytes:
        """Return the inside of a message: packets and frames of this network above all."""
        kind = self.rng.randrange(4)
        if kind == 0:
            return self.payload()
        packet = self.packet()
        return control.frame(control.ETHERNET, self.frame(packet)) if self.layer_2 or kind == 1 else packet

    def packet(self) -> bytes:
        """Return a packet between any two, cut now and then, or with options, or a fragment."""
        rng, names = self.rng, list(self.addresses)
        source = rng.choice(("b", "b", rng.choice(names)))
        target, ports = rng.choice((*names, "s0")), (rng.choice((53, 2000)), rng.choice((1, 1000, 1001, 65535)))
        content, protocol = rng.randbytes(rng.randrange(60)), rng.choice((1, 6, 17, 17))
        ends = self.addresses[source], self.addresses[target]
        made = bytearray(ip_packet(*ends, content, protocol=protocol, ports=ports))
        change = rng.randrange(6)
        if change == 0:
            made[rng.randrange(20)] = rng.randrange(256)
        elif change == 1:
            made[6:8] = rng.choice((b"\x20\x00", b"\x00\x07", b"\x20\x07"))
        elif change == 2:
            del made[rng.randrange(len(made)) :]
        return bytes(made) or b"\x45"

    def frame(self, packet: bytes) -> bytes:
        """Return a frame with whatever addresses, of ARP or IP, behind tags now and then."""
        rng = self.rng
        target = rng.choice((BROADCAST, MAC["a"], MAC["c"], b"\x33\x33" + rng.randbytes(4), b"\x06" + rng.randbytes(5)))
        source = rng.choice((MAC["b"], MAC["a"], MAC["c"], b"\x02" + rng.randbytes(5), BROADCAST))
        tags = b"\x81\x00\x00\x00" * rng.choice((0, 0, 0, 1, 3))
        owner = packets.packed_host(self.addresses[rng.choice(list(self.addresses))])
        arp = b"\x00\x01\x08\x00\x06\x04\x00\x02" + source + owner + MAC["a"] + bytes(4)
        inner = rng.choice((b"\x08\x06" + arp, b"\x08\x00" + packet, rng.randbytes(rng.randrange(40))))
        made = target + source + tags + inner
        return made[: rng.randrange(len(made))] if not rng.randrange(8) else made

    # --- how it is said

    def _sealed(self, session: Session) -> list[bytes]:
        return sealed(session, self.inside(), self.world.now, bare=not self.rng.randrange(3)) or []

    def member_to_hub(self) -> None:
        """Let `b` say something to the hub."""
        source = AT["b"] if self.rng.randrange(10) else (f"66.6.{self.rng.randrange(256)}.6", 6)
        session = self.world.nodes["b"].servers.links[0].peer.session
        datagrams = [datagram for _ in range(self.rng.choice((1, 1, 3))) for datagram in self._sealed(session)]
        same = len({len(datagram) for datagram in datagrams}) == 1
        for datagram in datagrams:
            self.came[source] += len(datagram)
            if not same:
                self.server.receive(datagram, source, self.world.now)
        if same:
            self.server.receive_run(datagrams, source, self.world.now)

    def hub_to_member(self) -> None:
        """Let the hub say something to `a` that no member has said."""
        node, session = self.world.nodes["a"], registration(self.world, "a").session
        for datagram in self._sealed(session):
            node.ingress.receive(datagram, S, self.world.now)
        for full in (node.plane.to_tun, node.plane.large):
            full.clear()

    # --- what must hold

    def deliver(self) -> str | None:
        """Carry what has been said, to where it is for; return what is wrong with it."""
        outlet, world = self.server.outlet, self.world
        wrong, out = self.misled or self._host_was_given(outlet.to_tun), outlet.datagrams[:]
        for full in (outlet.datagrams, outlet.to_tun, outlet.events):
            full.clear()
        for said, to in out:
            if to[0].startswith("66.6."):
                self.went[to] += len(said)
                if self.went[to] > 3 * self.came[to]:
                    return f"{self.went[to]} octets to {to}, from which {self.came[to]} came"
            for name, place in AT.items():
                if to == place:
                    world.nodes[name].ingress.receive(said, S, world.now)
        for name, node in world.nodes.items():
            if name != "b":
                wrong = wrong or self._member_was_given(name, node.plane.to_tun)
                for datagram, to in node.outbox.main:
                    if to == S:
                        self.server.receive(datagram, AT[name], world.now)
            for full in (node.outbox.main, node.outbox.fresh, node.outbox.probes, node.outbox.events):
                full.clear()
            for full in (node.plane.to_tun, node.plane.large, node.puncher.closed):
                full.clear()
        return wrong

    def _host_was_given(self, given: list[bytes]) -> str | None:
        for packet in given:
            port = int.from_bytes(packet[(packet[0] & 15) * 4 :][2:4], "big")
            whole_udp = packet[0] >> 4 == 4 and packet[9] == 17 and not int.from_bytes(packet[6:8], "big") & 0x3FFF
            if packets.source(packet) != self.addresses["b"] or not whole_udp or port not in PORTS:
                return f"the hub's host was given {packet.hex()}"
        return None

    def _member_was_given(self, name: str, given: list[bytes]) -> str | None:
        if given and name == "c":
            return f"c was given {given[0].hex()}, of b, whom no rule lets"
        for data in given:
            if self.layer_2:
                of_others = {packets.packed_host(self.addresses[other]) for other in ("a", "c", "s0")}
                if set(senders(data)) & of_others or data[6:12] in (MAC["a"], MAC["c"]):
                    return f"a frame of b bears another's address: {data.hex()}"
            elif packets.source(data) != self.addresses["b"]:
                return f"a packet of b bears another's address: {data.hex()}"
        return None

    def wrong(self) -> str | None:
        """Return what is wrong with the state of the hub and its members."""
        faults = self.server.guard.count + sum(node.guard.count for node in self.world.nodes.values())
        if faults:
            return f"{faults} faults were caught"
        places = {name: registration(self.world, name).endpoint for name in "abc"}
        if places != AT:
            return f"members are at {places}"
        if {r.certificate.text for r in self.server.registry.by_key.values()} != set(self.texts):
            return "the hub's members are not those that are certified"
        switch = self.hub._switch
        if any(count > MAX_OF_ONE for count in switch._count.values()):
            return f"addresses of members: {list(switch._count.values())}"
        for name in "ac" if self.layer_2 else "":
            if switch._table[MAC[name]][0] is not registration(self.world, name):
                return f"frames for {name} go to another"
        return None

    def reached(self) -> str | None:
        """Let `a` and `c` say something to each other; return what is wrong with what becomes of it."""
        world = self.world
        for src, dst in ("ac", "ca"):
            world.received[dst].clear()
            world.received["b"].clear()
            for _ in range(4):
                if self.layer_2:
                    world.nodes[src].egress.frame(MAC[dst] + MAC[src] + b"\x08\x06still working", world.now)
                    world._settle_node(src)
                else:
                    world.send(src, dst, b"still working")
                world.run(0.5)
            if not any(data.endswith(b"still working") for data in world.received[dst]):
                return f"afterwards nothing goes from {src} to {dst} any more"
            if any(data.endswith(b"still working") for data in world.received["b"]):
                return f"b was given what {src} had for {dst}"
        return None


def scene(seed: int, said: Counter[str], count: int) -> str | None:
    """Say things to one scene, at most SCENE of them, until each role has said `count`; return what went wrong."""
    it = HubScene(seed)
    roles = [it.member_to_hub, it.hub_to_member]
    for number in range(SCENE):
        if not number % 100 and all(said[role.__name__] >= count for role in roles):
            break
        it.world.now += STEP_S
        way = it.rng.choice(roles)
        said[way.__name__] += 1
        try:
            way()
            if not number % 8:
                it.server.tick(it.world.now)
                for node in it.world.nodes.values():
                    node.tick(it.world.now)
            wrong = it.deliver() or (it.wrong() if not number % 1000 else None)
        except Exception as error:  # whatever it is, it should not be
            return f"seed {seed}, message {number}: {type(error).__name__}: {error}"
        if wrong:
            return f"seed {seed}, message {number}: {wrong}"
    wrong = it.wrong() or it.reached() or it.wrong()
    return f"seed {seed}: {wrong}" if wrong else None


def attack(count: int, seed: int) -> tuple[str | None, str]:
    """Let each role say `count` things, in scenes; return what went wrong (None: nothing), and who said how much."""
    return each_role(count, seed, scene)


if __name__ == "__main__":
    command(__doc__, attack)
