"""The simulated Internet: routers stacked and shared, both IP versions, ports on request, links in and out of order."""

from __future__ import annotations

import random
import struct

import pytest

from harness.model.nat import parse_nat
from harness.nat.simulated_ports import ExternalPorts
from harness.simulation.addresses import AddressesUsedUp
from harness.simulation.internet import IDEAL, Host, Internet, Link, Router

PORT = 4000


class Station:
    """A host that remembers what came."""

    def __init__(self, internet: Internet, router: Router | None = None, link: Link = IDEAL, *, ipv6: bool = False):
        self.internet = internet
        self.got: list[tuple[bytes, tuple[str, int], int]] = []
        self.host: Host = internet.host(router, lambda *what: self.got.append(what), link, ipv6=ipv6)

    def send(self, payload: bytes, to: tuple[str, int], port: int = PORT) -> None:
        self.host.send(payload, port, to)
        self.internet.events.run(1.0)

    def seen_by(self, server: Station) -> tuple[str, int]:
        """Return the server-reflexive address (RFC 8445)."""
        self.send(b"who am I", (server.host.address, PORT))
        return server.got[-1][1]


@pytest.fixture
def internet() -> Internet:
    return Internet(random.Random(1))


def carried(a: Station, b: Station, server: Station) -> bool:
    """Whether both hear each other after both have sent to where the server saw the other, twice."""
    at = {id(one): one.seen_by(server) for one in (a, b)}
    for _ in range(2):
        a.send(b"to b", at[id(b)])
        b.send(b"to a", at[id(a)])
    return any(got[0] == b"to a" for got in a.got) and any(got[0] == b"to b" for got in b.got)


def test_a_stack_shows_its_outermost_address_and_filters_at_each_router(internet: Internet) -> None:
    server, stranger = Station(internet), Station(internet)
    carrier = internet.router(parse_nat("full-cone"), carrier=True)
    inside = Station(internet, internet.router(parse_nat("port-restricted"), carrier))
    seen = inside.seen_by(server)
    assert seen[0] == carrier.tables.addresses[0]
    server.send(b"answer", seen)
    stranger.send(b"unasked", seen)  # the carrier lets it in, the home router does not
    assert [got[0] for got in inside.got] == [b"answer"]


@pytest.mark.parametrize(("nat", "meets"), [("cgn", True), ("port-restricted", False)])
def test_two_customers_of_one_carrier_meet_where_it_hairpins(internet: Internet, nat: str, *, meets: bool) -> None:
    server, carrier = Station(internet), internet.router(parse_nat(nat), carrier=True)
    a, b = (Station(internet, internet.router(parse_nat("home-router"), carrier)) for _ in "ab")
    assert carried(a, b, server) is meets


def test_two_hosts_of_one_home_reach_each_other_inside_and_others_do_not(internet: Internet) -> None:
    home, other = internet.router(parse_nat("port-restricted")), internet.router(parse_nat("port-restricted"))
    a, b, far = Station(internet, home), Station(internet, home), Station(internet, other)
    a.send(b"hello", (b.host.address, PORT))
    far.send(b"hello", (b.host.address, PORT))
    assert b.got == [(b"hello", (a.host.address, PORT), PORT)]


def test_a_firewall_has_public_hosts_behind_it(internet: Internet) -> None:
    server, wall = Station(internet), internet.router(parse_nat("firewall"))
    inside = Station(internet, wall)
    server.send(b"unasked", (inside.host.address, PORT))
    assert not inside.got
    assert inside.seen_by(server) == (inside.host.address, PORT)
    server.send(b"answer", (inside.host.address, PORT))
    assert [got[0] for got in inside.got] == [b"answer"]


def test_ipv6_goes_past_the_nat_and_through_the_firewall(internet: Internet) -> None:
    dual = parse_nat({"alias": "symmetric", "ipv6_filtering": "APDF"})
    a, b = (Station(internet, internet.router(dual), ipv6=True) for _ in "ab")
    assert a.host.address6 and b.host.address6 and a.host.address6 != b.host.address6
    a.send(b"first", (b.host.address6, PORT))
    assert not b.got
    b.send(b"second", (a.host.address6, PORT))
    assert a.got == [(b"second", (b.host.address6, PORT), PORT)]
    assert not Station(internet, internet.router(parse_nat("symmetric")), ipv6=True).host.address6
    assert not Station(internet, internet.router(parse_nat("ipv6-only")), ipv6=True).host.address


