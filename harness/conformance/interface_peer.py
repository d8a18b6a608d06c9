"""The programs at the ends of interfaces: `interface_peer.py --receive|--send|--hear|--call ADDRESS`.

A file of its own that needs the standard library alone: each start of the harness takes seconds on a busy machine.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import sys
import time
from pathlib import Path

BULK_BYTES = 10_000_000
PORT = 7001
GROUP = "239.66.0.1"
GROUP_IPV6 = "ff15::6642"
PATTERN = hashlib.sha256(b"overlay contract").digest() * 2048


def bulk() -> bytes:
    """10 MB that no shift or loss leaves unchanged.

    The other peer says it again: each is a program of its own, run in a node without what the harness is made of.
    """
    return b"".join(struct.pack("!I", n) + PATTERN[:996] for n in range(BULK_BYTES // 1000))


def receive(address: str) -> None:
    """Take one stream and tell its length and digest."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, PORT), family=family) as listener:
        print("listening", flush=True)
        connection, _ = listener.accept()
        digest, length = hashlib.sha256(), 0
        while part := connection.recv(65536):
            digest.update(part)
            length += len(part)
    print(length, digest.hexdigest(), flush=True)


def send(address: str) -> None:
    """Send the stream."""
    with socket.create_connection((address, PORT), timeout=20) as connection:
        connection.sendall(bulk())


def hear(address: str) -> None:
    """Wait for a multicast packet on the interface that has `address`."""
    if ":" in address:
        ear = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        ear.bind((GROUP_IPV6, PORT))
        joined = socket.inet_pton(socket.AF_INET6, GROUP_IPV6) + _index(address)
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined)
    else:
        ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ear.bind((GROUP, PORT))
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(address))
    with ear:
        print("listening", flush=True)
        ear.recv(100)
        print("heard", flush=True)


def call(address: str) -> None:
    """Send multicast packets from the interface that has `address` until stopped."""
    if ":" in address:
        group = GROUP_IPV6
        mouth = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, _index(address))
        mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 4)
    else:
        group = GROUP
        mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
    with mouth:
        while True:
            mouth.sendto(b"anybody there?", (group, PORT))
            time.sleep(0.1)


def _index(address: str) -> bytes:
    """Return the index of the interface that has an IPv6 address, as IPv6 names interfaces."""
    wanted = socket.inet_pton(socket.AF_INET6, address).hex()
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, index, *_ = line.split()
        if digits == wanted:
            return struct.pack("@I", int(index, 16))
    raise OSError(f"no interface has {address}")


def main() -> None:
    """Be one of them."""
    verb, address = sys.argv[1:]
    {"--receive": receive, "--send": send, "--hear": hear, "--call": call}[verb](address)


if __name__ == "__main__":
    main()
