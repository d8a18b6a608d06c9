"""UDP sockets that move up to 64 KB a system call (Linux udp(7): UDP_SEGMENT, UDP_GRO)."""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence

from overlays.refmesh.errors import MachineError
from overlays.refmesh.wire.control import Endpoint

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
_MTU_DISCOVER: dict[int, tuple[int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),
}
_MTU: dict[int, tuple[int, int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 14, 28),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 24, 48),
}
"""IP_MTU_DISCOVER, and IP_MTU with the octets of the headers before UDP's payload (ip(7), ipv6(7))."""
_WANT, _PROBE = 1, 3
_CANNOT_SEGMENT = (errno.EMSGSIZE, errno.EINVAL)
"""A segment would be larger than the path; the second by older kernels."""
READS_PER_ROUND = 16
"""So many reads before others have their turn."""
MAX_SEGMENTS = 60
MAX_SEND = 65000
BUFFER = 4 << 20
_SIZE = struct.Struct("H")
_GRO_SIZE = struct.Struct("i")
_RECEIVE_INFO: dict[int, tuple[int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 8),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 49),
}
_INFO: dict[int, tuple[int, int]] = {socket.AF_INET: (socket.IPPROTO_IP, 8), socket.AF_INET6: (socket.IPPROTO_IPV6, 50)}
"""IP_PKTINFO, IPV6_RECVPKTINFO and IPV6_PKTINFO (ip(7), ipv6(7)): which address of ours a datagram came to."""
_ANCILLARY = socket.CMSG_SPACE(_GRO_SIZE.size) + socket.CMSG_SPACE(20)
MAX_ASKED = 1 << 16
"""So many endpoints are remembered with the address that they asked; anybody can make them up, so the oldest goes, but
of those alone at which nobody is known to be."""
_NOT_FROM_THERE = (errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH)
"""What sending fails with when the address that was asked is not ours any more."""
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_SEND_WAIT_MS = 20
_BUFFER = bytearray(65536)
_VIEW = memoryview(_BUFFER)


