"""Looks names up in a thread of its own: the C library waits for name servers, and the event loop must not."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence

log = logging.getLogger("refmesh")


class Names:
    """Asks for one name after the other. Readable when there is an answer."""

    def __init__(self, on_found: Callable[[str, str, float], None]) -> None:
        """`on_found(name, address, now)` is called in the thread that calls `on_ready`."""
        self._on_found = on_found
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._asked: set[str] = set()
        self._thread: threading.Thread | None = None
        self._failed: set[str] = set()

    def fileno(self) -> int:
        """For epoll."""
        return self._event

    def ask(self, names: Sequence[str]) -> None:
        """Asks for these, but for those that are being asked for; returns at once."""
        for name in names:
            if name not in self._asked:
                self._asked.add(name)
                self._wanted.put(name)
        if self._thread is None:
            # A daemon thread: a name server that does not answer must not hold up the end of the program.
            self._thread = threading.Thread(target=self._work, name="names", daemon=True)
            self._thread.start()

    def on_ready(self, now: float) -> None:
        """Hands over the answers that are there."""
        os.eventfd_read(self._event)
        while not self._answers.empty():
            name, address = self._answers.get()
            self._asked.discard(name)
            if address:
                self._failed.discard(name)
                self._on_found(name, address, now)
            elif name not in self._failed:
                self._failed.add(name)
                log.warning("cannot find host %s; it is looked up again", name)

    def close(self) -> None:
        """Asks no more."""
        self._wanted.put(None)

    def _work(self) -> None:
        while (name := self._wanted.get()) is not None:
            self._answers.put((name, look_up(name)))
            os.eventfd_write(self._event, 1)


def look_up(name: str) -> str:
    """Return the address of a host in the order of RFC 6724, of a family that this machine has; empty: none."""
    try:
        found = socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM, flags=socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError):
        return ""
    return str(found[0][4][0])
