"""TLS connections in the loop: what both drivers do with one, and a node's connections to its servers.

| a node's connection | event | then |
|---|---|---|
| any | the address of ours that it has is gone | closed |
| connecting, handshake | 10 s | closed |
| open | the server does not answer, over UDP or here, for 10 s | closed |
| open | nothing of what waits to be sent can be sent for 10 s, or none of what was sent is acknowledged | closed |
| open | the server answers over UDP | closed |

A server that still does not answer is tried again within 5 s of that; tries are at least 5 s apart.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlays.refmesh.core.node import Node
from overlays.refmesh.driver import addresses
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.errors import MachineError

# A node imports TLS when it needs it, which few do: it takes as long as all of the core.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from overlays.refmesh.driver.stream import Stream

log = logging.getLogger("refmesh")
DEAD_S = 10.0
"""A connection that is of no use for so long is closed: the kernel would keep it for a quarter of an hour."""


class Served:
    """Keeps the loop informed about what a stream waits for."""

    def __init__(self, loop: Loop, stream: Stream, ended: Callable[[float], None]) -> None:
        self.loop, self.stream, self._ended = loop, stream, ended
        self._events = stream.events
        loop.add(stream, self.on_ready, self._events)

    def on_ready(self, now: float) -> None:
        self.stream.on_ready(now)
        self.after(now)

    def after(self, now: float) -> None:
        """To be called when the stream was used."""
        if self.stream.closed:
            self.loop.remove(self.stream)
            self.stream.close()
            self._ended(now)
        elif self.stream.events != self._events:
            self._events = self.stream.events
            self.loop.modify(self.stream, self._events)


@dataclass
class _Tried:
    served: Served
    since_s: float
    """Since when the server has not answered, this connection being there; infinity while it does."""


class NodeStreams:
    """A node's connections to servers that do not answer over UDP."""

    def __init__(self, node: Node, loop: Loop) -> None:
        self._node, self._loop = node, loop
        self._streams: dict[int, _Tried] = {}

    def look(self, now: float) -> None:
        """Open what is wanted and close what is not needed any more, or of no use."""
        for link in self._node.servers.links:
            # Asked in any case: asking sets the time of the next try, which would else be due all the time.
            wanted, tried = link.wants_tls(now), self._streams.get(link.index)
            if tried is None:
                if wanted:
                    self._connect(link.index, now)
                continue
            if link.up:
                tried.since_s = math.inf
            elif tried.since_s == math.inf:
                tried.since_s = now
            until_s = min(tried.since_s, tried.served.stream.stuck_since_s) + DEAD_S
            if now >= until_s or (link.up and link.endpoint != link.tls):
                self._end(tried, now)
            else:
                self._node.outbox.wake(until_s)

    def addresses_changed(self, now: float) -> None:
        """Close the connections from addresses that are ours no more; others may still work."""
        for tried in list(self._streams.values()):
            host = tried.served.stream.local_host()
            if not host or not addresses.is_ours(host):
                self._end(tried, now)

    def get(self, index: int) -> Stream | None:
        """Return the connection to server `index`, if there is one."""
        tried = self._streams.get(index)
        return tried.served.stream if tried is not None else None

    def used(self, index: int, now: float) -> None:
        """To be called after sending."""
        tried = self._streams.get(index)
        if tried is not None:
            tried.served.after(now)

    def close(self) -> None:
        """Close all."""
        for tried in self._streams.values():
            tried.served.stream.close()

    def _connect(self, index: int, now: float) -> None:
        from overlays.refmesh.driver.stream import Stream

        link = self._node.servers.links[index]
        assert link.entry.tls is not None
        log.info("server %s is silent over UDP; trying TLS to %s", link.entry.name, link.entry.tls)
        try:
            stream = Stream.connect(
                link.entry.tls,
                lambda now: self._opened(index, now),
                lambda datagram, now: self._node.ingress.receive(datagram, ("tls", index), now),
                self._node.config.fwmark,
            )
        except MachineError as error:
            log.info("%s", error)
            return
        served = Served(self._loop, stream, lambda now: self._ended(index, now))
        self._streams[index] = _Tried(served, now)
        self._node.outbox.wake(now + DEAD_S)

    def _opened(self, index: int, now: float) -> None:
        self._streams[index].since_s = now
        self._node.servers.stream_opened(index, now)

    @staticmethod
    def _end(tried: _Tried, now: float) -> None:
        tried.served.stream.closed = True
        tried.served.after(now)

    def _ended(self, index: int, now: float) -> None:
        self._streams.pop(index, None)
        self._node.servers.stream_closed(index, now)
