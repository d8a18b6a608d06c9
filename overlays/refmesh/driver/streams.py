"""TLS connections in the loop: what both drivers do with one, and a node's connections to its servers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from overlays.refmesh.core.node import Node
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.errors import MachineError

# A node imports TLS when it needs it, which few do: it takes as long as all of the core.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from overlays.refmesh.driver.stream import Stream

log = logging.getLogger("refmesh")


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


class NodeStreams:
    """A node's connections to servers that do not answer over UDP."""

    def __init__(self, node: Node, loop: Loop) -> None:
        self._node, self._loop = node, loop
        self._streams: dict[int, Served] = {}

    def look(self, now: float) -> None:
        """Open what is wanted and close what is not needed any more."""
        for link in self._node.servers.links:
            served = self._streams.get(link.index)
            if served is None and link.wants_tls(now):
                self._connect(link.index)
            elif served is not None and link.up and link.endpoint != link.tls:
                served.stream.closed = True
                served.after(now)

    def get(self, index: int) -> Stream | None:
        """Return the connection to server `index`, if there is one."""
        served = self._streams.get(index)
        return served.stream if served is not None else None

    def used(self, index: int, now: float) -> None:
        """To be called after sending."""
        served = self._streams.get(index)
        if served is not None:
            served.after(now)

    def close(self) -> None:
        """Close all."""
        for served in self._streams.values():
            served.stream.close()

    def _connect(self, index: int) -> None:
        from overlays.refmesh.driver.stream import Stream

        link = self._node.servers.links[index]
        assert link.entry.tls is not None
        log.info("server %s is silent over UDP; trying TLS to %s", link.entry.name, link.entry.tls)
        try:
            stream = Stream.connect(
                link.entry.tls,
                lambda now: self._node.servers.stream_opened(index, now),
                lambda datagram, now: self._node.ingress.receive(datagram, ("tls", index), now),
                self._node.config.fwmark,
            )
        except MachineError as error:
            log.info("%s", error)
            return
        self._streams[index] = Served(self._loop, stream, lambda now: self._ended(index, now))

    def _ended(self, index: int, now: float) -> None:
        self._streams.pop(index, None)
        self._node.servers.stream_closed(index, now)
