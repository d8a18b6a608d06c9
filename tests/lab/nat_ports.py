"""Which external ports a router takes for many new flows, and whether the packets' checksums are right behind it.

Runs inside the sandbox of `tests.lab.nat_lab`. Packets are made by hand with whole checksums: what a socket of the
same machine sends has none yet, and the receiver's network stack would not look.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from ipaddress import IPv4Address
from typing import Any

from harness.calibration.nat_ground import Ground
from harness.model.nat import parse_nat
from harness.nat.wire import Vantage
from harness.sandbox.namespace import inside_network_of

ETH_P_IP = 0x0800
PACKET_OUTGOING = 4  # linux/if_packet.h
_BUFFER = 16 << 20
_ARRIVES_S = 1.0
_NO_ANSWER = """
table inet filter_silent {
	chain input { type filter hook input priority filter; policy accept; meta l4proto { udp, tcp } drop; }
}
"""


def drawn_ports(ground: Ground, nat: Any, protocol: str, flows: int, batch: int) -> dict[str, Any]:
    """Send the first packets of many flows, to another port of one server each, and look at them outside.

    Args:
        batch: after so many flows the router forgets all: ports in use are not drawn again.

    Returns:
        `ports`, the source ports outside in order, and how many packets had a `wrong_checksum`.
    """
    router = ground.router(parse_nat(nat), 1)
    server, host = ground.public[0], ground.inside[0]
    ground.lab.nodes["pub"].check_output(["nft", "-f", "-"], stdin=_NO_ANSWER)
    number = {"udp": socket.IPPROTO_UDP, "tcp": socket.IPPROTO_TCP}[protocol]
    ports: list[int] = []
    wrong = 0
    with host.raw(socket.SOCK_RAW, number) as sender, _tap(server) as tap:
        for start in range(0, flows, batch):
            for flow in range(start, min(start + batch, flows)):
                sender.sendto(
                    _first_packet(number, host.address, server.address, 1 + flow % 65535), (server.address, 0)
                )
            # Nothing on the way queues, but the kernel may put a packet off to a thread of its own.
            wanted, end = min(batch, flows - start), time.monotonic() + _ARRIVES_S
            came = _received(tap, server.address, number)
            while len(came) < wanted and (left := end - time.monotonic()) > 0:
                select.select([tap], [], [], left)
                came += _received(tap, server.address, number)
            for source, segment in came:
                ports.append(struct.unpack_from("!H", segment)[0])
                wrong += _sum(_pseudo(number, source, server.address, len(segment)) + segment) != 0
            router.forget()
    ground.lab.nodes["pub"].check_output(["nft", "delete", "table", "inet", "filter_silent"])
    return {"ports": ports, "wrong_checksum": wrong}


def _tap(at: Vantage) -> socket.socket:
    with inside_network_of(at.pid):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    tap.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE
    tap.setblocking(False)
    return tap


def _received(tap: socket.socket, to: str, protocol: int) -> list[tuple[str, bytes]]:
    """Source address and segment of each IPv4 packet (without options) that has come."""
    found = []
    while True:
        try:
            packet, (_, _, kind, *_) = tap.recvfrom(2048)
        except BlockingIOError:
            return found
        if kind != PACKET_OUTGOING and packet[9] == protocol and packet[16:20] == IPv4Address(to).packed:
            length = struct.unpack_from("!H", packet, 2)[0]
            found.append((str(IPv4Address(packet[12:16])), packet[20:length]))


def _first_packet(protocol: int, source: str, destination: str, port: int) -> bytes:
    if protocol == socket.IPPROTO_UDP:
        head, place = struct.pack("!HHHH", 40000, port, 11, 0) + b"odd", 6
    else:
        head, place = struct.pack("!HHIIBBHHH", 40000, port, 7, 0, 5 << 4, 0x02, 65535, 0, 0), 16
    checksum = _sum(_pseudo(protocol, source, destination, len(head)) + head)
    # UDP's 0 says that there is none (RFC 768).
    return head[:place] + struct.pack("!H", checksum or 0xFFFF) + head[place + 2 :]


def _pseudo(protocol: int, source: str, destination: str, length: int) -> bytes:
    return IPv4Address(source).packed + IPv4Address(destination).packed + struct.pack("!HH", protocol, length)


def _sum(data: bytes) -> int:
    """RFC 1071: of data whose checksum is in place, 0."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
