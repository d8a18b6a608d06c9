"""The oracle's rules against hole punching through the simulated NAT."""

from __future__ import annotations

import itertools
import random

import pytest

from harness.model.nat import ALIASES, Filtering, Mapping, NatBehaviour, parse_nat
from harness.nat.oracle import expected_path, no_coincidence
from harness.nat.packet import Endpoint, Packet
from harness.nat.ports import PORT_COUNT
from harness.nat.simulated import SimulatedNat

SERVER = Endpoint("45.45.0.10", 3478)
PAIRS = list(
    itertools.product((Mapping.EIM, Mapping.ADM, Mapping.APDM), (Filtering.EIF, Filtering.ADF, Filtering.APDF))
)
BEHAVIOURS = [
    *(NatBehaviour(mapping=m, filtering=f, port_allocation="random") for m, f in PAIRS),
    *(NatBehaviour(mapping="none", filtering=f) for f in Filtering),
    parse_nat("poisoning-router"),
]


class Host:
    """One side: a socket behind a simulated NAT that sends to whatever it believes its peer to be."""

    def __init__(self, behaviour: NatBehaviour, inside: Endpoint, outside: str, *, learns: bool, seed: int) -> None:
        self.inside = inside if behaviour.translates else Endpoint(outside, inside.port)
        self.nat = SimulatedNat(behaviour, addresses=[outside], rng=random.Random(seed))
        self.learns = learns
        asked = self.nat.outbound(Packet(self.inside, SERVER), 0.0)
        assert asked is not None
        self.reflexive = asked.source
        self.targets: list[Endpoint] = []
        self.heard = False

    def speak(self, peer: Host, now: float) -> None:
        for target in list(self.targets):
            leaving = self.nat.outbound(Packet(self.inside, target), now)
            if leaving is None:
                continue
            arriving = peer.nat.inbound(leaving, now)
            if arriving is not None and arriving.destination == peer.inside:
                peer.listen(arriving.source)

    def listen(self, source: Endpoint) -> None:
        if source not in self.targets:
            if not self.learns:
                return
            self.targets.append(source)
        self.heard = True


def punch(a: NatBehaviour, b: NatBehaviour, *, a_first: bool, learns: bool = True) -> bool:
    first = Host(a, Endpoint("10.0.1.2", 5001), "45.45.1.1", learns=learns, seed=1)
    second = Host(b, Endpoint("10.0.2.2", 5002), "45.45.2.1", learns=learns, seed=2)
    first.targets, second.targets = [second.reflexive], [first.reflexive]
    order = [(first, second), (second, first)]
    for step in range(6):
        for speaker, other in order if a_first else order[::-1]:
            speaker.speak(other, 1.0 + 0.1 * step)
    return first.heard and second.heard


@pytest.mark.parametrize("technique", ["plain", "peer-reflexive"])
def test_rules_agree_with_the_simulated_nat_for_every_pair(technique: str) -> None:
    seen_verdicts = set()
    for a, b in itertools.product(BEHAVIOURS, BEHAVIOURS):
        expected = expected_path([a], [b], technique)
        outcomes = {punch(a, b, a_first=first, learns=technique != "plain") for first in (True, False)}
        wanted = {"direct": {True}, "relayed": {False}, "either": {True, False}}[expected.path]
        if expected.path == "either" and a.label == b.label == "poisoning-router":
            # Packets that cross harm neither side; one after the other, one side is always poisoned.
            assert False in outcomes
            continue
        assert outcomes == wanted, (a.axes_label, b.axes_label, expected)
        seen_verdicts.add(expected.path)
    assert {"direct", "relayed", "either"} <= seen_verdicts


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ("port-restricted", "port-restricted", "direct"),
        ("port-restricted", "symmetric", "relayed"),
        ("address-restricted", "symmetric", "direct"),
        ("full-cone", "symmetric", "direct"),
        ("symmetric", "symmetric", "relayed"),
        ("none", "symmetric", "direct"),
        ("udp-blocked", "full-cone", "relayed"),
        ("firewall", "port-restricted", "direct"),
        ("firewall", "symmetric", "relayed"),
    ],
)
def test_the_well_known_table(a: str, b: str, verdict: str) -> None:
    for one, other in ((a, b), (b, a)):
        assert expected_path([parse_nat(one)], [parse_nat(other)], "peer-reflexive").path == verdict


def test_public_host_reaches_everybody_who_may_send_udp() -> None:
    for alias in ALIASES.values():
        if alias.behaviour.ipv4 and alias.behaviour.egress == "any":
            assert expected_path([], [alias.behaviour], "peer-reflexive").path == "direct", alias.name


def test_stack_is_as_bad_as_its_worst_layer() -> None:
    home, carrier = parse_nat("full-cone"), parse_nat("symmetric")
    for stack in ([home, carrier], [carrier, home]):
        assert expected_path(stack, [parse_nat("port-restricted")], "peer-reflexive").path == "relayed"
        assert expected_path(stack, [home], "peer-reflexive").path == "direct"


