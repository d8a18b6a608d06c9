"""Servers and static peers that are named: looked up without waiting, and again when they do not answer."""

from __future__ import annotations

import dataclasses
import random
import select
import socket
import threading

import pytest

from overlays.refmesh import keys
from overlays.refmesh.config import Address, NodeConfig, PeerEntry
from overlays.refmesh.core.hosts import RETRY_S
from overlays.refmesh.core.node import Node
from overlays.refmesh.driver import names as names_module
from overlays.refmesh.driver.names import Names
from overlays.refmesh.simulation.world import UNIX_S, World

NAME = "server.example"


class Named(World):
    """Node `a` knows its server by name alone; `dns` is what names mean, and nobody waits for it."""

    dns: dict[str, str]
    asked = 0

    def config(self, name: str, **changes: object) -> NodeConfig:
        config = super().config(name, **changes)
        if name != "a":
            return config
        servers = [
            dataclasses.replace(entry, endpoint=Address(NAME, entry.endpoint.port), stun=Address(NAME, 3478))
            for entry in config.servers
        ]
        return dataclasses.replace(config, servers=tuple(servers))

    def _settle_node(self, name: str) -> None:
        super()._settle_node(name)
        node = self.nodes[name]
        for host in node.hosts.requests:
            self.asked += 1
            if host in self.dns:
                self._at(self.now + 0.05, lambda host=host, node=node: self._answer(name, node, host))  # type: ignore[misc]
        node.hosts.requests.clear()

    def _answer(self, name: str, node: Node, host: str) -> None:
        if host in self.dns:
            node.host_found(host, self.dns[host], self.now)
            self._settle_node(name)


def named() -> Named:
    world = Named({"a": "port-restricted", "b": "full-cone"})
    world.dns = {}
    return world


def test_a_name_that_is_not_known_at_the_start_is_asked_for_again() -> None:
    world = named()
    world.start_all()
    world.run(200.0)
    assert not world.nodes["a"].ready
    assert 5 < world.asked <= 200 / RETRY_S[-1] + len(RETRY_S)
    world.dns[NAME] = "9.9.0.9"
    assert world.run(31.0, lambda: world.nodes["a"].ready and world.path("a", "b") == "direct")
    before = world.asked
    world.run(600.0)
    assert world.asked == before  # it answers: nobody need know anything


def test_a_server_that_moves_is_found_at_its_new_address() -> None:
    world = named()
    world.dns[NAME] = "9.9.9.99"  # where nobody is
    world.start_all()
    world.run(100.0)
    assert not world.nodes["a"].ready
    world.dns[NAME] = "9.9.0.9"
    assert world.run(31.0, lambda: world.nodes["a"].ready)
    assert world.run(10.0, lambda: world.path("a", "b") == "direct")


def test_a_change_of_the_network_asks_anew() -> None:
    world = named()
    world.dns[NAME] = "9.9.0.9"
    world.start_all()
    assert world.run(5.0, lambda: world.nodes["a"].ready)
    before = world.asked
    world.nodes["a"].network_changed([("host", world.address["a"], 40000)], world.now)
    world._settle_node("a")
    world.run(1.0)
    assert world.asked > before
    assert world.nodes["a"].ready


def test_what_a_name_meant_in_another_network_does_not_count() -> None:
    """A hotel's name server answers for itself until one has signed in, and its answer may come after the move."""
    world = named()
    world.dns[NAME] = "9.9.0.9"
    world.start_all()  # the question is on its way
    node = world.nodes["a"]
    node.network_changed([("host", world.address["a"], 40000)], world.now)
    node.host_found(NAME, "9.9.9.99", world.now)
    assert NAME not in node.hosts.found
    world._settle_node("a")
    assert world.run(0.3, lambda: node.ready)
    assert node.hosts.found == {NAME: "9.9.0.9"}


@pytest.mark.parametrize("keepalive_s", [0, 25])
def test_a_static_peer_is_where_its_name_says(keepalive_s: int) -> None:
    rng = random.Random(1)
    peer = PeerEntry(keys.public(rng.randbytes(32)), ("10.0.0.2/32",), Address("peer.example", 7), None, keepalive_s)
    config = NodeConfig("a.yaml", rng.randbytes(32), addresses=("10.0.0.1/24",), peers=(peer,))
    node = Node(config, None, rng.randbytes, UNIX_S)
    node.start(0.0)
    node.tick(0.0)
    assert node.hosts.requests == ["peer.example"]
    assert not node.outbox.main
    node.host_found("peer.example", "45.0.0.7", 0.1)
    node.tick(0.1)
    assert {endpoint for _, endpoint in node.outbox.main} == ({("45.0.0.7", 7)} if keepalive_s else set())
    # It does not answer, so its name is asked for again, and what it means by then holds.
    node.hosts.requests.clear()
    node.outbox.main.clear()
    for number in range(1, 40):
        node.tick(float(number))
    assert ("peer.example" in node.hosts.requests) == bool(keepalive_s)
    node.host_found("peer.example", "45.0.0.8", 40.0)
    node.outbox.main.clear()
    node.tick(40.0)
    assert {endpoint for _, endpoint in node.outbox.main} == ({("45.0.0.8", 7)} if keepalive_s else set())


def test_looking_up_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer holds up the thread alone."""
    free = threading.Event()

    def slow(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert free.wait(30)
        if name == "unknown.example":
            raise socket.gaierror(-2, "Name or service not known")
        return [(2, 2, 17, "", ("45.0.0.1", 0))]

    monkeypatch.setattr(names_module.socket, "getaddrinfo", slow)
    found: list[tuple[str, str]] = []
    names = Names(lambda name, address, _: found.append((name, address)))
    names.ask(["unknown.example", "known.example", "known.example"])
    assert not select.select([names], [], [], 0)[0]
    free.set()
    while len(found) < 1:
        assert select.select([names], [], [], 30)[0]
        names.on_ready(0.0)
    assert found == [("known.example", "45.0.0.1")]
    names.close()


@pytest.mark.parametrize("name", ["", "a" * 300, "no such name", "x..y"])
def test_what_can_be_no_name_is_not_found(name: str) -> None:
    assert names_module.look_up(name) in ("", "127.0.0.1", "::1")
