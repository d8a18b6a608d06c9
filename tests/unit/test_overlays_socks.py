"""The forwarder before a SOCKS proxy, against a proxy that is played here."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from overlays import socks


@contextmanager
def proxy(reply: int) -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """Return a SOCKS5 proxy for one connection; with reply 0 it then says what it was sent until the end, backwards."""
    asked: list[bytes] = []

    def play() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(3) == socks.greeting()
            connection.sendall(b"\x05\x00")
            asked.append(connection.recv(300))
            connection.sendall(b"\x05" + bytes([reply]) + b"\x00\x01" + bytes(6))
            if reply:
                return
            heard = b""
            while part := connection.recv(1000):
                heard += part
            connection.sendall(heard[::-1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        player = threading.Thread(target=play)
        player.start()
        yield listener.getsockname(), asked
        player.join(10)
        assert not player.is_alive()


def test_a_route_is_a_port_and_a_named_target() -> None:
    assert socks.Route.parse("7501=x.onion:80") == socks.Route(7501, "x.onion", 80)
    for wrong in ("7501=80", "x.onion:80"):
        with pytest.raises(ValueError):
            socks.Route.parse(wrong)


def test_a_name_goes_to_the_proxy_unresolved() -> None:
    assert socks.request("x.onion", 80) == b"\x05\x01\x00\x03\x07x.onion" + struct.pack("!H", 80)
    with pytest.raises(ValueError, match="255"):
        socks.request("x" * 256, 80)


def test_bytes_and_the_end_of_each_direction_pass_through() -> None:
    with proxy(socks.GRANTED) as (address, asked), socket.create_server(("127.0.0.1", 0)) as listener:
        route = socks.Route(listener.getsockname()[1], "x.onion", 80)
        threading.Thread(target=socks.serve, args=(listener, address, route), daemon=True).start()
        with socket.create_connection(listener.getsockname(), timeout=10) as client:
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)  # what comes back comes after it, so it must have been passed on
            assert client.recv(100) == b"cba"
            assert client.recv(100) == b""
        assert asked == [socks.request("x.onion", 80)]


def test_what_the_proxy_refuses_is_told_by_its_code() -> None:
    with proxy(4) as (address, _), pytest.raises(socks.ProxyRefused) as refused:
        socks.open_through(address, "x.onion", 80)
    assert refused.value.code == 4
