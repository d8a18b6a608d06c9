"""Real sockets on the loopback interface: answers leave from the address that was asked."""

from __future__ import annotations

import socket

import pytest

from overlays.refmesh.driver import udp as udp_module
from overlays.refmesh.driver.udp import UdpSocket

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
