"""The setup of a discovery: where each party stands, and the questions that all tests ask."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network

from harness.errors import LabError
from harness.model.nat64 import synthesised
from harness.nat import stun
from harness.nat.packet import Endpoint
from harness.nat.prefixes import translated
from harness.nat.responder import Responder
from harness.nat.wire import Vantage, Wire

# Packets of one process on one path keep their order, so a later answer proves an earlier one missing; this is for the
# machine's own threads, which may still hold a packet when the later one is through.
GRACE_S = 0.004

# Below what Linux gives out by itself (net.ipv4.ip_local_port_range).
INSIDE_PORTS = range(20000, 32768)


@dataclass
class Ask:
    """A Binding request in flight from one inside socket, and its answer."""

    bound: socket.socket
    to: Endpoint
    request: stun.Request
    answer: stun.Response | None = None
    source: Endpoint | None = None

    @property
    def mapped(self) -> Endpoint:
        """Where the server saw the request come from.

        Raises:
            LabError: there was no answer.
        """
        if self.answer is None:
            raise LabError(f"no answer from {self.to.address}:{self.to.port} through the NAT")
        return self.answer.mapped


class DiscoverySetup:
    """A Responder outside, vantages inside, one wire.

    `inside` are hosts behind the same router (two where there are two); `strangers` are outside addresses that the
    inside never contacts by itself.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        inside: Sequence[Vantage],
        servers: Sequence[Vantage],
        strangers: Sequence[Vantage],
        ports: tuple[int, int] = (3478, 3479),
        inside_ports: Iterator[int] | None = None,
        prefix: IPv6Network | None = None,
        nat64: bool = False,
        patience_s: float = 1.0,
        retransmit_s: float = 0.25,
    ) -> None:
        """Open the servers.

        Args:
            inside_ports: the inside's source ports, each used once: a port that comes again finds its old mapping.
            prefix: in which the outside finds inside hosts, where it is another than their own (RFC 6296).
            nat64: whether the inside has IPv6 and the servers IPv4, and a translator in between.
            patience_s: how long a positive answer may take, with retransmissions.
            retransmit_s: after how long a request without answer is sent again; above the path's round trip.
        """
        self.wire = wire
        self.inside = inside
        self.strangers = strangers
        self.prefix = prefix
        self.nat64 = nat64
        self.responder = Responder(wire, servers, ports)
        self.patience_s, self.retransmit_s = patience_s, retransmit_s
        self._numbers = itertools.count(1)
        self._inside_ports = inside_ports or itertools.cycle(INSIDE_PORTS)
        self._pending: dict[bytes, Ask] = {}
        self.inbox: dict[socket.socket, list[tuple[bytes, Endpoint]]] = {}

    @property
    def primary(self) -> Endpoint:
        """The server's primary address and port."""
        return self.responder.endpoints[0][0]

    def unmapped(self, host: int = 0) -> str:
        """Return where the outside finds an inside host without a mapping, if anywhere."""
        own = self.inside[host].address
        return own if self.prefix is None else translated(own, self.prefix)

    def reached_at(self, outside: Endpoint) -> str:
        """Return by which address the inside reaches an outside endpoint."""
        return str(synthesised(IPv4Address(outside.address))) if self.nat64 else outside.address

    def open(self, host: int = 0, port: int = 0) -> socket.socket:
        """Return a UDP socket of an inside host, whose answers and other datagrams are noted."""
        bound = self.inside[host].udp(port or self.fresh_port())
        self.inbox[bound] = []
        self.wire.listen(bound, lambda data, source: self._note(bound, data, source))
        return bound

    def fresh_port(self) -> int:
        """Return a source port that the inside has not used before."""
        return next(self._inside_ports)

    def close(self, bound: socket.socket) -> None:
        """Close an inside socket."""
        self.inbox.pop(bound, None)
        self.wire.forget(bound)

    def transaction(self) -> bytes:
        """Return a transaction id that is not used twice on this setup."""
        return next(self._numbers).to_bytes(12, "big")

    def send(
        self, bound: socket.socket, to: Endpoint | None = None, *, change_ip: bool = False, change_port: bool = False
    ) -> Ask:
        """Send a Binding request; its answer comes while the wire is pumped."""
        ask = Ask(bound, to or self.primary, stun.Request(self.transaction(), change_ip, change_port))
        self._pending[ask.request.transaction] = ask
        self._transmit(ask)
        return ask

    def wait_for(self, asks: Sequence[Ask]) -> bool:
        """Wait for all answers, sending again what has none; return False if some do not come within the patience."""
        attempts = max(1, round(self.patience_s / self.retransmit_s))
        for attempt in range(attempts):
            for ask in asks:
                if attempt and ask.answer is None:
                    self._transmit(ask)
            if self.wire.pump(lambda: all(ask.answer for ask in asks), self.retransmit_s):
                return True
        return False

    def fence(self, bound: socket.socket) -> None:
        """Wait until everything sent before, from or to `bound`, must have arrived if it ever will.

        Raises:
            LabError: the server cannot be reached at all.
        """
        if not self.wait_for([self.send(bound)]):
            raise LabError(f"{self.primary.address}:{self.primary.port} does not answer through the router")
        self.wire.wait(GRACE_S)

    def mapped(self, bound: socket.socket, to: Endpoint | None = None) -> Endpoint:
        """Return the mapping of `bound` towards a server.

        Raises:
            LabError: no answer.
        """
        ask = self.send(bound, to)
        self.wait_for([ask])
        return ask.mapped

    def until(self, condition: Callable[[], bool]) -> bool:
        """Pump until a condition holds; return False if it does not within the patience."""
        return self.wire.pump(condition, self.patience_s)

    def _transmit(self, ask: Ask) -> None:
        try:
            ask.bound.sendto(ask.request.encode(), (self.reached_at(ask.to), ask.to.port))
        except (ConnectionRefusedError, PermissionError):  # an earlier ICMP error; a filter of the host itself
            pass
        except OSError as error:
            raise LabError(f"cannot send to {ask.to.address}:{ask.to.port}: {error.strerror}") from error

    def _note(self, bound: socket.socket, data: bytes, source: Endpoint) -> None:
        try:
            message = stun.decode(data)
        except ValueError:
            self.inbox[bound].append((data, source))
            return
        if isinstance(message, stun.Response):
            ask = self._pending.pop(message.transaction, None)
            if ask is not None:
                ask.answer, ask.source = message, source
        else:
            self.inbox[bound].append((data, source))