class UdpSocket:
    """One socket of one address family."""

    def __init__(
        self,
        family: int,
        host: str,
        port: int,
        *,
        buffer: int = BUFFER,
        sharing: Sequence[UdpSocket] = (),
        mark: int = 0,
    ) -> None:
        """`mark`: the firewall mark of what is sent.

        MachineError when the port is taken, but for `sharing`, the address is not ours, or we may not mark.
        """
        self.socket = sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.mark = mark
        if mark:
            set_mark(sock, mark)
        # For this moment only: while it is set, any program of this machine could take the port as well.
        for holder in (sock, *(other.socket for other in sharing)) if sharing else ():
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise MachineError(f"cannot use UDP port {port} of {host or 'any address'}: {error.strerror}") from None
        finally:
            for other in sharing:
                other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        if sharing:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        for force, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                sock.setsockopt(socket.SOL_SOCKET, force, buffer)
            except PermissionError:
                sock.setsockopt(socket.SOL_SOCKET, plain, buffer)
        sock.setsockopt(SOL_UDP, UDP_GRO, 1)
        # Ordered, not a plain dict: taking the first of one again and again leaves holes that each look for it crosses.
        self._asked: OrderedDict[Endpoint, bytes] = OrderedDict()
        self._v4 = family == socket.AF_INET
        self._info = _INFO[family]
        if not host:
            sock.setsockopt(*_RECEIVE_INFO[family], 1)
        self.keeps: Callable[[Endpoint], bool] = lambda _: False
        """Whether somebody has proved to be at an endpoint: the address that it asked is not forgotten for others."""
        self.port: int = sock.getsockname()[1]
        self.on_too_large: Callable[[Endpoint, int], None] | None = None
        """Is told of an endpoint and of the octets that a datagram to it may have, when some had more."""
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)

    def fileno(self) -> int:
        """For epoll."""
        return self.socket.fileno()

    def receive(self) -> tuple[memoryview, int, Endpoint] | None:
        """Return what one system call gives: octets, the size of each datagram in them, source. None: nothing there.

        The view is good until the next call, on any socket: one process has one thread and needs one buffer.
        """
        while True:
            try:
                length, ancillary, _, source = self.socket.recvmsg_into((_BUFFER,), _ANCILLARY)
            except BlockingIOError:
                return None
            except OSError:
                # A queued ICMP error of an earlier send; it says nothing that the protocol's timers do not notice.
                continue
            size, endpoint = length, (source[0], source[1])
            for level, kind, data in ancillary:
                if level == SOL_UDP:
                    if kind == UDP_GRO:
                        size = _GRO_SIZE.unpack(data)[0]
                elif (level, kind) == self._info and self._asked.get(endpoint) != data:
                    self._note_asked(endpoint, data)
            return _VIEW[:length], size, endpoint

    def send(self, datagram: bytes, endpoint: Endpoint) -> None:
        """Send one datagram; one that the kernel refuses (no route, no buffer) is lost, as on any network."""
        self._send((datagram,), (), endpoint)

    def send_run(self, datagrams: Sequence[bytes], endpoint: Endpoint) -> None:
        """Send datagrams to one endpoint, run of equal size in one system call each."""
        count, first = len(datagrams), 0
        while first < count:
            size = len(datagrams[first])
            limit = min(count, first + MAX_SEGMENTS, first + max(1, MAX_SEND // size))
            last = first + 1
            while last < limit and len(datagrams[last]) == size:
                last += 1
            if last < limit and len(datagrams[last]) < size:
                last += 1
            if last - first == 1:
                self._send((datagrams[first],), (), endpoint)
            else:
                self._send(datagrams[first:last], ((SOL_UDP, UDP_SEGMENT, _SIZE.pack(size)),), endpoint)
            first = last

    def send_segmented(self, data: bytes | memoryview, size: int, endpoint: Endpoint) -> None:
        """Send `data` as datagrams of `size` octets, the last one perhaps shorter; at most 60, as received by GRO."""
        step = min(MAX_SEGMENTS, max(1, MAX_SEND // size)) * size
        for start in range(0, len(data), step):
            part = data[start : start + step]
            ancillary = ((SOL_UDP, UDP_SEGMENT, _SIZE.pack(size)),) if len(part) > size else ()
            self._send((part,), ancillary, endpoint)

    def asked(self, endpoint: Endpoint) -> str:
        """Return the address of ours that an endpoint last sent to; empty when it never did."""
        info = self._asked.get(endpoint)
        if info is None:
            return ""
        return socket.inet_ntop(self.socket.family, info[4:8] if self._v4 else info[:16])

    def _note_asked(self, endpoint: Endpoint, info: bytes) -> None:
        if endpoint not in self._asked and len(self._asked) >= MAX_ASKED:
            self._forget_one()
        self._asked[endpoint] = info

    def _forget_one(self) -> None:
        for _ in range(len(self._asked)):
            endpoint, info = self._asked.popitem(last=False)
            if not self.keeps(endpoint):
                return
            self._asked[endpoint] = info  # now the newest: it is not looked at again before all others are
        self._asked.popitem(last=False)

    def _from(self, endpoint: Endpoint) -> tuple[tuple[int, int, bytes], ...]:
        """Return the control message that sends a datagram from the address that was asked (RFC 1122, 4.1.3.5)."""
        info = self._asked.get(endpoint)
        if info is None:
            return ()
        # By which interface is for the routes to say: the one that it came by may be gone.
        return ((*self._info, bytes(4) + info[4:8] + bytes(4) if self._v4 else info[:16] + bytes(4)),)

    def _send(
        self,
        buffers: Sequence[bytes | memoryview],
        ancillary: Sequence[tuple[int, int, bytes]],
        endpoint: Endpoint,
    ) -> None:
        for _ in range(3):
            source = self._from(endpoint) if self._asked else ()
            try:
                self.socket.sendmsg(buffers, (*ancillary, *source), 0, endpoint)
                return
            except BlockingIOError:
                # Back pressure: waiting a little keeps the packets in the TUN queue, where TCP can feel it.
                self._writable.poll(_SEND_WAIT_MS)
            except OSError as error:
                if source and error.errno in _NOT_FROM_THERE:
                    del self._asked[endpoint]
                    continue
                if error.errno == errno.EIO and ancillary:
                    # The device cannot checksum, so the kernel will not segment: one by one, then.
                    self._send_singly(buffers, ancillary, endpoint)
                elif error.errno in _CANNOT_SEGMENT and ancillary:
                    # One by one the kernel cuts them, which is slow, but nothing is lost until all know better.
                    self._send_singly(buffers, ancillary, endpoint)
                    if self.on_too_large is not None:
                        self.on_too_large(endpoint, self.allowed(endpoint))
                return

    def _send_singly(
        self,
        buffers: Sequence[bytes | memoryview],
        ancillary: Sequence[tuple[int, int, bytes]],
        endpoint: Endpoint,
    ) -> None:
        size = _SIZE.unpack(ancillary[0][2])[0]
        data = b"".join(buffers)
        for start in range(0, len(data), size):
            self._send((data[start : start + size],), (), endpoint)

    def send_whole(self, datagram: bytes, endpoint: Endpoint) -> None:
        """Send a datagram that must not be fragmented, here or on its way; one larger than the link is lost."""
        level, option = _MTU_DISCOVER[self.socket.family]
        self.socket.setsockopt(level, option, _PROBE)
        self._send((datagram,), (), endpoint)
        self.socket.setsockopt(level, option, _WANT)

    def allowed(self, endpoint: Endpoint) -> int:
        """Return the octets that a datagram to an endpoint may have, as far as the kernel knows; a lot otherwise."""
        level, option, headers = _MTU[self.socket.family]
        try:
            with socket.socket(self.socket.family, socket.SOCK_DGRAM) as asking:
                if self.mark:
                    set_mark(asking, self.mark)  # else another route might be asked about
                asking.connect(endpoint)
                return asking.getsockopt(level, option) - headers
        except (OSError, MachineError):
            return MAX_SEND

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def set_mark(sock: socket.socket, mark: int) -> None:
    """Has what the socket sends bear a firewall mark, by which rules choose its route (socket(7): SO_MARK)."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except OSError as error:
        sock.close()
        raise MachineError(f"cannot set the firewall mark {mark}: {error.strerror}; give it CAP_NET_ADMIN") from None
