"""Both ends of streams while the contract is checked: a service for `dst`, and what a client at `src` does.

The client says with its first byte what it wants: E, every byte back; U, to upload BULK_BYTES and get their digest; D,
to download them. Lengths are known, so that nothing depends on how an overlay passes on the end of a stream.
"""

from __future__ import annotations

import contextlib
import hashlib
import signal
import socket
import struct
import sys
import threading
import time

BULK_BYTES = 10_000_000
ECHO_BYTES = 1000
_PATTERN = hashlib.sha256(b"overlay contract").digest() * 2048
_DIGEST_BYTES = 32


def bulk() -> bytes:
    """10 MB that no shift or loss leaves unchanged.

    The other peer says it again: each is a program of its own, run in a node without what the harness is made of.
    """
    return b"".join(struct.pack("!I", n) + _PATTERN[:996] for n in range(BULK_BYTES // 1000))


def serve(address: str, port: str) -> None:
    """Serve until killed."""
    with socket.create_server((address, int(port)), backlog=64) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wanted = connection.recv(1)
        if wanted == b"U":
            connection.sendall(hashlib.sha256(_exactly(connection, BULK_BYTES)).digest())
        elif wanted == b"D":
            connection.sendall(bulk())
        # Whoever asked closes first; until then an echo, or silence.
        while part := connection.recv(65536):
            connection.sendall(part)


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = connection.recv(min(65536, length - len(data)))
        if not part:
            raise ConnectionError(f"ended after {len(data)} of {length} bytes")
        data += part
    return bytes(data)


def _open(address: str, port: str, wanted: bytes, timeout_s: float) -> socket.socket:
    connection = socket.create_connection((address, int(port)), timeout=timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(wanted)
    return connection


def _echo(connection: socket.socket, count: int, pause_s: float = 0.0) -> int:
    answered = 0
    for number in range(count):
        asked = struct.pack("!I", number) * (ECHO_BYTES // 4)
        connection.sendall(asked)
        answered += _exactly(connection, ECHO_BYTES) == asked
        time.sleep(pause_s)
    return answered


def connect(address: str, port: str, deadline_s: str) -> None:
    """Open fresh connections until one is answered."""
    until = time.monotonic() + float(deadline_s)
    while (left := until - time.monotonic()) > 0:
        try:
            with _open(address, port, b"E", left) as connection:
                _echo(connection, 1)
                print("connected", flush=True)
                return
        except OSError as error:
            print(error, flush=True)
        time.sleep(0.1)


def echo(address: str, port: str, count: str) -> None:
    """Send requests over one fresh connection."""
    with _open(address, port, b"E", 20) as connection:
        print("answered", _echo(connection, int(count)), flush=True)


def hold(address: str, port: str, count: str) -> None:
    """Open a connection, and use it only after SIGUSR1."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    with _open(address, port, b"E", 20) as connection:
        _echo(connection, 1)
        print("holding", flush=True)
        signal.sigwait({signal.SIGUSR1})
        connection.settimeout(5)
        print("answered", _echo(connection, int(count), 0.02), flush=True)


def upload(address: str, port: str) -> None:
    """Send the bulk and compare the digest that comes back."""
    with _open(address, port, b"U", 40) as connection:
        connection.sendall(bulk())
        print("intact", _exactly(connection, _DIGEST_BYTES) == hashlib.sha256(bulk()).digest(), flush=True)


def download(address: str, port: str) -> None:
    """Take the bulk and compare it."""
    with _open(address, port, b"D", 40) as connection:
        print("intact", _exactly(connection, BULK_BYTES) == bulk(), flush=True)


if __name__ == "__main__":
    verbs = {one.__name__: one for one in (serve, connect, echo, hold, upload, download)}
    verbs[sys.argv[1]](*sys.argv[2:])
