"""TCP ports of loopback for programs that are told which to listen at: nobody else is given one meanwhile."""

from __future__ import annotations

import socket


def hold_port() -> tuple[socket.socket, int]:
    """Return a socket and its port, which is held until the socket is closed.

    Who says SO_REUSEADDR, as any server does, may listen there all the same: the socket says so too, and never listens.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held, int(held.getsockname()[1])
