"""Both ends of a TCP stream, as a program of its own that needs nothing but Python: the probe starts it in the nodes.

    python stream_peer.py serve ADDRESS PORT
    python stream_peer.py connect ADDRESS PORT COUNT
    python stream_peer.py trips ADDRESS PORT SECONDS REQUEST_BYTES ANSWER_BYTES INTERVAL_SECONDS
    python stream_peer.py push|pull|half-close|server-closes ADDRESS PORT BYTES SEED

The client opens each connection with a line of ASCII that says what it wants: `E REQUEST ANSWER` to be answered, `R
BYTES` to be received, `P BYTES SEED` to be sent so much, `S BYTES SEED` the same and the connection closed, `H` to be
received until it has no more to say. The client prints one JSON object.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

PIECE = 1 << 16
PATIENCE_S = 30.0
_STAYS_S = 2.0


def bytes_of(seed: int, count: int) -> Iterator[bytes]:
    """Yield `count` bytes that follow from the seed, piece by piece; no middlebox can compress or cache them."""
    rng = random.Random(seed)
    while count:
        size = min(count, PIECE)
        yield rng.randbytes(size)
        count -= size


def digest_of(seed: int, count: int) -> str:
    """Return the SHA-256 of those bytes."""
    made = hashlib.sha256()
    for piece in bytes_of(seed, count):
        made.update(piece)
    return made.hexdigest()


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """Read `count` bytes, fewer where the stream ended before."""
    found = bytearray()
    while len(found) < count and (piece := connection.recv(count - len(found))):
        found += piece
    return bytes(found)


def read_to_end(connection: socket.socket, limit: int | None = None) -> tuple[int, str]:
    """Return how many bytes came until the stream ended, or until `limit`, and their SHA-256."""
    count, made = 0, hashlib.sha256()
    while limit is None or count < limit:
        piece = connection.recv(PIECE if limit is None else min(PIECE, limit - count))
        if not piece:
            break
        count += len(piece)
        made.update(piece)
    return count, made.hexdigest()


def serve(address: str, port: int) -> None:
    """Serve until killed; prints `listening` once it does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=64) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError, ValueError):
        connection.settimeout(PATIENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = b""
        while not line.endswith(b"\n") and len(line) < 100:
            byte = connection.recv(1)
            if not byte:
                return
            line += byte
        word, *numbers = line.decode("ascii").split()
        _ANSWERS[word](connection, *map(int, numbers))


def _echo(connection: socket.socket, request: int, answer: int) -> None:
    reply = bytes(answer)
    while len(read_exactly(connection, request)) == request:
        connection.sendall(reply)


def _receive(connection: socket.socket, count: int) -> None:
    _, digest = read_to_end(connection, count)
    connection.sendall(digest.encode())
    _wait_for_close(connection)


def _send_and_stay(connection: socket.socket, count: int, seed: int) -> None:
    for piece in bytes_of(seed, count):
        connection.sendall(piece)
    _wait_for_close(connection)


def _wait_for_close(connection: socket.socket) -> None:
    """Leave the closing to the client: what is lost with a close is another question than what is lost on the way."""
    while connection.recv(PIECE):
        pass


def _send(connection: socket.socket, count: int, seed: int) -> None:
    for piece in bytes_of(seed, count):
        connection.sendall(piece)
    # Closed at once, with the last bytes still under way: who carries the stream must deliver them all the same.


def _receive_to_end(connection: socket.socket) -> None:
    count, digest = read_to_end(connection)
    connection.sendall(f"{count} {digest}\n".encode())
    time.sleep(_STAYS_S)  # the client has ended already, so nothing tells when it has read this


_ANSWERS: dict[str, Callable[..., None]] = {
    "E": _echo,
    "R": _receive,
    "P": _send_and_stay,
    "S": _send,
    "H": _receive_to_end,
}


def opened(address: str, port: int, wanted: str) -> socket.socket:
    """Open a connection and tell the server what is wanted."""
    connection = socket.create_connection((address, port), timeout=PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(f"{wanted}\n".encode("ascii"))
    return connection


def connect(address: str, port: int, count: int) -> dict[str, object]:
    """Measure the seconds from opening a fresh connection to the first byte answered, `count` times."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        with opened(address, port, "E 1 1") as connection:
            connection.sendall(b"?")
            if not connection.recv(1):
                raise ConnectionError("the stream ended before the first answer")
        times.append(time.perf_counter() - began)
    return {"seconds": times}


def trips(  # noqa: PLR0917  # as on the command line
    address: str, port: int, seconds: float, request: int, answer: int, interval_s: float
) -> dict[str, object]:
    """Measure round trips on one connection, in seconds from when each request was due, whatever became of others.

    Who waits for an answer before asking again asks least while the path is slow, and its percentiles miss just that
    (coordinated omission). `late_s` is how much later than due each was given to the kernel: that is in the round trip.
    """
    asked = bytes(request)
    late: list[float] = []
    times: list[float] = []
    count = max(1, int(seconds / interval_s))
    with opened(address, port, f"E {request} {answer}") as connection:
        began = time.perf_counter()

        def ask() -> None:
            with contextlib.suppress(OSError):  # the reader says so
                for number in range(count):
                    due = began + number * interval_s
                    while (left := due - time.perf_counter()) > 0:
                        time.sleep(left)
                    late.append(-left)
                    connection.sendall(asked)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        for number in range(count):
            if len(read_exactly(connection, answer)) < answer:
                raise ConnectionError("the stream ended in the middle of an answer")
            times.append(time.perf_counter() - began - number * interval_s)
        asking.join()
    return {"seconds": times, "late_s": late}


def push(address: str, port: int, count: int, seed: int) -> dict[str, object]:
    """Tell whether the server got exactly what was sent."""
    with opened(address, port, f"R {count}") as connection:
        for piece in bytes_of(seed, count):
            connection.sendall(piece)
        said = read_exactly(connection, 64).decode()
    return {"intact": said == digest_of(seed, count)}


def pull(address: str, port: int, count: int, seed: int) -> dict[str, object]:
    """Tell whether the client got exactly what the server sent, read as it comes."""
    with opened(address, port, f"P {count} {seed}") as connection:
        got, digest = read_to_end(connection, count)
    return {"bytes": got, "intact": digest == digest_of(seed, count)}


def half_close(address: str, port: int, count: int, seed: int) -> dict[str, object]:
    """Tell whether the server hears that the client has ended, and the client still gets its answer."""
    with opened(address, port, "H") as connection:
        for piece in bytes_of(seed, count):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        said = connection.makefile("rb").readline().decode()
    return {"intact": said == f"{count} {digest_of(seed, count)}\n"}


def server_closes(address: str, port: int, count: int, seed: int) -> dict[str, object]:
    """Tell whether everything arrives when the server closes right after the last byte, and the end is seen."""
    with opened(address, port, f"S {count} {seed}") as connection:
        time.sleep(0.2)  # the server has long closed: what is left is in the carrier's buffers
        got, digest = read_to_end(connection)
    return {"bytes": got, "intact": got == count and digest == digest_of(seed, count)}


_CLIENTS: dict[str, Callable[..., dict[str, object]]] = {
    "connect": lambda address, port, count: connect(address, port, int(count)),
    "trips": lambda address, port, seconds, request, answer, interval: trips(
        address, port, float(seconds), int(request), int(answer), float(interval)
    ),
    "push": lambda address, port, count, seed: push(address, port, int(count), int(seed)),
    "pull": lambda address, port, count, seed: pull(address, port, int(count), int(seed)),
    "half-close": lambda address, port, count, seed: half_close(address, port, int(count), int(seed)),
    "server-closes": lambda address, port, count, seed: server_closes(address, port, int(count), int(seed)),
}


def main() -> None:
    """Run one end; see the module."""
    what, address, port, *rest = sys.argv[1:]
    if what == "serve":
        serve(address, int(port))
        return
    try:
        print(json.dumps(_CLIENTS[what](address, int(port), *rest)))
    except OSError as error:
        print(json.dumps({"error": str(error)}))
        sys.exit(1)


if __name__ == "__main__":
    main()
