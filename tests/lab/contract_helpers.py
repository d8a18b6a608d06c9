"""The programs on a contract test's nodes: `contract_helpers.py --receive|--send|--hear|--call ADDRESS`.

A file of its own that needs the standard library alone: each start of the harness takes seconds on a busy machine.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import sys
import time

BULK_BYTES = 10_000_000
PORT = 7001
GROUP = "239.66.0.1"
PATTERN = hashlib.sha256(b"overlay contract").digest() * 2048


def bulk() -> bytes:
    """10 MB that no shift or loss leaves unchanged."""
    return b"".join(struct.pack("!I", n) + PATTERN[:996] for n in range(BULK_BYTES // 1000))


def receive(address: str) -> None:
    """Take one stream and tell its length and digest."""
    with socket.create_server((address, PORT)) as listener:
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
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind((GROUP, PORT))
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(address))
        print("listening", flush=True)
        ear.recv(100)
        print("heard", flush=True)


def call(address: str) -> None:
    """Send multicast packets from the interface that has `address` until stopped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
        while True:
            mouth.sendto(b"anybody there?", (GROUP, PORT))
            time.sleep(0.1)


def main() -> None:
    """Be one of them."""
    verb, address = sys.argv[1:]
    {"--receive": receive, "--send": send, "--hear": hear, "--call": call}[verb](address)


if __name__ == "__main__":
    main()
