"""What gets round the access rules, and what they must let by: extension headers, fragments, ICMP, time, the hub."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from refmesh_hostility import registration, server_of

from overlays.refmesh import credentials, keys
from overlays.refmesh.cli import cli
from overlays.refmesh.core import access as access_module
from overlays.refmesh.core import headers
from overlays.refmesh.core.access import MAX_FLOWS, Access, parse_rules
from overlays.refmesh.credentials import CLOCK_SKEW_S
from overlays.refmesh.errors import CredentialError, RefmeshError
from overlays.refmesh.policy import next_policy
from overlays.refmesh.simulation.world import UNIX_S, World, ip_packet

A4, B4 = "10.77.0.1", "10.77.0.2"
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"
TCP, UDP = 6, 17
TCP_ONLY = [{"from": "a", "to": "b", "protocol": "tcp", "ports": "80"}]
ANY_ONE_WAY = [{"from": "a", "to": "b"}]


def access(*rules: dict[str, str]) -> Access:
    return Access(parse_rules(rules), ("a",), ("b",))


def v6(protocol: int, body: bytes, source: bytes = A6, destination: bytes = B6) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + source + destination + body


def ports(source: int, destination: int) -> bytes:
    return struct.pack("!HH", source, destination) + bytes(16)


EXTENSIONS = {
    "hop-by-hop": (0, bytes(7)),
    "routing": (43, bytes(7)),
    "destination options": (60, bytes((1,)) + bytes(14)),
    "atomic fragment": (44, bytes(7)),
    "authentication": (51, bytes((1,)) + bytes(10)),
    "mobility": (135, bytes(7)),
}


def extended(names: list[str], protocol: int, body: bytes) -> bytes:
    for name in reversed(names):
        number, rest = EXTENSIONS[name]
        body, protocol = bytes((protocol,)) + rest + body, number
    return v6(protocol, body)


@pytest.mark.parametrize("names", [[], *([name] for name in EXTENSIONS), ["hop-by-hop", "routing", "atomic fragment"]])
def test_ports_are_found_behind_extension_headers(names: list[str]) -> None:
    rules = access(*TCP_ONLY)
    assert rules.outbound(extended(names, TCP, ports(1000, 80)), 0.0)
    assert not rules.outbound(extended(names, TCP, ports(1000, 81)), 0.0)
    assert not rules.outbound(extended(names, UDP, ports(1000, 80)), 0.0)
    # One way open to all: the other way nothing but answers, whatever stands before the ports.
    one_way = access(*ANY_ONE_WAY)
    assert one_way.outbound(extended(names, TCP, ports(1000, 80)), 0.0)
    assert not one_way.inbound(extended(names, TCP, ports(81, 1000)), 0.0)
    assert one_way.inbound(extended(names, TCP, ports(80, 1000)), 0.0)


@pytest.mark.parametrize(
    "packet",
    [
        v6(44, bytes((TCP, 0)) + struct.pack("!HI", 8, 7) + ports(1000, 80)),  # a later fragment
        v6(44, bytes((TCP, 0)) + struct.pack("!HI", 1, 7) + ports(1000, 80)),  # the first of several
        v6(0, bytes((TCP, 255)) + bytes(6) + ports(1000, 80)),  # an extension header longer than the packet
        v6(0, bytes((0, 0)) + bytes(6)) + bytes(8 * 20),  # headers without end
        v6(TCP, b"\0\1"),
        ip_packet(A4, B4, bytes(20), protocol=TCP)[:6] + b"\x20\0" + ip_packet(A4, B4, bytes(20), protocol=TCP)[8:],
        ip_packet(A4, B4, bytes(20), protocol=TCP)[:6] + b"\0\1" + ip_packet(A4, B4, bytes(20), protocol=TCP)[8:],
        b"\x41" + ip_packet(A4, B4, bytes(20), protocol=TCP)[1:],  # a header of four octets
    ],
)
def test_what_has_no_ports_to_be_found_opens_nothing_and_answers_nothing(packet: bytes) -> None:
    rules = access(*ANY_ONE_WAY)
    assert not rules.outbound(packet, 0.0)
    assert not rules.inbound(packet, 0.0)


@given(st.binary(max_size=120), st.sampled_from((b"", b"\x45", b"\x60")))
def test_the_reader_survives_anything(data: bytes, first: bytes) -> None:
    headers.read(first + data)


def icmp(kind: int, body: bytes, *, source: str = B4, destination: str = A4) -> bytes:
    message = bytes((kind, 0, 0, 0)) + body
    head = ip_packet(source, destination, b"", protocol=1, ports=())[:20]
    return head[:2] + struct.pack("!H", 20 + len(message)) + head[4:] + message


UNREACHABLE, REDIRECT, ECHO, ECHO_REPLY, TIMESTAMP = 3, 5, 8, 0, 13


def test_icmp_errors_about_what_was_sent_come_back_and_others_do_not() -> None:
    rules = access(*TCP_ONLY)
    sent = ip_packet(A4, B4, bytes(8), protocol=TCP, ports=(1000, 80))
    about = bytes(4) + sent[:28]
    assert not rules.inbound(icmp(UNREACHABLE, about), 0.0)
    assert rules.outbound(sent, 0.0)
    assert rules.inbound(icmp(UNREACHABLE, about), 1.0)
    assert rules.inbound(icmp(11, about, source="10.77.0.9"), 1.0)  # of a router beyond the peer
    assert not rules.inbound(icmp(REDIRECT, about), 1.0)
    other = ip_packet(A4, B4, bytes(8), protocol=TCP, ports=(1001, 80))
    foreign = ip_packet("10.77.0.7", B4, bytes(8), protocol=TCP, ports=(1000, 80))
    turned = ip_packet(B4, A4, bytes(8), protocol=TCP, ports=(80, 1000))
    for wrong in (other[:28], foreign[:28], turned[:28], sent[:23], b"", icmp(UNREACHABLE, about)):
        assert not rules.inbound(icmp(UNREACHABLE, bytes(4) + wrong), 1.0)
    # It does not keep the flow alive, and comes too late after it.
    assert not rules.inbound(icmp(UNREACHABLE, about), 1e5)
    # We may say so about what came in.
    assert rules.outbound(sent, 2e5)
    answer = ip_packet(B4, A4, bytes(8), protocol=TCP, ports=(80, 1000))
    assert rules.outbound(icmp(UNREACHABLE, bytes(4) + answer[:28], source=A4, destination=B4), 2e5)


def test_icmp_v6_errors_too() -> None:
    rules = access(*TCP_ONLY)
    sent = v6(TCP, ports(1000, 80))
    too_big = v6(58, bytes((2, 0, 0, 0)) + struct.pack("!I", 1280) + sent, B6, A6)
    assert not rules.inbound(too_big, 0.0)
    assert rules.outbound(sent, 0.0)
    assert rules.inbound(too_big, 0.0)


def test_a_ping_one_way_lets_replies_back_and_no_request() -> None:
    rules = access({"from": "a", "to": "b", "protocol": "icmp"})
    request, reply = (struct.pack("!HH", 77, 1) + bytes(8) for _ in range(2))
    ours = {"source": A4, "destination": B4}
    assert not rules.inbound(icmp(ECHO_REPLY, reply), 0.0)
    assert rules.outbound(icmp(ECHO, request, **ours), 0.0)
    assert rules.inbound(icmp(ECHO_REPLY, reply), 1.0)
    assert not rules.inbound(icmp(ECHO, request), 1.0)
    assert not rules.inbound(icmp(TIMESTAMP, request), 1.0)
    assert rules.outbound(icmp(TIMESTAMP, request, **ours), 1.0)


def test_a_full_flow_table_costs_no_more_and_only_who_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = access({"from": "a", "to": "b", "protocol": "udp"}, {"from": "b", "to": "a", "protocol": "udp"})
    assert rules.outbound(ip_packet(A4, B4, b"", ports=(1, 2)), 0.0)
    for number in range(3 * MAX_FLOWS):
        assert rules.inbound(ip_packet(B4, A4, b"", ports=(number % 60000, 5 + number // 60000)), 0.0)
    assert len(rules._theirs) == MAX_FLOWS
    assert len(rules._ours) == 1
    steps = 0
    pop = dict.pop

    class Counting(dict):  # type: ignore[type-arg]
        def pop(self, *args: object) -> object:
            nonlocal steps
            steps += 1
            return pop(self, *args)  # type: ignore[arg-type]

        def items(self) -> object:
            raise AssertionError("walks through all flows")

    monkeypatch.setattr(rules._theirs, "_until_s", Counting(rules._theirs._until_s))
    assert rules.inbound(ip_packet(B4, A4, b"", ports=(60001, 7)), 0.0)
    assert steps <= 2
    # Answers to what we have opened still come.
    assert not access(*TCP_ONLY).inbound(ip_packet(B4, A4, b"", ports=(2, 1)), 0.0)
    assert rules._ours.live((17, 1, 2), 1.0)
    assert access_module.FLOW_LIFETIME_S[17] == 300.0


# --- time


def test_a_session_ends_with_the_certificate() -> None:
    world = World({"a": None, "b": None})
    text = credentials.issue(
        world.network.authority_private,
        "b",
        keys.public(world.network.private_keys["b"]),
        [world.network.addresses["b"]],
        not_after=int(UNIX_S) + 100,
        rng=random.Random(1).randbytes,
    )
    world.start("a")
    world.start("b", config=world.config("b", certificate=text))
    world.run(100.0 + CLOCK_SKEW_S - 5)
    world.send("b", "a", b"still valid")
    world.run(1.0)
    assert world.received["a"][-1].endswith(b"still valid")
    world.run(60.0)
    assert not world.nodes["a"].peers.by_key
    assert [r.certificate.name for r in server_of(world).registry.by_key.values()] == ["a"]
    world.send("b", "a", b"too late")
    world.run(5.0)
    assert world.received["a"][-1].endswith(b"still valid")
    for who in ("a", "s0"):
        assert any(f"{who}: the certificate of b has expired" in event for event in world.events)


# --- the hub's own host


def test_the_hubs_own_host_is_reached_as_the_rules_say() -> None:
    rules = [{"from": "a", "to": "s0", "protocol": "udp", "ports": "2000"}, {"from": "a", "to": "b"}]
    world = World({"a": None, "b": None}, mode="hub", hub=True)
    world.policy = credentials.sign_policy(world.network.authority_private, 2, rules)
    world.start_server("s0")
    world.start_all()
    world.run(3.0)
    server, host = server_of(world), world.overlay_address("s0")

    def sent(src: str, port: int) -> list[bytes]:
        packet = ip_packet(world.overlay_address(src), host, b"x", ports=(1000, port))
        hub = server.hub
        assert hub is not None
        hub.forward_from(registration(world, src), [packet], world.now)
        return [server.outlet.to_tun.pop() for _ in server.outlet.to_tun[:]]

    assert len(sent("a", 2000)) == 1
    assert sent("a", 22) == []
    assert sent("b", 2000) == []
    answer = ip_packet(host, world.overlay_address("a"), b"y", ports=(2000, 1000))
    server.outlet.datagrams.clear()
    server.from_tun(answer, world.now)
    assert len(server.outlet.datagrams) == 1
    server.from_tun(ip_packet(host, world.overlay_address("b"), b"y", ports=(2000, 1000)), world.now)
    assert len(server.outlet.datagrams) == 1


# --- invitations


@pytest.mark.parametrize(("server", "remembers"), [("s1", True), ("", True), ("s0", False)])
def test_an_invitation_is_taken_by_the_server_that_it_names_and_that_remembers(server: str, remembers: bool) -> None:
    world = World({"a": None, "b": None})
    server_of(world).admission._keep = (lambda _: True) if remembers else None
    rng = random.Random(2)
    private = rng.randbytes(32)
    join_key = credentials.invite(
        world.network.authority_private,
        "b",
        ["10.77.0.2/16"],
        not_after=int(UNIX_S) + 10**6,
        server=server,
        rng=rng.randbytes,
    )
    config = world.config("b", private_key=private, certificate=credentials.redeem(join_key, keys.public(private)))
    node = world.start("b", config=config)
    world.run(3.0)
    assert not node.ready
    assert any(
        "s0: refused" in event and ("state_dir" if not remembers else "is for server") in event
        for event in world.events
    )


# --- network documents


def test_revoking_somebody_opens_nothing(tmp_path: Path) -> None:
    seed = random.Random(3).randbytes(32)
    (tmp_path / "key").write_text(keys.encode(seed))
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "rules").write_text(yaml.safe_dump(TCP_ONLY))
    run, base = CliRunner(), ["policy", "--authority", str(tmp_path / "key"), "--version"]
    first = run.invoke(cli, [*base, "1", "--rules", str(tmp_path / "rules"), "--revoke", "old"])
    assert first.exit_code == 0, first.output
    (tmp_path / "policy").write_text(first.output)
    assert run.invoke(cli, [*base, "2", "--revoke", "s"]).exit_code == 2
    second = run.invoke(cli, [*base, "2", "--from", str(tmp_path / "policy"), "--revoke", "s"])
    assert second.exit_code == 0, second.output
    found = credentials.verify_policy(second.output.strip(), keys.signing_public(seed))
    assert [dict(rule) for rule in found.rules] == TCP_ONLY
    assert found.revoked == {"old", "s"}
    older = run.invoke(cli, [*base, "1", "--from", str(tmp_path / "policy")])
    assert isinstance(older.exception, RefmeshError)
    (tmp_path / "rules").write_bytes(b"\xff")
    assert isinstance(run.invoke(cli, [*base, "3", "--rules", str(tmp_path / "rules")]).exception, RefmeshError)
    for wrong in ({"from": "a"}, 7, [7], [{"from": "a", "to": "b", "protocol": ["tcp"]}], "text"):
        with pytest.raises(CredentialError):
            next_policy(seed, 9, rules=wrong)  # type: ignore[arg-type]
