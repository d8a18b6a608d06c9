"""A network over a day remembers what lives, not all that ever was; and forgetting changes no packet's way."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest

from harness.model.nat import parse_nat
from harness.nat import simulated_tables
from harness.nat.packet import Endpoint, Packet
from harness.nat.ports import RouterPorts, port_blocks
from harness.nat.simulated import SimulatedNat
from harness.simulation import links as links_module
from harness.simulation.contract import Abilities
from harness.simulation.events import Events
from harness.simulation.internet import Internet, Link
from harness.simulation.links import Links
from overlays.refmesh.simulation.engine import RefmeshSimulation

BEHAVIOURS: dict[str, Any] = {
    "port-restricted": {"alias": "port-restricted", "udp_lifetime_s": 30},
    "address-restricted": {"alias": "address-restricted", "udp_lifetime_s": 30},
    "symmetric": {"alias": "symmetric", "udp_lifetime_s": 30},
    "address-symmetric": {"alias": "address-symmetric", "udp_lifetime_s": 30},
    "cgn": {"alias": "cgn", "udp_lifetime_s": 30},
    "home-router": {"alias": "home-router", "udp_lifetime_s": 30},
    "firewall": {"alias": "firewall", "udp_lifetime_s": 30},
    "poisoning-router": {"alias": "poisoning-router", "udp_lifetime_s": 30},
    "capped": {"alias": "port-restricted", "udp_lifetime_s": 30, "session_cap": 5},
}


def _nat(behaviour: Any) -> SimulatedNat:
    nat, network = parse_nat(behaviour), "192.168.0.0/24"
    blocks = port_blocks(nat, RouterPorts("wan", ("45.0.0.1",), ("lan",), (network,)))
    return SimulatedNat(nat, addresses=["45.0.0.1"] if nat.translates else [], rng=random.Random(1), blocks=blocks)


def _ways(behaviour: Any, seed: int) -> list[Packet | None]:
    """Return what becomes of packets out, in, from strangers and hairpinned, with pauses around the lifetime."""
    rng, nat, now, seen = random.Random(seed), _nat(behaviour), 0.0, [Endpoint("45.0.0.1", 5000)]
    found = []
    for _ in range(1500):
        now += rng.choice((0.0, 0.1, 1.0, 4.0, 29.9, 30.0, 30.1) if rng.random() < 0.4 else (0.0, 0.1))
        inside = Endpoint(f"192.168.0.{rng.randrange(2, 4)}", 5000 + rng.randrange(3))
        remote = Endpoint(f"9.9.0.{rng.randrange(1, 5)}", 7000 + rng.randrange(3))
        match rng.randrange(4):
            case 0 | 1:
                out = nat.outbound(Packet(inside, remote), now)
            case 2:
                out = nat.inbound(Packet(remote, rng.choice(seen[-12:])), now)
            case _:
                out = nat.outbound(Packet(inside, rng.choice(seen[-12:])), now)
        if out is not None and out.source.address == "45.0.0.1":
            seen.append(out.source)
        found.append(out)
    return found


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_no_packet_goes_another_way_for_what_was_forgotten(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(4):
        ways = []
        for fewest in (0, math.inf):
            monkeypatch.setattr(simulated_tables, "FEWEST", fewest)
            ways.append(_ways(BEHAVIOURS[name], seed))
        assert ways[0] == ways[1]
        assert any(ways[0]) and not all(ways[0])


@pytest.mark.parametrize("name", [*BEHAVIOURS])
def test_a_nat_forgets_what_has_expired(name: str) -> None:
    nat = _nat(BEHAVIOURS[name])
    for number in range(20_000):
        remote = Endpoint(f"9.{number >> 8 & 255}.{number & 255}.1", 7000)
        nat.outbound(Packet(Endpoint("192.168.0.2", 5000), remote), number * 1.0)
        nat.inbound(Packet(remote, Endpoint("45.0.0.1", 5000)), number * 1.0)
    tables = nat._tables
    contacted = [len(entry.contacted) for entry in tables.back.values()]
    sizes = [len(tables.sessions), len(tables.out), len(tables.back), len(tables.poisoned), *contacted]
    assert max(sizes) <= 2 * simulated_tables.FEWEST, sizes


def test_what_birthday_probing_leaves_is_gone_though_little_is_added() -> None:
    nat, inside = _nat(BEHAVIOURS["port-restricted"]), Endpoint("192.168.0.2", 5000)
    for number in range(10_000):
        nat.outbound(Packet(inside, Endpoint("9.9.0.1", 1 + number)), 10.0)
    assert len(nat._tables.sessions) == 10_000
    for number in range(20):
        nat.outbound(Packet(inside, Endpoint("9.9.0.2", 7000)), 20.0 + 10.0 * number)
    (mapping,) = nat._tables.back.values()
    assert (len(nat._tables.sessions), len(mapping.contacted)) == (1, 1)


def test_a_jittering_link_forgets_flows_that_are_over() -> None:
    events = Events()
    links, internet = Links(random.Random(1), events), Internet(random.Random(1))
    host = internet.host(None, lambda *_: None, Link(0.01, 0.005))
    for number in range(10 * links_module._FLOWS):
        packet = Packet(Endpoint("45.0.0.1", number % 60_000), Endpoint("45.0.1.1", number // 60_000))
        links.cross(host, packet, lambda: None)
        events.run(1.0)
    assert len(links._order) <= 2 * links_module._FLOWS


def test_a_population_keeps_no_log() -> None:
    """Each line is some 200 bytes, and a day of 200 nodes says millions."""
    rng = random.Random(1)
    internet = Internet(rng)
    hosts = [internet.host(internet.router(parse_nat("symmetric")), lambda *_: None) for _ in range(3)]
    network = RefmeshSimulation().network(internet, hosts, rng, Abilities("birthday"), "cheap")
    for member in range(3):
        network.start(member)
    internet.events.run(20.0)
    assert all(network.claim(a, b) != "none" for a, b in itertools.permutations(range(3), 2))
    assert network.mesh.events == []
