"""Life on real hosts, in the simulated world: candidates that are none, peers that come late, keys to be kept."""

from __future__ import annotations

import itertools
import random

import pytest

from overlays.refmesh import keys
from overlays.refmesh.config import Address, NodeConfig, PeerEntry
from overlays.refmesh.core import reflexive
from overlays.refmesh.core.check import HOST, SERVER_REFLEXIVE
from overlays.refmesh.core.coordination import MAX_CANDIDATES_TOLD, OFFLINE_AFTER_S
from overlays.refmesh.core.keypair import REJECT_AFTER_S
from overlays.refmesh.core.known import known, restore
from overlays.refmesh.core.node import Node
from overlays.refmesh.simulation.world import NODE_PORT, UNIX_S, World

NONSENSE = ["", "0.0.0.0", "::", "224.0.0.1", "no.address", "300.1.1.1", "fe80::1%eth0"]


@pytest.mark.parametrize("host", NONSENSE)
def test_a_candidate_that_is_none_is_left_out_and_takes_nobody_offline(host: str) -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.nodes["a"].network_changed([("host", host, NODE_PORT), ("host", world.address["a"], NODE_PORT)], world.now)
    assert world.run(5.0, lambda: world.path("b", "a") == "direct" and world.path("a", "b") == "direct")
    assert all(node.ready for node in world.nodes.values())


@pytest.mark.parametrize(
    "candidate", [["host", "", 1], ["host", 5, 1], ["host", "45.0.0.1"], "host", None, [[], {}, 0]]
)
def test_a_stored_candidate_that_is_none_does_not_lose_the_others(candidate: object) -> None:
    world = World({"a": None, "b": None, "c": None})
    world.start_all()
    assert world.run(5.0, lambda: set(world.paths()) == {"direct"})
    stored = known(world.nodes["a"])
    assert len(stored["members"]) == 2
    for member in stored["members"]:
        member["candidates"].insert(0, candidate)
    for name in list(world.servers):
        world.stop_server(name)
    node = world.start("a")
    restore(node, stored, world.now)
    world._settle_node("a")
    assert world.run(5.0, lambda: {world.path("a", "b"), world.path("a", "c")} == {"direct"})


class Cable:
    """Two plain WireGuard nodes, `a` knowing where `b` is, and time."""

    def __init__(self, keepalive_s: int, *, now: float = 0.0) -> None:
        self.now = now
        rng = random.Random(3)
        private = {name: rng.randbytes(32) for name in "ab"}
        self.public = {name: keys.public(key) for name, key in private.items()}
        self.nodes = {}
        for name, other, endpoint in (("a", "b", Address("45.0.0.2", 1)), ("b", "a", None)):
            peer = PeerEntry(self.public[other], ("10.0.0.0/24",), endpoint, None, keepalive_s if name == "a" else 0)
            config = NodeConfig(f"{name}.yaml", private[name], addresses=("10.0.0.1/24",), peers=(peer,))
            self.nodes[name] = Node(config, None, rng.randbytes, UNIX_S)
        self.alive = {"a", "b"}
        self.carried: list[tuple[float, str, bytes]] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            for name in sorted(self.alive):
                node = self.nodes[name]
                if node.deadline <= self.now:
                    node.tick(self.now)
                self._carry(name)
            self.now += 0.05

    def _carry(self, name: str) -> None:
        node = self.nodes[name]
        out, other = node.outbox.main[:], "b" if name == "a" else "a"
        node.outbox.main.clear()
        for datagram, _ in out:
            self.carried.append((self.now, name, datagram))
            if other in self.alive:
                self.nodes[other].ingress.receive(datagram, ("45.0.0.1" if name == "a" else "45.0.0.2", 1), self.now)
                self._carry(other)

    def up(self, name: str) -> bool:
        (peer,) = self.nodes[name].peers.by_key.values()
        return peer.session.usable(self.now)


def test_a_keepalive_keeps_the_keys_too() -> None:
    cable = Cable(25)
    for node in cable.nodes.values():
        node.start(0.0)
    cable.run(1200.0)
    assert cable.up("a")
    assert cable.up("b")
    # Never a gap in which b could not have reached a, for which the keepalives are there.
    sent = [at for at, name, _ in cable.carried if name == "a"]
    assert max(later - at for at, later in itertools.pairwise(sent)) < 30.0


@pytest.mark.parametrize("uptime_s", [0.0, 1e6])
def test_at_the_start_a_peer_is_asked_at_once_and_over_again(uptime_s: float) -> None:
    cable = Cable(25, now=uptime_s)
    cable.alive = {"a"}
    cable.nodes["a"].start(uptime_s)
    cable.run(80.0)
    sent = [at - uptime_s for at, _, _ in cable.carried]
    assert sent[0] < 0.1
    assert max(later - at for at, later in itertools.pairwise(sent)) < 6.0


@pytest.mark.parametrize("silent_s", [30.0, 100.0, REJECT_AFTER_S + 120, 3600.0])
def test_a_peer_that_is_silent_at_first_is_not_given_up(silent_s: float) -> None:
    cable = Cable(25)
    cable.alive = {"a"}
    for node in cable.nodes.values():
        node.start(0.0)
    cable.run(silent_s)
    assert len(cable.carried) < silent_s / 4
    cable.alive.add("b")
    cable.run(26.0)
    assert cable.up("a")
    assert cable.up("b")


