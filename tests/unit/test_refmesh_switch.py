"""Layer 2: frames find their way, broadcast reaches all, and rules that are not open keep frames out."""

from __future__ import annotations

import pytest
from refmesh_hostility import registration, server_of

from overlays.refmesh import credentials, keys
from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.core.switch import AGEING_S, MAX_OF_ONE, Switch, senders
from overlays.refmesh.server.registry import COPIES_BURST, COPIES_PER_S
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire import control

MAC = {name: bytes((2, 0, 0, 0, 0, number)) for number, name in enumerate("abc", 1)}
BROADCAST = bytes((255,)) * 6


def frame(src: str, dst: bytes, payload: bytes = b"payload") -> bytes:
    return dst + MAC[src] + b"\x08\x06" + payload


def world_of(mode: str, rules: list[dict[str, str]] | None = None) -> World:
    world = World(dict.fromkeys("abc", "full-cone"), mode=mode, hub=mode == "hub", options={"layer": "l2"})
    if rules is not None:
        world.policy = credentials.sign_policy(world.network.authority_private, 2, rules)
        world.start_server("s0")
    world.start_all()
    world.run(4.0)
    return world


def send(world: World, src: str, data: bytes) -> None:
    world.nodes[src].egress.frame(data, world.now)
    world._settle_node(src)
    world.run(0.3)


@pytest.mark.parametrize("mode", ["mesh", "relay", "hub"])
def test_broadcast_reaches_all_and_what_is_learned_only_one(mode: str) -> None:
    world = world_of(mode)
    send(world, "a", frame("a", BROADCAST))
    assert world.received["b"] == world.received["c"] == [frame("a", BROADCAST)]
    assert world.received["a"] == []
    send(world, "b", frame("b", MAC["a"]))
    assert world.received["a"] == [frame("b", MAC["a"])]
    assert len(world.received["c"]) == 1
    send(world, "a", frame("a", MAC["b"], bytes(1000)))
    assert world.received["b"][-1] == frame("a", MAC["b"], bytes(1000))
    assert len(world.received["c"]) == 1


@pytest.mark.parametrize("mode", ["mesh", "relay", "hub"])
def test_frames_pass_only_where_everything_is_allowed(mode: str) -> None:
    world = world_of(mode, [{"from": "*", "to": "b"}, {"from": "b", "to": "*"}, {"from": "c", "to": "a"}])
    send(world, "a", frame("a", BROADCAST))
    assert world.received["b"] == [frame("a", BROADCAST)]
    assert world.received["c"] == []
    send(world, "c", frame("c", BROADCAST))
    send(world, "a", frame("a", MAC["c"]))
    assert world.received["a"] == [] and world.received["c"] == [], "open one way only"
    assert world.received["b"][1:2] == [frame("c", BROADCAST)]


@pytest.mark.parametrize("mode", ["mesh", "hub"])
def test_new_rules_count_for_frames_at_once(mode: str) -> None:
    world = world_of(mode)
    send(world, "a", frame("a", BROADCAST))
    assert len(world.received["c"]) == 1
    rules = [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}]
    text = credentials.sign_policy(world.network.authority_private, 9, rules)
    authority = keys.signing_public(world.network.authority_private)
    world.servers["s0"].set_policy(credentials.verify_policy(text, authority), world.now)
    world._settle_server("s0")
    world.run(1.0)
    send(world, "a", frame("a", BROADCAST))
    assert (len(world.received["b"]), len(world.received["c"])) == (2, 1)


def test_what_is_no_frame_is_dropped() -> None:
    world = world_of("mesh")
    send(world, "a", b"short")
    send(world, "a", BROADCAST + BROADCAST + bytes(20))
    assert world.received["b"] == []


def arp(src: str, sender: str, world: World) -> bytes:
    """Return an ARP reply of `src` that says that the overlay address of `sender` is its own."""
    address = bytes(map(int, world.overlay_address(sender).split(".")))
    body = b"\x00\x01\x08\x00\x06\x04\x00\x02" + MAC[src] + address + MAC["a"] + bytes(4)
    return BROADCAST + MAC[src] + b"\x08\x06" + body


@pytest.mark.parametrize("mode", ["mesh", "hub"])
def test_no_member_takes_anothers_mac_or_address(mode: str) -> None:
    world = world_of(mode)
    send(world, "b", frame("b", BROADCAST))
    before = list(world.received["a"])
    send(world, "c", frame("b", BROADCAST, b"from c, with the MAC of b"))
    assert world.received["a"] == before
    for victim in ("a", "b", "s0") if mode == "hub" else ("a", "b"):
        send(world, "c", arp("c", victim, world))
        tagged = arp("c", victim, world)
        send(world, "c", tagged[:12] + b"\x81\x00\x00\x05" + tagged[12:])
        header = bytes((0x45,)) + bytes(11) + bytes(map(int, world.overlay_address(victim).split("."))) + bytes(4)
        send(world, "c", BROADCAST + MAC["c"] + b"\x08\x00" + header)
    assert world.received["a"] == before
    send(world, "c", arp("c", "c", world))
    assert world.received["a"] == [*before, arp("c", "c", world)]
    world.received["b"].clear()
    world.received["c"].clear()
    send(world, "a", frame("a", MAC["b"]))
    assert world.received["b"] == [frame("a", MAC["b"])]
    assert world.received["c"] == []


