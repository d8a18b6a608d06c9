"""The server's TLS port: connections from anybody, so each must soon show that a member is behind it.

| what | limit |
|---|---|
| connections | what the limit of descriptors leaves, 4096 at most; 64 from one address |
| a new one at a limit | takes the place of the oldest, of that address or of all, that is no member's |
| new ones | 50 a second, 200 at once: a TLS handshake costs a millisecond; 5 a second, 64 at once from one address |
| the last 50 of the 200 | for addresses from which a member has come lately |
| until it is a member's, handshake and session | 10 s |
| without any datagram | 120 s; a member says something every 20 s |
| not taking what is sent | 30 s |
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import resource
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from overlays.refmesh.core.pacer import Pacer, Pacers
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.driver.streams import Served
from overlays.refmesh.errors import MachineError
from overlays.refmesh.wire.control import Endpoint

MAX_STREAMS, RESERVED, MAX_OF_ONE = 4096, 64, 64
"""`RESERVED`: descriptors that are for everything else."""
STREAMS_PER_S, STREAMS_BURST = 50.0, 200
STREAMS_OF_ONE_PER_S = 5.0
KEPT_FOR_MEMBERS = 50
"""New connections, of those that are taken at once, that addresses alone have from which a member has come lately."""
MAX_REMEMBERED = 4096
STRANGER_S, IDLE_S, STUCK_S = 10.0, 120.0, 30.0
LOOK_EVERY_S = 1.0
ACCEPTS_PER_ROUND = 16


@dataclass
class _Entry:
    served: Served
    host: str
    since_s: float
    heard_s: float


class StreamListener:
    """Each connection is the endpoint `("tls", number)`."""

    def __init__(
        self,
        host: str,
        port: int,
        loop: Loop,
        receive: Callable[[bytes, Endpoint, float], None],
        is_member: Callable[[Endpoint], bool],
    ) -> None:
        """`is_member`: whether a member is known to be at an endpoint. MachineError when the port is taken."""
        # TLS takes as long to import as all of the core, and few servers offer it.
        from overlays.refmesh.driver.stream import Stream, server_context  # noqa: PLC0415

        try:
            family = socket.AF_INET6 if not host or ":" in host else socket.AF_INET
            self._listener = socket.create_server(
                (host, port), family=family, backlog=64, dualstack_ipv6=not host and socket.has_dualstack_ipv6()
            )
        except OSError as error:
            raise MachineError(f"cannot use TCP port {port}: {error.strerror}") from None
        self._listener.setblocking(False)
        self._make, self._context = Stream, server_context()
        self._loop, self._receive, self._is_member = loop, receive, is_member
        self._streams: dict[int, _Entry] = {}
        self._hosts: Counter[str] = Counter()
        self._new = Pacer(STREAMS_PER_S, STREAMS_BURST)
        self._new_of = Pacers(STREAMS_OF_ONE_PER_S, MAX_OF_ONE)
        self._of_members: OrderedDict[str, None] = OrderedDict()
        self._next = 1
        self._looked_s = 0.0
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.limit = min(MAX_STREAMS, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED))
        loop.add(self._listener, self._accept)

    def send_run(self, datagrams: list[bytes], endpoint: Endpoint, now: float) -> None:
        """Send datagrams to a connection; to one that is gone: nowhere."""
        entry = self._streams.get(endpoint[1])
        if entry is not None:
            entry.served.stream.send_run(datagrams)
            entry.served.after(now)

    def look(self, now: float) -> None:
        """End, once a second, the connections that are over a limit."""
        if now - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now
        for number, entry in list(self._streams.items()):
            member = self._is_member(("tls", number))
            if member:
                self._remember(entry.host)
            strange = now - entry.since_s > STRANGER_S and not member
            stuck = now - entry.served.stream.stuck_since_s > STUCK_S
            if strange or stuck or now - entry.heard_s > IDLE_S:
                self._end(entry, now)

    def close(self) -> None:
        """Close all."""
        self._listener.close()
        if self._spare >= 0:
            os.close(self._spare)
        for entry in self._streams.values():
            entry.served.stream.close()

    def _accept(self, now: float) -> None:
        self.look(now)
        for _ in range(ACCEPTS_PER_ROUND):
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._refuse()
                return
            host = _network(str(address[0]))
            if not self._has_room(host, now):
                sock.close()
                continue
            self._add(sock, host, now)

    def _refuse(self) -> None:
        """Take a connection with the spare descriptor and end it: what waits would have us come back at once."""
        if self._spare >= 0:
            os.close(self._spare)
        # Closed is closed: another's descriptor may have the number by the time that one is free again.
        self._spare = -1
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _has_room(self, host: str, now: float) -> bool:
        """Whether one more connection from `host` is taken, which counts; an older one may have to go for it."""
        new_of = self._new_of.of(host)
        # Its own share first: what one address is refused must not be what all others have.
        kept = 0 if host in self._of_members else KEPT_FOR_MEMBERS
        if new_of.available(now) < 1 or self._new.available(now) < 1 + kept:
            return False
        if self._hosts[host] >= MAX_OF_ONE:
            self._end_oldest(now, of=host)
        if len(self._streams) >= self.limit:
            self._end_oldest(now)
        if len(self._streams) >= self.limit or self._hosts[host] >= MAX_OF_ONE:
            return False
        new_of.take()
        self._new.take()
        return True

    def _remember(self, host: str) -> None:
        self._of_members[host] = None
        self._of_members.move_to_end(host)
        if len(self._of_members) > MAX_REMEMBERED:
            self._of_members.popitem(last=False)

    def _end_oldest(self, now: float, of: str | None = None) -> None:
        """End the oldest connection that is no member's, of one address or of all."""
        for number, entry in self._streams.items():
            if of in (None, entry.host) and not self._is_member(("tls", number)):
                self._end(entry, now)
                return

    def _add(self, sock: socket.socket, host: str, now: float) -> None:
        number, self._next = self._next, self._next + 1

        def take(datagram: bytes, at: float) -> None:
            if number in self._streams:
                self._streams[number].heard_s = at
            self._receive(datagram, ("tls", number), at)

        try:
            stream = self._make(sock, self._context, server_side=True, on_open=lambda _: None, on_datagram=take)
        except OSError:
            sock.close()  # it has ended already
            return
        self._hosts[host] += 1
        self._streams[number] = _Entry(Served(self._loop, stream, lambda _: self._gone(number)), host, now, now)

    def _end(self, entry: _Entry, now: float) -> None:
        entry.served.stream.closed = True
        entry.served.after(now)

    def _gone(self, number: int) -> None:
        entry = self._streams.pop(number, None)
        if entry is not None:
            self._hosts[entry.host] -= 1
            if not self._hosts[entry.host]:
                del self._hosts[entry.host]


def _network(host: str) -> str:
    """Return what one customer has: an IPv4 address, or an IPv6 /64 network."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return address.packed[:8].hex()
    return str(getattr(address, "ipv4_mapped", None) or address)
