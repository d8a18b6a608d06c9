"""The event loop: one epoll, handlers by file descriptor, and the time of the engine's next deadline."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from overlays.refmesh.driver import clock
from overlays.refmesh.driver.eagerness import Eagerness
from overlays.refmesh.driver.warmth import EVERY_S, Warmth

MAX_WAIT_S = 60.0
LATE_S = 0.05
"""So long timers may wait for input: where many datagrams wait, the answer that is given up for lost is among them."""


class HasFileno(Protocol):
    """A socket, or anything like it."""

    def fileno(self) -> int: ...


Handler = Callable[[float], bool | None]


class Loop:
    """Runs until `stop` is called or SIGTERM or SIGINT comes."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._running = True
        self._reading = self._hung_up = False
        self._hangup: Callable[[], object] = lambda: None
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        self.add(reader, lambda _: self._drain(reader))

    def add(self, source: HasFileno | int, handler: Handler, events: int = select.EPOLLIN) -> None:
        """Calls `handler(now)` whenever the descriptor is ready; it must read until there is nothing left, or be called
        again. Where it returns True, all that follows from it is done."""
        fd = source if isinstance(source, int) else source.fileno()
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def modify(self, source: HasFileno, events: int) -> None:
        """Changes what is waited for."""
        self._epoll.modify(source.fileno(), events)

    def remove(self, source: HasFileno) -> None:
        """Waits for this descriptor no longer."""
        fd = source.fileno()
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def due(self, deadline: float, now: float) -> bool:
        """Whether to do now what is due at `deadline`: input goes first, for up to 50 ms."""
        return now >= deadline and (not self._reading or now - deadline > LATE_S)

    def on_hangup(self, handler: Callable[[], object]) -> None:
        """Calls this when SIGHUP comes, between two rounds."""
        self._hangup = handler
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_hung_up", True))

    def stop(self) -> None:
        """Ends `run` after the present round."""
        self._running = False

    def run(
        self,
        deadline: Callable[[], float],
        after: Callable[[float], None],
        eagerness: Eagerness | None = None,
        warmth: Warmth | None = None,
    ) -> None:
        """Waits for descriptors until `deadline()`, calls their handlers, then `after(now)`; over and over.

        While `eagerness` says so, waiting is done awake, and while `warmth` does, with interruptions. `after` is left
        out when all is done and it is not time.
        """
        poll, handlers, time = self._epoll.poll, self._handlers, clock.now
        while self._running:
            ready: Sequence[tuple[int, int]] = ()
            if eagerness is not None and eagerness.until_s:
                until_s = min(eagerness.until_s, deadline())
                while not ready and time() < until_s:
                    ready = poll(0)
                eagerness.ended(answered=bool(ready))
            done = bool(ready)
            if not done:
                now = time()
                wait_s = deadline() - now
                done = wait_s > 0
                if warmth is not None and warmth.until_s and wait_s > EVERY_S:
                    ready = poll(EVERY_S)
                    if not ready:
                        done = warmth.idle(now, time())
                else:
                    ready = poll(min(wait_s, MAX_WAIT_S) if done else 0)
                    done = done and bool(ready)
            self._reading = bool(ready)
            if self._hung_up:
                self._hung_up = False
                self._hangup()
            for fd, _ in ready:
                handler = handlers.get(fd)
                if handler is not None and not handler(time()):
                    done = False
            if not done:
                after(time())

    @staticmethod
    def _drain(fd: int) -> None:
        os.read(fd, 512)
