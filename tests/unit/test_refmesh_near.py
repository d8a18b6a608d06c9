"""Near sockets: they share the main socket's port, get what is from their endpoint and nothing else, one at a time."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from overlays.refmesh.driver.near import NearSocket
from overlays.refmesh.driver.udp import SOL_UDP, UDP_GRO, UdpSocket
from overlays.refmesh.errors import MachineError

HOST = "127.0.0.1"


@pytest.fixture
def main() -> Iterator[UdpSocket]:
    """Return a node's main socket."""
    with contextlib.closing(UdpSocket(socket.AF_INET, HOST, 0)) as sock:
        yield sock


@pytest.fixture
def peer() -> Iterator[UdpSocket]:
    """Return the other end of a near socket."""
    with contextlib.closing(UdpSocket(socket.AF_INET, HOST, 0)) as sock:
        yield sock


@pytest.fixture
def near(main: UdpSocket, peer: UdpSocket) -> Iterator[NearSocket]:
    """Return a near socket of `main`'s port to `peer`."""
    with contextlib.closing(NearSocket((HOST, peer.port), main.port, [main])) as sock:
        yield sock


def wait(sock: UdpSocket) -> None:
    assert select.select([sock], [], [], 5)[0]


def test_what_comes_from_the_endpoint_goes_there_and_all_else_to_the_main_socket(
    main: UdpSocket, peer: UdpSocket, near: NearSocket
) -> None:
    with contextlib.closing(UdpSocket(socket.AF_INET, HOST, 0)) as stranger:
        for sender in (stranger, peer):
            sender.send(b"hello", (HOST, main.port))
        for receiver, sender in ((near, peer), (main, stranger)):
            wait(receiver)
            received = receiver.receive()
            assert received is not None
            assert (bytes(received[0]), received[2]) == (b"hello", (HOST, sender.port))
            assert receiver.receive() is None
    assert near.write(b"back") == 4
    wait(peer)
    received = peer.receive()
    assert received is not None
    assert (bytes(received[0]), received[2]) == (b"back", (HOST, main.port))


def test_one_more_can_share_the_port_but_no_stranger_can(main: UdpSocket, near: NearSocket) -> None:
    with contextlib.closing(UdpSocket(socket.AF_INET, HOST, 0)) as other:
        NearSocket((HOST, other.port), main.port, [main, near]).close()
        with pytest.raises(MachineError, match="cannot use UDP port"):
            NearSocket((HOST, other.port), main.port, [main])  # `near` does not agree
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind((HOST, main.port))
    with pytest.raises(MachineError, match="cannot use UDP port"):
        UdpSocket(socket.AF_INET, HOST, main.port)


def joins(near: NearSocket) -> bool:
    return bool(near.socket.getsockopt(SOL_UDP, UDP_GRO))


def test_it_reads_singly_or_together(near: NearSocket) -> None:
    assert joins(near)
    assert not near.single
    near.settle()
    assert near.single
    assert not joins(near)
    near.join()
    assert not near.single
    assert joins(near)


def test_what_is_there_already_is_read_with_its_size_and_source(
    main: UdpSocket, peer: UdpSocket, near: NearSocket
) -> None:
    peer.send_run([b"a" * 100] * 3, (HOST, main.port))
    wait(near)
    near.settle()
    assert not near.single
    assert joins(near)
    total = b""
    while (received := near.receive()) is not None:
        view, size, source = received
        assert size == 100
        assert source == (HOST, peer.port)
        total += bytes(view)
    assert total == b"a" * 300
    near.settle()
    assert near.single
    buffer = bytearray(65536)
    assert near.readinto(buffer) is None
    peer.send_run([b"b" * 100] * 3, (HOST, main.port))
    wait(near)
    assert [near.readinto(buffer) for _ in range(4)] == [100, 100, 100, None]


def test_after_closing_neither_descriptor_nor_port_is_touched(main: UdpSocket, near: NearSocket) -> None:
    near.close()
    for use in (lambda: near.write(b"x"), lambda: near.readinto(bytearray(9))):
        with pytest.raises(ValueError, match="closed"):
            use()
    main.send(b"still here", (HOST, main.port))
    wait(main)
    assert main.receive() is not None