def test_one_carrier_needs_hairpinning_and_one_home_does_not() -> None:
    home = parse_nat("port-restricted")
    hairpins, does_not = parse_nat("cgn"), parse_nat({"alias": "cgn", "hairpinning": "off"})
    inside = parse_nat({"alias": "cgn", "hairpinning": "internal-source"})
    assert expected_path([home, hairpins], [home, hairpins], "peer-reflexive", 1).path == "direct"
    assert expected_path([home, does_not], [home, does_not], "peer-reflexive", 1).path == "relayed"
    assert expected_path([home, inside], [home, inside], "peer-reflexive", 1).path == "relayed"
    assert expected_path([home], [home], "peer-reflexive", 1).path == "direct"
    assert expected_path([home], [home], "peer-reflexive", 1, host_candidates=False).path == "relayed"


def test_prediction_and_mapping_open_what_reflexive_addresses_do_not() -> None:
    strict, sequential, chance = (parse_nat(n) for n in ("port-restricted", "symmetric-sequential", "symmetric"))
    assert expected_path([strict], [sequential], "peer-reflexive").path == "relayed"
    assert expected_path([strict], [sequential], "port-prediction").path == "direct"
    assert expected_path([strict], [chance], "port-prediction").path == "relayed"
    asked = parse_nat({"alias": "home-router-upnp"})
    assert expected_path([asked], [chance], "peer-reflexive").path == "relayed"
    assert expected_path([asked], [chance], "port-mapping").path == "direct"
    assert expected_path([asked, strict], [chance], "port-mapping").path == "relayed"


def test_birthday_probability_is_that_of_drawing_ports() -> None:
    rng = random.Random(7)
    ports, opened, tried, runs = 512, 24, 24, 4000
    hits = sum(bool({*rng.sample(range(ports), opened)} & {*rng.sample(range(ports), tried)}) for _ in range(runs))
    p = 1 - no_coincidence(ports, opened, tried)
    assert abs(hits / runs - p) < 4 * (p * (1 - p) / runs) ** 0.5
    block = NatBehaviour(mapping="APDM", port_allocation="block")
    expected = expected_path(
        [parse_nat("port-restricted")], [block], "birthday", opened_ports=opened, tried_ports=tried
    )
    assert expected.path == "either"
    assert expected.probability == pytest.approx(p)
    both = expected_path([block], [block], "birthday", opened_ports=opened, tried_ports=tried)
    assert 0 < both.probability < expected.probability


def test_a_side_whose_port_changes_with_each_try_has_one_try() -> None:
    chance = parse_nat("symmetric")
    by_mapping = {
        mapping: expected_path(
            [NatBehaviour(mapping=mapping, port_allocation="sequential")], [chance], "birthday"
        ).probability
        for mapping in ("ADM", "APDM")
    }
    assert by_mapping["APDM"] == pytest.approx(256 / PORT_COUNT)
    assert by_mapping["ADM"] == expected_path([parse_nat("port-restricted")], [chance], "birthday").probability
    # By drawing: m openings of N ports, each for one port of the sequence, against a try from every port of it.
    rng = random.Random(8)
    ports, opened, tried, runs = 512, 24, 24, 8000
    hits = 0
    for _ in range(runs):
        targets = rng.sample(range(ports), tried)
        holes = [(rng.randrange(ports), opening % tried) for opening in range(opened)]
        hits += any(targets[place] == port for port, place in holes)
    block = NatBehaviour(mapping="APDM", port_allocation="block")
    p = expected_path(
        [NatBehaviour(mapping="APDM", port_allocation="sequential")],
        [block],
        "birthday",
        opened_ports=opened,
        tried_ports=tried,
    ).probability
    assert abs(hits / runs - p) < 4 * (p * (1 - p) / runs) ** 0.5


def test_shared_layers_must_be_the_same_routers() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        expected_path([parse_nat("cgn")], [parse_nat("symmetric")], "plain", 1)
    with pytest.raises(ValueError, match="upnp"):
        expected_path([], [], "upnp")


def test_who_keeps_the_first_path_is_direct_for_sure_only_where_either_caller_gets_in() -> None:
    cone, strict, chance = (parse_nat(name) for name in ("full-cone", "port-restricted", "symmetric"))
    open_chance = parse_nat({"alias": "symmetric", "filtering": "EIF"})

    def expected(one: NatBehaviour, other: NatBehaviour) -> tuple[str, float]:
        found = expected_path([one], [other], "first-path")
        return found.path, found.probability

    assert expected(strict, strict) == ("direct", 1.0)
    assert expected(cone, open_chance) == ("direct", 1.0)
    assert expected(cone, chance) == ("either", 0.5)  # the cone's own call does not get in
    assert expected(strict, chance) == ("relayed", 0.0)


def test_who_takes_ports_to_be_kept_gets_in_only_where_they_are() -> None:
    cone, strict, carrier, chance = (parse_nat(n) for n in ("full-cone", "port-restricted", "cgn", "symmetric"))
    home_and_carrier = [parse_nat("home-router"), carrier]
    for one, other, path in (
        ([cone], [chance], "direct"),
        ([strict], [carrier], "direct"),
        ([carrier], [carrier], "relayed"),
        ([carrier], [chance], "relayed"),
        (home_and_carrier, [carrier], "relayed"),
        (home_and_carrier, [], "direct"),
        ([strict], [chance], "relayed"),
    ):
        assert expected_path(one, other, "same-port").path == path, (one, other)
