"""Sends anything into a device by a packet socket, as a program with CAP_NET_RAW on a node's host can (packet(7)).

    python tests/fuzz/refmesh_noise.py INTERFACE SOURCE DESTINATION SEED      prints how many packets the kernel took

With PACKET_VNET_HDR the kernel takes large packets and checksums that are still to be made, and looks at them itself;
what it refuses the daemon never sees. A TAP device gets frames, their MAC addresses at random.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import socket
import sys
import time

from refmesh_inner import good_tcp, good_udp, hostile_read

SOL_PACKET, PACKET_VNET_HDR, ARPHRD_ETHER = 263, 15, 1
COUNT = 3000
PAUSE_EVERY, PAUSE_S = 200, 0.02
"""A device's queue has 500 packets; those on top would be lost, and nothing tried."""
_KINDS = (0x0800, 0x86DD, 0x0806, 0x8100, 0x88CC)


def main() -> None:
    """Run the command line."""
    interface, source, destination = sys.argv[1], *(ipaddress.ip_address(text).packed for text in sys.argv[2:4])
    rng = random.Random(int(sys.argv[4]))
    taken = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        frames = out.getsockname()[3] == ARPHRD_ETHER
        out.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        for number in range(COUNT):
            make = rng.choice((good_udp, good_tcp, hostile_read, hostile_read, hostile_read))
            read = make(source, rng.choice((destination, destination, source, rng.randbytes(4))), rng)
            kind = 0x86DD if read.data[10:11] and read.data[10] >> 4 == 6 else rng.choice((0x0800,) * 8 + _KINDS)
            macs = rng.choice((b"\xff" * 6, b"\2" + rng.randbytes(5))) + b"\2" + rng.randbytes(5)
            link = macs + kind.to_bytes(2, "big") if frames else b""
            with contextlib.suppress(OSError):
                out.sendto(read.data[:10] + link + read.data[10:], (interface, kind))
                taken += 1
            if not number % PAUSE_EVERY:
                time.sleep(PAUSE_S)
    print(taken)


if __name__ == "__main__":
    main()
