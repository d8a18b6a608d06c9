"""A sender and a sink at the ends of a TCP stream, as a program of its own that needs nothing but Python.

    python load_peer.py serve ADDRESS PORT
    python load_peer.py fill|drain ADDRESS PORT OMIT_SECONDS SECONDS [CONNECTIONS]

The client opens a connection with a line of ASCII: `F OMIT_MS MS`, to be received for so long and told what came, or
`G`, to be sent all that the stream takes. Who receives counts, by its own clock. The client prints one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

# As large as iperf3's (iperf3(1), --length).
BLOCK = 1 << 17
PATIENCE_S = 30.0
# TCP sends again after a fourth of a second on a short path, and waits twice as long each time: six tries.
SILENCE_S = 15.0
# SYNs that are lost are sent again after 1, 3 and 7 s: on a path that loses half of them, new tries come sooner.
CONNECT_S = 15.0
_ONE_TRY_S = 3.0
_LOOK_S = 0.5


def received_in(connection: socket.socket, omit_s: float, measured_s: float) -> dict[str, float]:
    """Receive from the first byte on; count what comes in the measured seconds after those that are omitted.

    On a path that loses much TCP falls silent for longer than that: then all counts that came since the first byte.

    Raises:
        OSError: the stream ended before, or nothing came at all for SILENCE_S.
    """
    connection.settimeout(SILENCE_S)
    buffer = bytearray(1 << 20)
    count, counted_from = 0, 0
    began: float | None = None
    start: float | None = None
    while True:
        try:
            got = connection.recv_into(buffer)
        except TimeoutError:
            now = time.perf_counter()
            if start is not None and count > counted_from:
                return {"bytes": count - counted_from, "seconds": now - start}
            if began is None:
                raise
            return {"bytes": count, "seconds": now - began}
        now = time.perf_counter()
        if not got:
            raise ConnectionError(f"the stream ended after {count} bytes")
        began = now if began is None else began
        count += got
        if start is None and now >= began + omit_s:
            start, counted_from = now, count
        elif start is not None:
            left_s = start + measured_s - now
            if left_s <= 0:
                return {"bytes": count - counted_from, "seconds": now - start}
            connection.settimeout(left_s)


def serve(address: str, port: int) -> None:
    """Serve until killed; print `listening` once it does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=64) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError, ValueError):
        connection.settimeout(PATIENCE_S)
        line = b""
        while not line.endswith(b"\n") and len(line) < 100:
            byte = connection.recv(1)
            if not byte:
                return
            line += byte
        word, *numbers = line.decode("ascii").split()
        if word == "F":
            said = received_in(connection, *(int(number) / 1000 for number in numbers))
            # It goes back while the client still sends: an end of its direction might end both.
            connection.sendall(json.dumps(said).encode() + b"\n")
            while connection.recv(BLOCK):
                pass
        elif word == "G":
            block = _block()
            while True:
                connection.sendall(block)


def _block() -> bytes:
    return random.Random(0).randbytes(BLOCK)


def _opened(address: str, port: int, wanted: str) -> socket.socket:
    connection = _connected(address, port)
    connection.settimeout(PATIENCE_S)
    connection.sendall(f"{wanted}\n".encode("ascii"))
    return connection


def _connected(address: str, port: int) -> socket.socket:
    until = time.monotonic() + CONNECT_S
    while True:
        try:
            return socket.create_connection((address, port), timeout=_ONE_TRY_S)
        except TimeoutError:
            if time.monotonic() > until:
                raise


def fill(address: str, port: int, omit_s: float, measured_s: float) -> dict[str, float]:
    """Send all that the stream takes, and return what the server counted in the measured seconds.

    Raises:
        OSError: it could not be opened, or ended before.
    """
    block, answer = _block(), list[bytes]()

    def hear(heard: socket.socket) -> None:
        try:
            answer.append(heard.makefile("rb").readline())
        except OSError:
            answer.append(b"")

    # Another descriptor has a patience of its own, and so has who writes: a slow path takes no block in seconds.
    wanted = f"F {round(1000 * omit_s)} {round(1000 * measured_s)}"
    with _opened(address, port, wanted) as connection, connection.dup() as heard:
        heard.settimeout(omit_s + measured_s + SILENCE_S + PATIENCE_S)
        reader = threading.Thread(target=hear, args=(heard,), daemon=True)
        reader.start()
        connection.settimeout(_LOOK_S)
        with contextlib.suppress(OSError):  # whoever carries the stream may end it together with the answer
            while not answer:
                with contextlib.suppress(TimeoutError):
                    connection.send(block)
        reader.join(PATIENCE_S)
    if not answer or not answer[0]:
        raise ConnectionError("the server did not tell what it got")
    return dict(json.loads(answer[0]))


def drain(address: str, port: int, omit_s: float, measured_s: float) -> dict[str, float]:
    """Receive all that the stream carries; return what came in the measured seconds.

    Raises:
        OSError: it could not be opened, or ended before.
    """
    with _opened(address, port, "G") as connection:
        return received_in(connection, omit_s, measured_s)


def together(load: Callable[[], dict[str, float]], connections: int) -> dict[str, float]:
    """Return what so many loads at once moved, as if it were one: their bytes, and seconds that give their rates' sum.

    Raises:
        OSError: one of them could not be opened, or ended before.
    """
    with ThreadPoolExecutor(connections) as pool:
        found = [one.result() for one in [pool.submit(load) for _ in range(connections)]]
    moved, rate = sum(one["bytes"] for one in found), sum(one["bytes"] / one["seconds"] for one in found)
    return {"bytes": moved, "seconds": moved / rate}


def main() -> None:
    """Be one end; see the module."""
    what, address, port, *rest = sys.argv[1:]
    if what == "serve":
        serve(address, int(port))
        return
    omit_s, measured_s, *connections = map(float, rest)
    load = {"fill": fill, "drain": drain}[what]
    try:
        print(json.dumps(together(lambda: load(address, int(port), omit_s, measured_s), int(*connections or [1]))))
    except OSError as error:
        print(json.dumps({"error": str(error)}))
        sys.exit(1)


if __name__ == "__main__":
    main()
