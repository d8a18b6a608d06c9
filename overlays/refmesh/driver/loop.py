"""The event loop: one epoll, handlers by file descriptor, and the time of the engine's next deadline."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from overlays.refmesh.core.guard import Guard
from overlays.refmesh.driver import clock
from overlays.refmesh.driver.eagerness import Eagerness
from overlays.refmesh.driver.warmth import EVERY_S, Warmth
from overlays.refmesh.errors import ConfigError, MachineError

log = logging.getLogger("refmesh")
MAX_WAIT_S = 60.0
_TIMERS, _HANGUP, FAULT_PAUSE_S = -1, -2, 0.01
FAULTS_IN_A_ROW, REST_S = 16, 1.0
"""A handler that does nothing but fail is left alone for so long, so that it does not keep the others from working."""
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
        self._said: list[str] = []
        self.guard = Guard(self._said)
        self._events: dict[int, int] = {}
        self._faults: dict[int, int] = {}
        self._resting: dict[int, float] = {}
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        self.add(reader, lambda _: self._drain(reader))

    def add(self, source: HasFileno | int, handler: Handler, events: int = select.EPOLLIN) -> None:
        """Call `handler(now)` whenever the descriptor is ready; it must read until there is nothing left, or be called
        again. Where it returns True, all that follows from it is done."""
        fd = source if isinstance(source, int) else source.fileno()
        self._epoll.register(fd, events)
        self._handlers[fd], self._events[fd] = handler, events

    def modify(self, source: HasFileno, events: int) -> None:
        """Change what is waited for."""
        fd = source.fileno()
        self._events[fd] = events
        if fd not in self._resting:
            self._epoll.modify(fd, events)

    def remove(self, source: HasFileno) -> None:
        """Wait for this descriptor no longer."""
        fd = source.fileno()
        self._faults.pop(fd, None)
        if self._handlers.pop(fd, None) is not None and self._resting.pop(fd, None) is None:
            self._epoll.unregister(fd)

    def due(self, deadline: float, now: float) -> bool:
        """Whether to do now what is due at `deadline`: input goes first, for up to 50 ms."""
        return now >= deadline and (not self._reading or now - deadline > LATE_S)

    def on_hangup(self, handler: Callable[[], object]) -> None:
        """Call this when SIGHUP comes, between two rounds; what it raises is treated as a handler's."""
        self._hangup = handler
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_hung_up", True))

    def stop(self) -> None:
        """End `run` after the present round."""
        self._running = False

    def run(  # noqa: PLR0912 - one function, as one more call would be one for each packet
        self,
        deadline: Callable[[], float],
        after: Callable[[float], None],
        eagerness: Eagerness | None = None,
        warmth: Warmth | None = None,
    ) -> None:
        """Wait for descriptors until `deadline()`, call their handlers, then `after(now)`; over and over.

        While `eagerness` says so, waiting is done awake, and while `warmth` does, with interruptions. `after` is left
        out when all is done and it is not time. What a handler raises is counted, said and dropped with what caused
        it; a MachineError or a ConfigError is for the user and ends the loop.
        """
        poll, handlers, now_ = self._epoll.poll, self._handlers, clock.now
        while self._running:
            ready: Sequence[tuple[int, int]] = ()
            if eagerness is not None and eagerness.until_s:
                until_s = min(eagerness.until_s, deadline())
                while not ready and now_() < until_s:
                    ready = poll(0)
                eagerness.ended(answered=bool(ready))
            done = bool(ready)
            if not done:
                now = now_()
                wait_s = deadline() - now
                done = wait_s > 0
                if warmth is not None and warmth.until_s and wait_s > EVERY_S:
                    ready = poll(EVERY_S)
                    if not ready:
                        done = self._idle(warmth, now)
                else:
                    ready = poll(min(wait_s, REST_S if self._resting else MAX_WAIT_S) if done else 0)
                    done = done and bool(ready)
            self._reading = bool(ready)
            if self._hung_up:
                self._hung_up = False
                try:
                    self._hangup()
                except Exception as error:
                    self._caught(_HANGUP, error)
            for fd, _ in ready:
                handler = handlers.get(fd)
                try:
                    if handler is not None and not handler(now_()):
                        done = False
                    if self._faults:
                        self._faults.pop(fd, None)
                except Exception as error:
                    done = self._caught(fd, error)
            if self._resting:
                self._wake()
            if not done:
                try:
                    after(now_())
                except Exception as error:
                    self._caught(_TIMERS, error)

    def _idle(self, warmth: Warmth, since_s: float) -> bool:
        try:
            return warmth.idle(since_s, clock.now())
        except Exception as error:
            return self._caught(_TIMERS, error)

    def _caught(self, fd: int, error: Exception) -> bool:
        if isinstance(error, MachineError | ConfigError):
            raise error
        now = clock.now()
        self.guard.caught(error, now)
        for line in self._said:
            log.error("%s", line, exc_info=error)
        self._said.clear()
        if fd == _TIMERS:
            time.sleep(FAULT_PAUSE_S)  # what is overdue would have us come back at once
            return False
        self._faults[fd] = self._faults.get(fd, 0) + 1
        if self._faults[fd] >= FAULTS_IN_A_ROW and fd in self._handlers and fd not in self._resting:
            self._epoll.unregister(fd)
            self._resting[fd] = now + REST_S
        return False

    def _wake(self) -> None:
        now = clock.now()
        for fd in [fd for fd, until_s in self._resting.items() if now >= until_s]:
            del self._resting[fd]
            self._faults.pop(fd, None)
            self._epoll.register(fd, self._events[fd])

    @staticmethod
    def _drain(fd: int) -> None:
        os.read(fd, 512)