def test_a_router_maps_a_port_on_request_and_takes_it_back(internet: Internet) -> None:
    router = internet.router(parse_nat({"alias": "symmetric", "port_mapping": ["nat-pmp", "pcp"]}))
    host, stranger = Station(internet, router), Station(internet)
    own = struct.pack("!10xH4B", 0xFFFF, *map(int, host.host.address.split(".")))
    ask = struct.pack("!BBHI16s", 2, 1, 0, 60, own) + struct.pack("!12sB3xHH16s", b"n" * 12, 17, PORT, 0, bytes(16))
    host.send(ask, (router.tables.inside, 5351))
    answer, source, _ = host.got.pop()
    assert source == (router.tables.inside, 5351)
    assert answer[3] == 0  # success
    external = (router.tables.addresses[0], int.from_bytes(answer[24 + 18 : 24 + 20], "big"))
    stranger.send(b"unasked", external)
    assert host.got.pop()[0] == b"unasked"
    host.send(b"answer", (stranger.host.address, PORT))
    assert stranger.got.pop()[1] == external  # symmetric, but this flow came by the mapping
    host.send(struct.pack("!BBHHHI", 0, 1, 0, PORT, 0, 0), (router.tables.inside, 5351))  # NAT-PMP, lifetime 0
    host.got.clear()
    Station(internet).send(b"late", external)
    assert not host.got


def test_upnp_igd_maps_and_a_router_behind_another_refuses(internet: Internet) -> None:
    igd = parse_nat("home-router-upnp")
    host, stranger = Station(internet, internet.router(igd)), Station(internet)
    external = internet.lease(host.host, PORT, PORT, 60.0)
    assert external is not None
    stranger.send(b"unasked", external)
    assert [got[0] for got in host.got] == [b"unasked"]
    internet.events.run(61.0)
    stranger.send(b"late", external)
    assert len(host.got) == 1
    inner = Station(internet, internet.router(igd, internet.router(parse_nat("cgn"), carrier=True)))
    assert internet.lease(inner.host, PORT, PORT, 60.0) is None


def test_a_lease_takes_no_port_that_another_host_of_the_home_holds(internet: Internet) -> None:
    """B's answers went to A."""
    router, server = internet.router(parse_nat("home-router-upnp")), Station(internet)
    a, b = Station(internet, router), Station(internet, router)
    assert b.seen_by(server)[1] == PORT, "the router keeps ports"
    external = internet.lease(a.host, PORT, PORT, 60.0)
    assert external is not None and external[1] != PORT
    server.send(b"answer", b.seen_by(server))
    assert ([got[0] for got in a.got], [got[0] for got in b.got]) == ([], [b"answer"])
    Station(internet).send(b"unasked", external)
    assert [got[0] for got in a.got] == [b"unasked"]


def test_a_mapping_takes_no_port_that_another_host_of_the_home_has_leased(internet: Internet) -> None:
    router, server = internet.router(parse_nat("home-router-upnp")), Station(internet)
    a, b, c = (Station(internet, router) for _ in "abc")
    assert internet.lease(a.host, PORT, PORT, 60.0) == (router.tables.addresses[0], PORT)
    seen = b.seen_by(server)
    assert seen[1] != PORT
    server.send(b"answer", seen)
    assert ([got[0] for got in a.got], [got[0] for got in b.got]) == ([], [b"answer"])
    assert a.seen_by(server)[1] == PORT, "what A leased it may use itself"
    internet.events.run(61.0)
    assert c.seen_by(server)[1] != PORT, "A's own mapping still lives"
    internet.events.run(600.0)
    assert c.seen_by(server)[1] == PORT


def test_what_a_session_holds_without_its_mapping_is_not_leased(internet: Internet) -> None:
    """Packets from inside alone keep a mapping, those from outside the session: RFC 4787, REQ-6."""
    says = {"alias": "home-router-upnp", "udp_refresh": "outbound", "udp_lifetime_s": 30}
    router, server = internet.router(parse_nat(says)), Station(internet)
    a, b = Station(internet, router), Station(internet, router)
    seen = b.seen_by(server)
    for _ in range(2):
        internet.events.run(20.0)
        server.send(b"still here", seen)
    external = internet.lease(a.host, PORT, PORT, 60.0)
    assert external is not None and external != seen


