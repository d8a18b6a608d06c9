"""Port mapping: PCP, the way back to NAT-PMP, refusal, renewal; and what it is good for."""

from __future__ import annotations

import math
import random
import struct

from refmesh_hostility import registration

from overlays.refmesh.core.igd import AFTER_S, REST_S
from overlays.refmesh.core.mappings import Mappings
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.portmap import LIFETIME_S, RETRY_S, PortMapper
from overlays.refmesh.simulation.world import World

ROUTER = ("192.168.1.1", 5351)


def mapper() -> PortMapper:
    return PortMapper("192.168.1.1", "192.168.1.2", 40000, bytes(range(12)))


def mapped(host: str) -> bytes:
    return bytes(10) + b"\xff\xff" + bytes(map(int, host.split(".")))


def pcp_answer(request: bytes, result: int = 0, lifetime_s: int = LIFETIME_S) -> bytes:
    """RFC 6887, sections 7.2 and 11.1."""
    head = struct.pack("!BBBBII12x", 2, 0x81, 0, result, lifetime_s, 1)
    return head + request[24:42] + struct.pack("!H", 50000) + mapped("45.0.0.1")


def test_pcp_gives_an_external_endpoint_and_is_renewed_at_half_time() -> None:
    ours = mapper()
    (request,) = ours.requests(0.0)
    assert len(request) == 60
    assert request[0] == 2
    assert request[8:24] == mapped("192.168.1.2")
    assert struct.unpack("!H", request[40:42])[0] == 40000
    assert ours.receive(pcp_answer(request), ROUTER, 0.1)
    assert ours.external == ("45.0.0.1", 50000)
    assert ours.requests(LIFETIME_S / 2 - 1) == []
    (again,) = ours.requests(LIFETIME_S / 2 + 1)
    assert struct.unpack("!H", again[42:44])[0] == 50000


def test_a_router_of_natpmp_alone_is_asked_in_its_words() -> None:
    ours = mapper()
    ours.requests(0.0)
    ours.receive(struct.pack("!BBHI", 0, 0, 1, 9), ROUTER, 0.1)
    address, port = ours.requests(0.1)
    assert address == b"\0\0"
    assert port == struct.pack("!BBHHHI", 0, 1, 0, 40000, 40000, LIFETIME_S)
    assert not ours.receive(struct.pack("!BBHI4B", 0, 128, 0, 9, 45, 0, 0, 1), ROUTER, 0.2)
    assert ours.receive(struct.pack("!BBHIHHI", 0, 129, 0, 9, 40000, 41000, 600), ROUTER, 0.3)
    assert ours.external == ("45.0.0.1", 41000)


def test_the_address_of_a_natpmp_router_is_asked_for_until_it_is_told() -> None:
    ours = PortMapper("192.168.1.1", "192.168.1.2", 40000, bytes(range(12)), pcp=False)
    mapping = struct.pack("!BBHIHHI", 0, 129, 0, 9, 40000, 41000, 600)
    ours.requests(0.0)
    assert not ours.receive(mapping, ROUTER, 0.1)  # the other answer is lost
    address, _ = ours.requests(RETRY_S[0])
    assert address == b"\0\0"
    assert ours.receive(struct.pack("!BBHI4B", 0, 128, 0, 9, 45, 0, 0, 1), ROUTER, 0.4)
    ours.receive(mapping, ROUTER, 0.4)
    assert ours.external == ("45.0.0.1", 41000)
    assert ours.deadline() == 0.4 + 300


def test_answers_of_others_to_others_and_refusals_give_nothing() -> None:
    ours = mapper()
    (request,) = ours.requests(0.0)
    assert not ours.receive(pcp_answer(request), ("192.168.1.9", 5351), 0.1)
    other = bytearray(pcp_answer(request))
    other[24] ^= 1
    assert not ours.receive(bytes(other), ROUTER, 0.1)
    for length in range(60):
        assert not ours.receive(pcp_answer(request)[:length], ROUTER, 0.1) or ours.external is None
    ours = mapper()
    (request,) = ours.requests(0.0)
    ours.receive(pcp_answer(request, result=2), ROUTER, 0.1)
    assert ours.external is None
    assert ours.requests(60.0) == []


def test_a_router_that_is_silent_is_left_alone_after_four_tries() -> None:
    ours = mapper()
    now, asked = 0.0, 0
    while now < 60.0:
        asked += len(ours.requests(now))
        now += 0.05
    assert asked == len(RETRY_S)


EVERY = ("pcp", "nat-pmp", "upnp-igd")
MAPPED = ("45.0.0.1", 50000)
PORTS = {"192.168.1.2": 40000, "192.168.1.3": 40000}


def mappings(protocols: tuple[str, ...] = EVERY) -> Mappings:
    ours = Mappings(Outbox(), random.Random(1).randbytes, protocols)
    ours.ask([("192.168.1.1", "192.168.1.2")], {"192.168.1.2": 40000}, 0.0)
    return ours


