"""Runs in a sandbox: a ping from a member to the server, and how many ARP frames crossed the segments meanwhile."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from harness.lab.network import Lab
from harness.scenario.load import load_topology

_ETH_P_ALL, _ETH_P_ARP = 0x0003, 0x0806


def main() -> None:
    """Build, listen, ping."""
    topology = load_topology("two-sites").resolve({"link_a": {"delay_ms": 20}})
    lab = Lab(topology, seed=1, link_choice="auto", workdir=Path(sys.argv[1]))
    lab.start()
    listening = []
    for ports in lab.watched_ports().values():
        for port in ports:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            made.bind((port, _ETH_P_ALL))
            made.setblocking(False)
            listening.append(made)
    for member in topology.members:
        lab.nodes[member].check_output(["ping", "-n", "-c", "1", "-W", "5", "45.45.0.10"])
    frames = []
    for one in listening:
        while True:
            try:
                frames.append(int.from_bytes(one.recv(64)[12:14]))
            except BlockingIOError:
                break
    print(json.dumps({"arp": frames.count(_ETH_P_ARP), "frames": len(frames)}))


if __name__ == "__main__":
    main()
