"""A STUN server for NAT behaviour discovery: two addresses x two ports (RFC 5780 section 7), UDP and TCP."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence

from harness.nat import stun
from harness.nat.packet import Endpoint
from harness.nat.wire import Vantage, Wire, port_of


class Responder:
    """Four UDP sockets that answer Binding requests and honour CHANGE-REQUEST and RESPONSE-PORT; four TCP listeners.

    `endpoints[i][j]` is address i, port j. Requests seen are counted in `requests`; what is no STUN message is kept
    in `strange`, with where it came from.
    """

    def __init__(self, wire: Wire, places: Sequence[Vantage], ports: tuple[int, int]) -> None:
        """Open the sockets.

        Args:
            places: the primary and the alternate address, of one or two nodes.
            ports: the primary and the alternate port.
        """
        self.requests = 0
        self.strange: list[tuple[bytes, Endpoint]] = []
        self.tcp: dict[Endpoint, socket.socket] = {}
        self._wire = wire
        self.endpoints = [[Endpoint(place.address, port) for port in ports] for place in places[:2]]
        self._udp = [[place.udp(port) for port in ports] for place in places[:2]]
        for i, row in enumerate(self._udp):
            for j, bound in enumerate(row):
                if bound.family is socket.AF_INET:
                    bound.setsockopt(*MAY_BE_CUT)
                wire.listen(bound, lambda data, source, i=i, j=j: self._answer(i, j, data, source))  # type: ignore[misc]
        for place in places[:2]:
            for port in ports:
                listener = place.bound(socket.SOCK_STREAM, port)
                listener.listen(64)
                wire.accept(listener, self._serve)

    def send(self, i: int, j: int, data: bytes, to: Endpoint) -> None:
        """Send a datagram of one's own from address i, port j."""
        self._udp[i][j].sendto(data, (to.address, to.port))

    def _answer(self, i: int, j: int, data: bytes, source: Endpoint) -> None:
        try:
            request = stun.decode(data)
        except ValueError:
            self.strange.append((data, source))
            return
        if not isinstance(request, stun.Request):
            return
        self.requests += 1
        x, y = i ^ request.change_ip, j ^ request.change_port
        reply = stun.Response(request.transaction, source, self.endpoints[x][y], self.endpoints[1 - i][1 - j])
        port = request.response_port or source.port
        with contextlib.suppress(OSError):  # the source may be an inside address, to which there is no way back
            self._udp[x][y].sendto(reply.encode(), (source.address, port))

    def _serve(self, connection: socket.socket, peer: Endpoint) -> None:
        here = Endpoint(*connection.getsockname()[:2])
        self.tcp[peer] = connection

        def answer(data: bytes, _: Endpoint) -> None:
            with contextlib.suppress(ValueError, OSError):
                request = stun.decode(data)
                connection.send(stun.Response(request.transaction, peer, here, here).encode())

        self._wire.listen(connection, answer)


# linux/in.h: routers may cut what is sent, as the Internet's do (IP_MTU_DISCOVER, IP_PMTUDISC_DONT).
MAY_BE_CUT = (socket.IPPROTO_IP, 10, 0)
MSG_ERRQUEUE = 0x2000  # linux/socket.h
RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}  # linux/in.h, in6.h


class Stranger:
    """A UDP socket at an address that no inside host has contacted; notes who sends to it, and ICMP errors."""

    def __init__(self, wire: Wire, place: Vantage) -> None:
        self.socket = place.udp()
        level, option = RECVERR[place.family]
        self.socket.setsockopt(level, option, 1)  # or else a socket without a peer never hears of ICMP errors
        self.endpoint = Endpoint(place.address, port_of(self.socket))
        self.heard: list[Endpoint] = []
        self._wire = wire
        wire.listen(self.socket, lambda _, source: self.heard.append(source))

    def send(self, to: Endpoint, data: bytes = b"unsolicited") -> None:
        """Send a datagram; an ICMP error about an earlier one is noted and does not keep this one back."""
        for _ in range(2):
            try:
                self.socket.sendto(data, (to.address, to.port))
            except ConnectionRefusedError:
                self._wire.refused.add(self.socket)
            except OSError as error:
                if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH):  # an inside address: no way there
                    raise
            else:
                return

    @property
    def was_refused(self) -> bool:
        """Whether an ICMP error came back."""
        return self.socket in self._wire.refused