def test_ports_drawn_at_random_are_none_that_another_host_has_leased(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = internet.router(parse_nat({"alias": "symmetric", "port_mapping": ["upnp-igd"]}))
    a, b, server = Station(internet, router), Station(internet, router), Station(internet)
    assert internet.lease(a.host, 50000, 50000, 60.0) == (router.tables.addresses[0], 50000)
    drawn = iter((50000, 50000, 50001))
    monkeypatch.setattr(ExternalPorts, "random_port", lambda _: next(drawn))
    assert b.seen_by(server)[1] == 50001


def test_more_than_255_homes_have_different_addresses(internet: Internet) -> None:
    homes = [Station(internet, internet.router(parse_nat("port-restricted"))) for _ in range(600)]
    assert len({home.host.address for home in homes}) == 600
    server = Station(internet)
    assert len({home.seen_by(server) for home in homes}) == 600


@pytest.mark.parametrize("reorders", [False, True])
def test_jitter_reorders_only_where_the_link_says_so(internet: Internet, *, reorders: bool) -> None:
    a, b = Station(internet, None, Link(0.01, 0.05, reorders=reorders)), Station(internet)
    for number in range(100):
        a.host.send(bytes([number]), PORT, (b.host.address, PORT))
    internet.events.run(1.0)
    order = [got[0][0] for got in b.got]
    assert sorted(order) == list(range(100))
    assert (order != sorted(order)) is reorders


@pytest.mark.parametrize("delays", [(0.001, 0.1), (0.1, 0.001), (0.05, 0.05)])
def test_a_flow_over_two_jittering_links_takes_no_longer_than_both(
    internet: Internet, delays: tuple[float, float]
) -> None:
    first, second = (Link(delay, 0.001) for delay in delays)
    a, b = Station(internet, None, first), Station(internet, None, second)
    sent: dict[bytes, float] = {}
    took = []

    def send(number: int) -> None:
        sent[data := str(number).encode()] = internet.events.now
        a.host.send(data, PORT, (b.host.address, PORT))

    b.host.receive = lambda datagram, *_: took.append(internet.events.now - sent[datagram])
    for number in range(300):
        internet.events.at(number * 0.001, lambda number=number: send(number))  # type: ignore[misc]
    internet.events.run(2.0)
    assert len(took) == 300
    assert sum(delays) <= min(took)
    assert max(took) <= sum(delays) + 0.002 + 1e-9


def test_routers_without_number_have_private_networks_that_differ_from_those_around_them(internet: Internet) -> None:
    for number in range(4600):
        outer = internet.router(parse_nat("port-restricted"))
        if number > 4300:
            inner = internet.router(parse_nat("port-restricted"), outer)
            assert inner.prefix != outer.prefix
            host = Station(internet, inner)
            assert host.seen_by(Station(internet))[0] == outer.tables.addresses[0]


def test_a_network_without_an_address_left_is_named(internet: Internet) -> None:
    home = internet.router(parse_nat("port-restricted"))
    with pytest.raises(AddressesUsedUp, match=r"192\.168\.0\.0/24"):
        for _ in range(254):
            Station(internet, home)


def test_links_take_their_time_and_lose_their_share(internet: Internet) -> None:
    a, b = Station(internet, None, Link(0.03)), Station(internet, None, Link(0.07, loss=0.5))
    a.host.send(b"x", PORT, (b.host.address, PORT))
    for _ in range(999):
        a.host.send(b"y", PORT, (b.host.address, PORT))
    internet.events.run(0.0999)
    assert not b.got
    internet.events.run(0.0002)
    assert 400 < len(b.got) < 600


def test_who_moves_is_found_at_the_new_address_alone(internet: Internet) -> None:
    a, b = Station(internet), Station(internet)
    old = b.host.address
    internet.move(b.host, None)
    a.send(b"old", (old, PORT))
    a.send(b"new", (b.host.address, PORT))
    assert [got[0] for got in b.got] == [b"new"]
    b.host.reachable = False
    a.send(b"asleep", (b.host.address, PORT))
    assert len(b.got) == 1
