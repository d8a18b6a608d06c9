"""The client of one TCP connection that is asked all the time, as a program of its own that needs nothing but Python.

    python held_peer.py ADDRESS PORT INTERVAL_SECONDS

It talks to `stream_peer.py serve`, prints `holding` once the first request is answered, goes on until SIGUSR1 tells it
that it is enough, and prints one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator

PATIENCE_S = 30.0
_BYTES = 8


def hold(address: str, port: int, interval_s: float) -> dict[str, object]:
    """Keep one connection until SIGUSR1, a request every `interval_s`; return the Unix times of request and answer.

    It waits for an answer as long as the connection lives, as what is measured is whether it lives; once told that it
    is enough, for PATIENCE_S more. If none is under way then, one more request shows whether it lives.
    """
    asked: list[float] = []
    answered: list[float] = []
    error = None
    with _told_by(signal.SIGUSR1) as enough:
        try:
            with socket.create_connection((address, port), timeout=PATIENCE_S) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(f"E {_BYTES} {_BYTES}\n".encode("ascii"))
                connection.settimeout(None)
                over = False
                while not over:
                    if asked:
                        _readable([enough], max(0.0, asked[-1] + interval_s - time.time()))
                    # Told just after an answer is told as well: what is asked now is the request that shows it.
                    over = bool(answered) and bool(_readable([enough], 0.0))
                    asked.append(time.time())
                    connection.sendall(bytes(_BYTES))
                    over = _read_answer(connection, enough) or over
                    answered.append(time.time())
                    if len(answered) == 1:
                        print("holding", flush=True)
        except OSError as failure:
            error = str(failure) or type(failure).__name__
    return {"asked": asked, "answered": answered, "error": error}


@contextlib.contextmanager
def _told_by(number: signal.Signals) -> Iterator[socket.socket]:
    """Yield what can be read from once this process has got a signal: it stays so, whenever somebody looks."""
    told, tell = socket.socketpair()
    with told, tell:
        tell.setblocking(False)
        signal.set_wakeup_fd(tell.fileno())  # first: a signal between the two would be handled, and told to nobody
        signal.signal(number, lambda *_: None)
        try:
            yield told
        finally:
            signal.set_wakeup_fd(-1)


def _readable(sockets: list[socket.socket], seconds: float | None) -> list[socket.socket]:
    """Return those of which there is something to read; empty: not within the time."""
    return select.select(sockets, [], [], seconds)[0]


def _read_answer(connection: socket.socket, enough: socket.socket) -> bool:
    """Read one answer; return whether this process was told meanwhile that it is enough."""
    left, end_s = _BYTES, None
    while left:
        if end_s is None:
            ready = _readable([connection, enough], None)
        elif not (ready := _readable([connection], max(0.0, end_s - time.monotonic()))):
            raise TimeoutError("timed out")
        if enough in ready:
            end_s = time.monotonic() + PATIENCE_S
        if connection in ready:
            piece = connection.recv(left)
            if not piece:
                raise ConnectionError("the connection was closed by the other side")
            left -= len(piece)
    return end_s is not None


if __name__ == "__main__":
    print(json.dumps(hold(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
