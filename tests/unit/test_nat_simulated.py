"""Properties of the simulated NAT, as the RFCs state them."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.nat import Filtering, Hairpinning, Mapping, NatBehaviour, Pooling, PortAllocation, Refresh
from harness.nat.packet import Endpoint, Packet
from harness.nat.ports import RouterPorts, port_blocks
from harness.nat.simulated import SimulatedNat

POOL = ("45.45.1.1", "45.45.1.2")
PORTS = RouterPorts("wan", POOL, ("lan",), ("10.0.0.0/24",))
INSIDE = [Endpoint(f"10.0.0.{host}", port) for host in (2, 3) for port in (5000, 5001, 5002)]
REMOTES = [Endpoint(f"45.45.0.{host}", port) for host in (1, 2) for port in (3478, 3479)]


def _behaviours() -> list[NatBehaviour]:
    found = []
    axes = itertools.product(list(Mapping)[1:], list(Filtering)[1:], PortAllocation, Hairpinning, Pooling, Refresh)
    for mapping, filtering, allocation, hairpinning, pooling, refresh in axes:
        try:
            behaviour = NatBehaviour(
                mapping=mapping,
                filtering=filtering,
                port_allocation=allocation,
                hairpinning=hairpinning,
                pooling=pooling,
                pool_size=2,
                udp_refresh=refresh,
                udp_lifetime_s=60,
            )
        except ValueError:
            continue
        found.append(behaviour)
    return found


BEHAVIOURS = _behaviours()
behaviours = st.sampled_from(BEHAVIOURS)
flows = st.lists(st.tuples(st.sampled_from(INSIDE), st.sampled_from(REMOTES)), min_size=1, max_size=30)


def nat(behaviour: NatBehaviour, seed: int = 0) -> SimulatedNat:
    return SimulatedNat(behaviour, addresses=POOL, rng=random.Random(seed), blocks=port_blocks(behaviour, PORTS))


def out(table: SimulatedNat, inside: Endpoint, remote: Endpoint, now: float = 0.0) -> Endpoint:
    packet = table.outbound(Packet(inside, remote, b"payload"), now)
    assert packet is not None
    assert (packet.destination, packet.payload) == (remote, b"payload")
    return packet.source


@given(behaviours, flows)
def test_one_external_endpoint_is_never_two_mappings(
    behaviour: NatBehaviour, sent: list[tuple[Endpoint, Endpoint]]
) -> None:
    """RFC 4787 REQ-3: no port overloading."""
    table = nat(behaviour)
    owner: dict[Endpoint, tuple[object, ...]] = {}
    for inside, remote in sent:
        key = {
            Mapping.EIM: (inside,),
            Mapping.ADM: (inside, remote.address),
            Mapping.APDM: (inside, remote),
        }[behaviour.mapping]
        assert owner.setdefault(out(table, inside, remote), key) == key
    assert len(owner) == len(set(owner.values()))  # and a mapping stays the same


@given(behaviours, flows, st.sampled_from(REMOTES), st.integers(1024, 65535))
def test_what_comes_in_was_mapped_and_passes_the_filter(
    behaviour: NatBehaviour, sent: list[tuple[Endpoint, Endpoint]], stranger: Endpoint, port: int
) -> None:
    """RFC 4787 section 5, with the filter belonging to the mapping."""
    table = nat(behaviour)
    contacted: dict[Endpoint, tuple[Endpoint, set[Endpoint]]] = {}
    for inside, remote in sent:
        contacted.setdefault(out(table, inside, remote), (inside, set()))[1].add(remote)
    for external in (*contacted, Endpoint(POOL[0], port)):
        inside, peers = contacted.get(external, (None, set()))
        arrived = table.inbound(Packet(stranger, external), 1.0)
        allowed = {
            Filtering.EIF: inside is not None,
            Filtering.ADF: stranger.address in {peer.address for peer in peers},
            Filtering.APDF: stranger in peers,
        }[behaviour.filtering]
        assert (arrived is not None) == allowed
        if arrived is not None:
            assert (arrived.source, arrived.destination) == (stranger, inside)


@given(behaviours, flows)
def test_answers_always_come_back(behaviour: NatBehaviour, sent: list[tuple[Endpoint, Endpoint]]) -> None:
    table = nat(behaviour)
    for now, (inside, remote) in enumerate(sent):
        external = out(table, inside, remote, now)
        answer = table.inbound(Packet(remote, external), now + 0.5)
        assert answer is not None
        assert answer.destination == inside


@given(behaviours, flows, st.floats(0.0, 59.0), st.floats(0.001, 100.0))
def test_a_mapping_lives_for_its_lifetime_after_the_last_outbound_packet(
    behaviour: NatBehaviour, sent: list[tuple[Endpoint, Endpoint]], idle_s: float, beyond_s: float
) -> None:
    """RFC 4787 REQ-5 and REQ-6."""
    table = nat(behaviour)
    inside, remote = sent[-1]
    for each in sent:
        external = out(table, *each)
    assert out(table, inside, remote, idle_s) == external
    if behaviour.filtering is not Filtering.EIF:
        assert table.inbound(Packet(remote, external), idle_s + 60 + beyond_s) is None


@given(behaviours, st.integers(1, 6))
def test_only_inbound_refresh_keeps_a_mapping_alive_from_outside(behaviour: NatBehaviour, packets: int) -> None:
    table = nat(behaviour)
    external = out(table, INSIDE[0], REMOTES[0])
    arrived = [
        table.inbound(Packet(REMOTES[0], external), 45.0 * number) is not None for number in range(1, packets + 1)
    ]
    if behaviour.udp_refresh is Refresh.BOTH:
        assert all(arrived)
    else:
        assert arrived == [True, *[False] * (packets - 1)]


@given(behaviours, flows)
def test_ports_are_allocated_as_declared(behaviour: NatBehaviour, sent: list[tuple[Endpoint, Endpoint]]) -> None:
    table = nat(behaviour)
    seen = list(dict.fromkeys(out(table, *each) for each in sent))
    match behaviour.port_allocation:
        case PortAllocation.PRESERVING:
            assert seen[0].port == sent[0][0].port
        case PortAllocation.SEQUENTIAL:
            assert [endpoint.port for endpoint in seen] == list(range(seen[0].port, seen[0].port + len(seen)))
        case PortAllocation.BLOCK:
            blocks = {block.subscriber: block for block in port_blocks(behaviour, PORTS)}
            for inside, remote in sent:
                block = blocks[inside.address]
                external = out(table, inside, remote)
                assert external.address == block.address
                assert block.first <= external.port < block.first + block.size
        case PortAllocation.RANDOM:
            assert len({endpoint.port for endpoint in seen}) == len(seen)
    if behaviour.pooling is Pooling.PAIRED:
        homes = {inside.address: {out(table, inside, remote).address for remote in REMOTES} for inside, _ in sent}
        assert all(len(addresses) == 1 for addresses in homes.values())


@pytest.mark.parametrize("step", [-1, -3, 2])
def test_a_sequence_goes_its_way_by_its_step(step: int) -> None:
    table = nat(NatBehaviour(mapping=Mapping.APDM, port_allocation=PortAllocation.SEQUENTIAL, port_step=step))
    ports = [out(table, inside, remote).port for inside in INSIDE for remote in REMOTES]
    assert {later - earlier for earlier, later in itertools.pairwise(ports)} == {step}


@pytest.mark.parametrize(("payload_bytes", "passes"), [(1472, True), (1473, False)])
def test_what_comes_in_fragments_is_dropped_where_they_are(payload_bytes: int, passes: bool) -> None:
    table = nat(NatBehaviour(filtering=Filtering.EIF, fragments="drop"))
    external = out(table, INSIDE[0], REMOTES[0])
    payload = bytes(payload_bytes)
    assert (table.outbound(Packet(INSIDE[0], REMOTES[0], payload), 0.0) is not None) == passes
    assert (table.inbound(Packet(REMOTES[0], external, payload), 0.0) is not None) == passes
    whole = nat(NatBehaviour(filtering=Filtering.EIF))
    assert whole.outbound(Packet(INSIDE[0], REMOTES[0], payload), 0.0) is not None


def test_udp_is_policed_and_tcp_is_not() -> None:
    table = nat(NatBehaviour(udp_rate_mbit=8))  # a million bytes a second
    udp, tcp = (Packet(INSIDE[0], REMOTES[0], bytes(972), protocol) for protocol in ("udp", "tcp"))
    passed = [table.outbound(udp, now) is not None for now in (number / 4000 for number in range(4000))]
    assert sum(passed) == pytest.approx(1000 + 1000 + 65.5, abs=2)
    answer = Packet(REMOTES[0], table.outbound(tcp, 1.0).source, bytes(972))  # type: ignore[union-attr]
    assert sum(table.inbound(answer, 1.0) is not None for _ in range(2000)) == 1065
    assert all(table.outbound(tcp, 1.0) is not None for _ in range(1000))


@given(behaviours)
def test_hairpinning_is_as_declared(behaviour: NatBehaviour) -> None:
    """RFC 4787 REQ-9; the filter holds for what comes from an external source."""
    table = nat(behaviour)
    first, second = INSIDE[0], INSIDE[3]
    to_first, to_second = out(table, first, REMOTES[0]), out(table, second, REMOTES[0])
    table.outbound(Packet(first, to_second), 0.0)
    arrived = table.outbound(Packet(second, to_first), 0.0)
    if behaviour.hairpinning is Hairpinning.OFF:
        assert arrived is None
        return
    assert arrived is not None
    assert arrived.destination == first
    if behaviour.hairpinning is Hairpinning.INTERNAL_SOURCE:
        assert arrived.source == second
    else:
        assert arrived.source.address in POOL
        back = table.outbound(Packet(first, arrived.source), 0.0)
        assert back is not None
        assert back.destination == second


@given(behaviours, flows)
def test_a_reboot_forgets_everything(behaviour: NatBehaviour, sent: list[tuple[Endpoint, Endpoint]]) -> None:
    table = nat(behaviour)
    mapped = [(remote, out(table, inside, remote)) for inside, remote in sent]
    table.reboot()
    assert all(table.inbound(Packet(remote, external), 0.0) is None for remote, external in mapped)


def test_session_cap_limits_each_inside_address_and_ends_with_the_sessions() -> None:
    table = nat(NatBehaviour(session_cap=3, pool_size=2))
    remotes = [Endpoint("45.45.0.1", port) for port in range(5)]
    passed = [table.outbound(Packet(INSIDE[0], remote), 0.0) is not None for remote in remotes]
    assert passed == [True, True, True, False, False]
    assert table.outbound(Packet(INSIDE[3], remotes[0]), 0.0) is not None
    assert table.outbound(Packet(INSIDE[0], remotes[4]), 301.0) is not None


def test_an_early_packet_takes_the_port_away_only_where_it_poisons() -> None:
    for unsolicited, kept in (("drop", True), ("poisons", False)):
        table = SimulatedNat(NatBehaviour(unsolicited=unsolicited), addresses=POOL, rng=random.Random(1))
        external = out(table, INSIDE[0], REMOTES[0])
        assert table.inbound(Packet(REMOTES[2], external), 0.0) is None
        assert (out(table, INSIDE[0], REMOTES[2], 0.1) == external) is kept
        assert out(table, INSIDE[0], REMOTES[0], 0.1) == external


def test_tcp_lives_longer_once_it_is_established() -> None:
    behaviour = NatBehaviour(filtering="EIF", tcp_transitory_lifetime_s=10, tcp_established_lifetime_s=1000)
    table = nat(behaviour)
    syn = table.outbound(Packet(INSIDE[0], REMOTES[0], protocol="tcp"), 0.0)
    assert syn is not None
    assert table.inbound(Packet(REMOTES[0], syn.source, protocol="tcp"), 9.0) is not None
    assert table.inbound(Packet(REMOTES[0], syn.source, protocol="tcp"), 900.0) is not None
    other = table.outbound(Packet(INSIDE[1], REMOTES[0], protocol="tcp"), 1000.0)
    assert other is not None
    assert table.inbound(Packet(REMOTES[0], other.source, protocol="tcp"), 1011.0) is None


def test_too_few_addresses_or_no_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="pool_size 2"):
        SimulatedNat(NatBehaviour(pool_size=2), addresses=POOL[:1], rng=random.Random(0))
    with pytest.raises(ValueError, match="blocks"):
        SimulatedNat(NatBehaviour(port_allocation="block"), addresses=POOL, rng=random.Random(0))
