"""Real sockets on the loopback interface: answers leave from the address that was asked."""

from __future__ import annotations

import socket

import pytest

from overlays.refmesh.core.check import Path
from overlays.refmesh.driver import addresses, clock
from overlays.refmesh.driver import udp as udp_module
from overlays.refmesh.driver.sockets import KEPT_S, NodeSockets
from overlays.refmesh.driver.udp import UdpSocket
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire.control import Endpoint

ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.7.7.7"]


@pytest.fixture
def server() -> UdpSocket:
    return UdpSocket(socket.AF_INET, "", 0)


def ask(server: UdpSocket, address: str) -> socket.socket:
    """Return a client that takes answers from the address that it asked alone, as a NAT would let in no other."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind(("127.0.0.1", 0))
    client.connect((address, server.port))
    client.settimeout(10)
    client.send(b"question")
    return client


def source(server: UdpSocket) -> tuple[str, int]:
    server.socket.setblocking(True)
    received = server.receive()
    server.socket.setblocking(False)
    assert received is not None
    assert bytes(received[0]) == b"question"
    return received[2]


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_answer_comes_from_the_address_that_was_asked(server: UdpSocket, address: str) -> None:
    with ask(server, address) as client:
        asker = source(server)
        assert server.asked(asker) == address
        server.send(b"answer", asker)
        assert client.recv(100) == b"answer"


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_run_of_answers_and_a_whole_one_do_too(server: UdpSocket, address: str) -> None:
    with ask(server, address) as client:
        asker = source(server)
        server.send_run([b"one", b"two", b"end"], asker)
        server.send_segmented(memoryview(b"abcdefgh"), 3, asker)
        server.send_whole(b"whole", asker)
        said = [client.recv(100) for _ in range(7)]
        assert said == [b"one", b"two", b"end", b"abc", b"def", b"gh", b"whole"]


def test_an_address_that_is_gone_is_forgotten(server: UdpSocket) -> None:
    with ask(server, "127.0.0.1") as client:
        asker = source(server)
        server._asked[asker] = bytes(4) + socket.inet_aton("198.51.100.1") + bytes(4)
        server.send(b"answer", asker)
        assert client.recv(100) == b"answer"
        assert server.asked(asker) == ""


def test_what_is_remembered_has_an_end(server: UdpSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "MAX_ASKED", 3)
    askers = []
    for _ in range(5):
        with ask(server, "127.0.0.2"):
            askers.append(source(server))
    assert [server.asked(asker) for asker in askers] == ["", "", "127.0.0.2", "127.0.0.2", "127.0.0.2"]


def test_who_is_known_to_be_somewhere_is_not_forgotten_for_those_who_are_not(
    server: UdpSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_module, "MAX_ASKED", 8)
    members: list[Endpoint] = []
    server.keeps = members.__contains__
    info = bytes(4) + socket.inet_aton("127.0.0.2") + bytes(4)
    for port in range(1, 5):
        members.append(("192.0.2.1", port))
        server._note_asked(members[-1], info)
    for port in range(1, 101):
        server._note_asked(("192.0.2.2", port), info)
        assert len(server._asked) <= 8
    assert [server.asked(member) for member in members] == ["127.0.0.2"] * 4
    assert server.asked(("192.0.2.2", 100)) == "127.0.0.2"
    for port in range(5, 20):
        members.append(("192.0.2.1", port))
        server._note_asked(members[-1], info)
    assert len(server._asked) == 8


def test_a_node_keeps_what_its_peers_and_servers_have_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(3.0)
    node, moment = world.nodes["a"], [1000.0]
    monkeypatch.setattr(clock, "now", lambda: moment[0])
    sockets = NodeSockets(node, None, None, 0, on_readable=lambda *_: True, on_near=lambda *_: True)  # type: ignore[arg-type]
    try:
        keeps = sockets.main[socket.AF_INET].keeps
        (peer,) = node.peers.by_key.values()
        assert peer.path is not None
        assert keeps(peer.path.endpoint)
        assert keeps(node.servers.links[0].endpoint)
        assert not keeps(("66.6.6.6", 1))
        peer.take(Path(("66.6.6.6", 1)))
        moment[0] += KEPT_S + 0.1
        assert keeps(("66.6.6.6", 1))
    finally:
        sockets.close()


@pytest.mark.parametrize("mark", [0, 51820])
def test_what_asks_the_kernel_for_a_route_bears_the_firewall_mark(
    server: UdpSocket, mark: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[int] = []

    def note(sock: socket.socket, value: int) -> None:
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()  # before the route is chosen
        marked.append(value)

    monkeypatch.setattr(udp_module, "set_mark", note)
    monkeypatch.setattr(addresses, "set_mark", note)
    server.mark = mark
    assert server.allowed(("127.0.0.1", 9)) > 1000
    route = "Iface Destination Gateway Flags\nlo 00000000 0100007F 0003\n"
    monkeypatch.setattr(addresses.Path, "read_text", lambda _: route)
    assert addresses.routers(mark) == [("127.0.0.1", "127.0.0.1")]
    assert marked == [mark] * 2 if mark else not marked


def test_over_ipv6_as_well() -> None:
    server = UdpSocket(socket.AF_INET6, "", 0)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("::1", server.port))
        client.send(b"question")
        asker = source(server)
        assert server.asked(asker) == "::1"
        server.send(b"answer", asker)
        assert client.recv(100) == b"answer"