def test_upnp_is_asked_only_when_the_other_two_are_silent() -> None:
    ours = mappings()
    ours.tick(AFTER_S - 0.01, translated=True)
    assert ours.requests == []
    ours.tick(AFTER_S, translated=True)
    (request,) = ours.requests
    assert (request.own, request.port, request.external_port) == ("192.168.1.2", 40000, 40000)

    ours = mappings()
    ours.tick(0.0, translated=True)
    ((pcp, _),) = ours._outbox.main
    assert ours.receive(pcp_answer(pcp), ROUTER, 0.1)
    ours.tick(AFTER_S, translated=True)
    assert ours.requests == []
    assert ours.candidates() == [("port-mapped", *MAPPED)]


def test_an_upnp_mapping_is_renewed_at_half_of_its_lease_and_given_up_when_refused() -> None:
    ours = mappings(("upnp-igd",))
    ours.tick(0.0, translated=True)
    request = ours.requests.pop()
    assert ours._outbox.main == []
    ours.tick(100.0, translated=True)
    assert ours.requests == []  # one is under way
    assert ours.on_igd(request, MAPPED, 600, 100.0)
    assert ours.candidates() == [("port-mapped", *MAPPED)]
    assert ours.deadline() == 400.0
    ours.tick(400.0, translated=True)
    again = ours.requests.pop()
    assert again.external_port == MAPPED[1]
    assert ours.on_igd(again, None, 0, 401.0)
    assert ours.candidates() == []
    assert ours.deadline() == 401.0 + REST_S


def test_an_answer_for_an_address_that_we_no_longer_have_is_ignored() -> None:
    ours = mappings(("upnp-igd",))
    ours.tick(0.0, translated=True)
    request = ours.requests.pop()
    ours.ask([], {}, 1.0)
    assert not ours.on_igd(request, MAPPED, 600, 2.0)
    assert ours.candidates() == []


def test_an_answer_to_what_was_asked_in_another_network_is_ignored() -> None:
    """Networks are alike: the other router may have the same address and give us the same."""
    ours = mappings(("upnp-igd",))
    ours.tick(0.0, translated=True)
    request = ours.requests.pop()
    ours.ask([("192.168.1.1", "192.168.1.2")], {"192.168.1.2": 40000}, 1.0)
    assert not ours.on_igd(request, MAPPED, 600, 1.5)
    assert ours.candidates() == []
    ours.tick(2.0, translated=True)
    (again,) = ours.requests
    assert again == request
    assert not ours.on_igd(request, MAPPED, 600, 2.5)
    assert ours.on_igd(again, MAPPED, 600, 2.6)


def test_pcp_knows_us_after_a_change_of_the_network() -> None:
    """A router refuses what another nonce asks for a port that is mapped (RFC 6887, section 11.3)."""
    ours = mappings(("pcp",))
    ours.tick(0.0, translated=True)
    ours.ask([("192.168.1.1", "192.168.1.2"), ("192.168.1.1", "192.168.1.3")], PORTS, 1.0)
    ours.tick(1.0, translated=True)
    first, again, other = (datagram[24:36] for datagram, _ in ours._outbox.main)
    assert first == again != other


def test_a_mapping_whose_router_is_silent_is_told_of_no_longer() -> None:
    world = World({"a": None, "b": None}, options={"port_mapping": ("pcp",)})
    world.start_all()
    node = world.nodes["a"]
    node.network_changed(node.local, world.now, [("192.168.1.1", node.local[0][1])])
    node.tick(world.now)
    (request,) = (datagram for datagram, to in node.outbox.main if to == ROUTER)
    node.ingress.receive(pcp_answer(request), ROUTER, world.now)
    assert ("port-mapped", *MAPPED) in node.servers.candidates
    world._settle_node("a")
    world.run(LIFETIME_S / 2 + 5.0)
    assert ("port-mapped", *MAPPED) not in node.servers.candidates
    assert ["port-mapped", *MAPPED] not in registration(world, "a").candidates


def test_only_the_protocols_of_the_configuration_are_used() -> None:
    ours = mappings(("nat-pmp",))
    ours.tick(0.0, translated=True)
    assert {datagram[0] for datagram, _ in ours._outbox.main} == {0}
    ours = mappings(())
    ours.tick(1000.0, translated=True)
    assert ours.requests == ours._outbox.main == []
    ours = mappings(("pcp",))
    ours.tick(0.0, translated=True)
    ours._outbox.main.clear()
    ours.receive(struct.pack("!BBHI", 0, 0, 1, 9), ROUTER, 0.1)
    ours.tick(0.3, translated=True)
    assert {datagram[0] for datagram, _ in ours._outbox.main} == {2}


def test_upnp_is_asked_only_by_who_is_translated() -> None:
    ours = mappings(("upnp-igd",))
    ours.tick(0.0, translated=False)
    assert ours.requests == []
    assert ours.deadline() == math.inf
    ours.tick(100.0, translated=True)
    (request,) = ours.requests
    assert request.own == "192.168.1.2"