def test_who_has_no_keepalive_rests_until_there_is_something_to_send() -> None:
    cable = Cable(0)
    for node in cable.nodes.values():
        node.start(0.0)
    cable.run(300.0)
    assert not cable.carried


@pytest.mark.parametrize("dead_s", [60.0, 100.0, 600.0, 4000.0])
def test_servers_that_were_dead_for_long_are_found_again(dead_s: float) -> None:
    world = World({"a": None, "b": "symmetric"})
    world.stop_server("s0")
    world.start_all()
    world.run(dead_s)
    world.start_server("s0")
    assert world.run(16.0, lambda: all(node.ready for node in world.nodes.values()))


@pytest.mark.parametrize("dead_s", [100.0, 600.0, 4000.0])
def test_a_member_that_was_away_for_long_is_found_again_without_any_server(dead_s: float) -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    assert world.run(5.0, lambda: set(world.paths()) == {"direct"})
    stored = known(world.nodes["a"])
    world.stop_server("s0")
    world.stop("b")
    node = world.start("a")
    restore(node, stored, world.now)
    world._settle_node("a")
    world.run(dead_s)
    # b comes back as one that knows nobody: it is a's to find it.
    world.start("b", config=world.config("b"))
    restore(world.nodes["b"], {"policy": None, "members": [known_without_candidates(world)]}, world.now)
    assert world.run(31.0, lambda: world.path("a", "b") == "direct")


def known_without_candidates(world: World) -> dict[str, object]:
    return {"certificate": world.network.certificates["a"], "candidates": []}


@pytest.mark.parametrize("jump_s", [-3600.0, -1e9, 3600.0])
def test_a_wall_clock_that_jumps_does_not_end_anything(jump_s: float) -> None:
    """Initiations bear the wall clock's time, and none that is older than the last one is answered."""
    world = World({"a": None, "b": None})
    world.start_all()
    assert world.run(5.0, lambda: set(world.paths()) == {"direct"})
    for node in world.nodes.values():
        node.set_clock(UNIX_S + jump_s, world.now)
    world.run(300.0)  # past the age at which keys are refused, so all have been made again
    assert set(world.paths()) == {"direct"}
    assert all(node.ready for node in world.nodes.values())


def test_a_restart_with_an_older_wall_clock_is_answered_if_the_node_remembers() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    assert world.run(5.0, lambda: set(world.paths()) == {"direct"})
    stored = known(world.nodes["a"])
    world.run(3.0)
    node = world.start("a", unix_s=UNIX_S - 7200.0)
    restore(node, stored, world.now)
    world._settle_node("a")
    assert world.run(5.0, lambda: node.ready and world.path("a", "b") == "direct")


@pytest.mark.parametrize("stamp", ["x", None, -1, 1e400, 2**80, True, "40000000ffffffff00000000"])
def test_a_stored_time_that_is_none_is_left_out(stamp: object) -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    assert world.run(5.0, lambda: set(world.paths()) == {"direct"})
    stored = known(world.nodes["a"]) | {"initiated_unix_s": stamp}
    node = world.start("a")
    restore(node, stored, world.now)
    world._settle_node("a")
    assert world.run(5.0, lambda: node.ready and world.path("a", "b") == "direct")


def test_certificates_expire_by_the_clock_as_it_is_now() -> None:
    world = World({"a": None, "b": None})
    world.start("a")
    world.run(2.0)
    world.nodes["a"].set_clock(UNIX_S + 10**7, world.now)
    world.start("b")
    world.run(5.0)
    assert world.path("a", "b") == "unknown"
    assert any("has expired" in event for event in world.events)


@pytest.mark.parametrize("there_and_back", [False, True])
def test_who_is_known_expires_by_the_clock_as_it_is_now(there_and_back: bool) -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    assert world.run(5.0, lambda: set(world.paths()) == {"direct"})
    node = world.nodes["a"]
    if there_and_back:
        node.set_clock(UNIX_S - 10**7, world.now)
        world._settle_node("a")
        world.run(5.0)
        assert world.path("a", "b") == "direct"
    node.set_clock(UNIX_S + 10**7, world.now)
    world._settle_node("a")
    world.run(5.0)
    assert world.path("a", "b") == "unknown"


@pytest.mark.parametrize("count", [13, 100])
def test_a_host_with_many_addresses_is_there_and_tells_where_the_world_sees_it(count: int) -> None:
    world = World({"a": "full-cone", "b": "full-cone"})
    world.start_all()
    world.run(2.0)
    node = world.nodes["a"]
    many = [(HOST, f"172.17.{number // 250}.{number % 250 + 1}", 40000) for number in range(count)]
    node.network_changed([*node.local, *many], world.now, [])
    world._settle_node("a")
    world.run(OFFLINE_AFTER_S + 5.0)
    member = world.servers["s0"].registry.by_name["a"]
    assert member.online, "its greetings are not taken for nonsense"
    assert len(member.candidates) == MAX_CANDIDATES_TOLD and member.candidates[0][:2] == [HOST, node.local[0][1]]
    link = node.servers.links[0]
    link.mapped = ("203.0.113.9", 555)  # by a router that maps ports
    told = reflexive.told_to(link, node.servers.links, node.servers.candidates)
    assert told[-1] == [SERVER_REFLEXIVE, *link.mapped] and told[:-1] == member.candidates[:-1]