VICTIM = bytes.fromhex("fd000000000000000000000000000007")
HOP_BY_HOP, DESTINATION_OPTIONS, WHOLE_FRAGMENT = 0, 60, 44
ADVERTISEMENT = bytes((136, 0, 0, 0, 0x60, 0, 0, 0)) + VICTIM + bytes((2, 1)) + MAC["c"]


def advertised(*extensions: int) -> bytes:
    """Return a neighbour advertisement of `c`, from its own address, that says that the victim's is at its MAC."""
    body, protocol = ADVERTISEMENT, 58
    for extension in reversed(extensions):
        body, protocol = bytes((protocol,)) + bytes(7) + body, extension
    own = bytes.fromhex("fe800000000000000000000000000003")
    head = bytes((0x60, 0, 0, 0)) + len(body).to_bytes(2, "big") + bytes((protocol, 255))
    return BROADCAST + MAC["c"] + b"\x86\xdd" + head + own + bytes.fromhex("ff020000000000000000000000000001") + body


@pytest.mark.parametrize(
    "extensions", [(), (HOP_BY_HOP,), (DESTINATION_OPTIONS,) * 20, (HOP_BY_HOP, WHOLE_FRAGMENT, DESTINATION_OPTIONS)]
)
def test_an_advertisement_behind_extension_headers_is_looked_at(extensions: tuple[int, ...]) -> None:
    table: Switch[str] = Switch(lambda packed: "b" if packed == VICTIM else None)
    assert not table.learn(advertised(*extensions), "c", 0.0)
    assert table.learn(advertised(*extensions), "b", 0.0)
    for cut in range(14, len(advertised(*extensions))):
        senders(advertised(*extensions)[:cut])


def test_priority_tags_hide_nothing_however_many() -> None:
    world = World(dict.fromkeys("abc", "full-cone"), options={"layer": "l2"})
    claim, table = arp("c", "b", world), Switch[str](lambda _: "b")
    for tags in range(8):
        assert not table.learn(claim[:12] + b"\x81\x00\x00\x00" * tags + claim[12:], "c", 0.0)


@pytest.mark.parametrize("mode", ["mesh", "hub"])
def test_one_member_does_not_fill_the_table_of_addresses(mode: str) -> None:
    world = world_of(mode)
    for number in range(3 * MAX_OF_ONE):
        source = b"\x06\x00" + number.to_bytes(4, "big")
        world.nodes["c"].egress.frame(BROADCAST + source + b"\x08\x06x", world.now)
        world._settle_node("c")
    world.run(0.5)
    server = world.servers["s0"]
    assert server is not None
    table = server.hub._switch if server.hub is not None else world.nodes["a"].plane.switch
    assert len(table._table) == MAX_OF_ONE
    assert len(world.received["a"]) == 3 * MAX_OF_ONE
    send(world, "b", frame("b", MAC["a"]))
    world.received["c"].clear()
    send(world, "a", frame("a", MAC["b"]))
    assert world.received["b"][-1] == frame("a", MAC["b"])
    assert world.received["c"] == []


def test_a_hub_makes_so_many_copies_of_a_members_frames_and_others_have_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = world_of("hub")
    send(world, "b", frame("b", BROADCAST))
    sent: list[str] = []
    outlet = server_of(world).outlet
    monkeypatch.setattr(outlet, "send", lambda to, *_: sent.append(to.certificate.name))

    def copies(src: str, dst: bytes, frames: int) -> int:
        sent.clear()
        for _ in range(frames):
            payload = control.frame(control.ETHERNET, frame(src, dst))
            server_of(world).hub.switch(registration(world, src), frame(src, dst), payload, world.now)
        return len(sent)

    for target in (BROADCAST, b"\x06unown"):
        registration(world, "c").copies = Pacer(COPIES_PER_S, COPIES_BURST)
        assert copies("c", target, COPIES_BURST) == COPIES_BURST
        assert copies("c", MAC["b"], 100) == 100
        assert copies("a", target, 100) == 200
        world.now += 0.1
        assert copies("c", target, COPIES_BURST) == 0.1 * COPIES_PER_S


def test_frames_that_no_rule_lets_pass_cost_a_member_its_copies_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of("hub")
    send(world, "c", frame("c", BROADCAST))
    hub, looks = server_of(world).hub, [0]
    monkeypatch.setattr(hub, "_open", lambda *_: bool(looks.append(looks.pop() + 1)))
    payload = control.frame(control.ETHERNET, frame("c", BROADCAST))
    for _ in range(3 * COPIES_BURST):
        hub.switch(registration(world, "c"), frame("c", BROADCAST), payload, world.now)
    assert looks == [2 * COPIES_BURST], "of two others, for as many frames as there are copies"


def test_an_address_moves_when_it_has_been_silent_and_goes_with_its_member() -> None:
    table: Switch[str] = Switch(lambda _: None)
    assert table.learn(frame("b", BROADCAST), "one", 0.0)
    assert not table.learn(frame("b", BROADCAST), "other", AGEING_S - 1)
    assert table.learn(frame("b", BROADCAST), "other", AGEING_S + 1)
    assert table.find(frame("a", MAC["b"]), AGEING_S + 2) == "other"
    table.forget("other")
    assert table.find(frame("a", MAC["b"]), AGEING_S + 2) is None
    assert table.learn(frame("b", BROADCAST), "one", AGEING_S + 3)
    table.learn_own(frame("c", BROADCAST), 0.0)
    assert not table.learn(frame("c", BROADCAST), "one", 1.0)
