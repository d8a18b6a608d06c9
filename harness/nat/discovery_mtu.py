"""What a router says whose line is narrower than Ethernet: ICMP errors, and the segment size of TCP handshakes."""

from __future__ import annotations

import errno
import socket
import sys

from harness.nat import discovery_tcp
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.ports import FULL_MTU_BYTES
from harness.nat.responder import MSG_ERRQUEUE, RECVERR

# linux/in.h, in6.h: sends whole whatever is known of the path, so that one test does not teach the next.
_PROBE = {socket.AF_INET: (socket.IPPROTO_IP, 10, 3), socket.AF_INET6: (socket.IPPROTO_IPV6, 23, 3)}
_HEADERS_BYTES = {socket.AF_INET: 28, socket.AF_INET6: 48}
# IP and TCP headers, and the timestamps that both ends use (RFC 7323).
_TCP_BYTES = {socket.AF_INET: 52, socket.AF_INET6: 72}


def mtu_error_test(setup: DiscoverySetup) -> bool:
    """Test whether a full packet that may not be cut is answered by "packet too big" (RFC 1191, RFC 8201).

    To the alternate server, whose path is remembered as narrow from then on.

    Raises:
        LabError: the primary server did not answer.
    """
    bound, fence = setup.open(), setup.open()
    bound.setsockopt(*RECVERR[bound.family], 1)
    bound.setsockopt(*_PROBE[bound.family])
    other = setup.responder.endpoints[1][0]
    bound.sendto(bytes(FULL_MTU_BYTES - _HEADERS_BYTES[bound.family]), (other.address, other.port))
    setup.fence(fence)
    said = _error_of(bound)
    setup.close(bound)
    setup.close(fence)
    return said == errno.EMSGSIZE


def _error_of(bound: socket.socket) -> int:
    """Return the number of the first ICMP error in a socket's queue; 0 where there is none."""
    try:
        _, ancillary, _, _ = bound.recvmsg(512, 256, MSG_ERRQUEUE)
    except BlockingIOError:
        return 0
    return next((int.from_bytes(data[:4], sys.byteorder) for *_, data in ancillary), 0)


def mss_test(setup: DiscoverySetup) -> tuple[int, int]:
    """Return for which MTU both ends of a new connection take the path to be, in bytes: the inside's, the outside's.

    Raises:
        LabError: the connection did not come about.
    """
    made = discovery_tcp.connected(setup, setup.inside[0], setup.primary)
    assert made.mapped is not None  # connected asks for it
    ends = made.bound, setup.responder.tcp[made.mapped]
    found = [end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) + _TCP_BYTES[end.family] for end in ends]
    discovery_tcp.hang_up(setup, made)
    return found[0], found[1]
