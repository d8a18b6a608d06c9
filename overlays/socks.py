"""A forwarder for what speaks SOCKS alone: local TCP ports that lead through a SOCKS5 proxy (RFC 1928) to named hosts.

`python -m overlays.socks PROXY ANSWER ASK PORT=HOST:PORT...` listens on 127.0.0.1. Before that it connects through the
proxy to port ASK of every host, again and again, until each takes the connection: what the host leads there is port
ANSWER of another forwarder, which takes any. So `socks: listening` means that connections get through, whether or not
the service that they are for is there yet. Each connection has two threads, and the end of the stream is passed on in
each direction by itself.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

_CHUNK = 65536
_RETRY_S = 0.25
_ANSWER_S = 60.0

GRANTED = 0


class ProxyRefused(Exception):
    """The proxy did not connect; `code` is the reply field of RFC 1928, or the proxy's own above it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"SOCKS reply {code}")
        self.code = code


@dataclass(frozen=True)
class Route:
    """A local port, and the host and port beyond the proxy to which it leads."""

    local: int
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `PORT=HOST:PORT`.

        Raises:
            ValueError: it is not of that form.
        """
        local, _, target = text.partition("=")
        host, _, port = target.rpartition(":")
        if not host:
            raise ValueError(f"{text!r} is not PORT=HOST:PORT")
        return cls(int(local), host, int(port))


def greeting() -> bytes:
    """Version 5, one method: no authentication."""
    return b"\x05\x01\x00"


def request(host: str, port: int) -> bytes:
    """CONNECT to a host name, which the proxy resolves.

    Raises:
        ValueError: the name is longer than the protocol's one byte for it can say.
    """
    name = host.encode()
    if not 0 < len(name) < 256:
        raise ValueError(f"a host name has 1 to 255 bytes, not {len(name)}")
    return b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack("!H", port)


def open_through(proxy: tuple[str, int], host: str, port: int) -> socket.socket:
    """Open a connection to `host:port` through the proxy.

    Raises:
        ProxyRefused: it answered that it cannot.
        OSError: it cannot be reached, or hung up.
    """
    upstream = socket.create_connection(proxy, timeout=_ANSWER_S)
    try:
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream.sendall(greeting())
        if _exactly(upstream, 2) != b"\x05\x00":
            raise ConnectionError("the proxy wants authentication")
        upstream.sendall(request(host, port))
        _, code, _, kind = _exactly(upstream, 4)
        if code != GRANTED:
            raise ProxyRefused(code)
        length = {1: 4, 4: 16}.get(kind) or _exactly(upstream, 1)[0]
        _exactly(upstream, length + 2)
        upstream.settimeout(None)
    except BaseException:
        upstream.close()
        raise
    return upstream


def _exactly(source: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = source.recv(length - len(data))
        if not part:
            raise ConnectionError("the proxy hung up")
        data += part
    return data


def answer(listener: socket.socket) -> None:
    """Take every connection and end it: whoever asks has seen that it gets here."""
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


def wait_until_reached(proxy: tuple[str, int], host: str, port: int) -> None:
    """Return once the host takes a connection."""
    while True:
        try:
            open_through(proxy, host, port).close()
        except (OSError, ProxyRefused) as error:
            print(f"socks: {host}: {error}", flush=True)
        else:
            print(f"socks: {host}: reached", flush=True)
            return
        time.sleep(_RETRY_S)  # the proxy announces nothing: asking again is the only way


def _pump(source: socket.socket, sink: socket.socket) -> None:
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            sink.sendall(view[:count])
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _carry(client: socket.socket, proxy: tuple[str, int], route: Route) -> None:
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            upstream = open_through(proxy, route.host, route.port)
        except (OSError, ProxyRefused) as error:
            print(f"socks: {route.host}: {error}", flush=True)
            return
        with upstream:
            back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
            back.start()
            _pump(client, upstream)
            back.join()


def serve(listener: socket.socket, proxy: tuple[str, int], route: Route) -> None:
    """Carry every connection that `listener` takes, until it is closed."""
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_carry, args=(client, proxy, route), daemon=True).start()


def main(arguments: Sequence[str]) -> None:
    """Run until killed."""
    host, _, port = arguments[0].rpartition(":")
    proxy, routes = (host, int(port)), [Route.parse(text) for text in arguments[3:]]
    answering = socket.create_server(("127.0.0.1", int(arguments[1])))
    threading.Thread(target=answer, args=(answering,), daemon=True).start()
    ask = int(arguments[2])
    waits = [threading.Thread(target=wait_until_reached, args=(proxy, route.host, ask)) for route in routes]
    for wait in waits:
        wait.start()
    for wait in waits:
        wait.join()
    servers = []
    for route in routes:
        listener = socket.create_server(("127.0.0.1", route.local))
        servers.append(threading.Thread(target=serve, args=(listener, proxy, route), daemon=True))
        servers[-1].start()
    print("socks: listening", flush=True)
    for server in servers:
        server.join()


if __name__ == "__main__":
    main(sys.argv[1:])
