"""Runs in a sandbox: pings of the last node by the others, and what of address resolution crossed meanwhile.

`python neighbours_worker.py FOLDER [CLASS]`: in `two-sites` with a slow link, or a class of the zoo.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from harness.lab.network import Lab
from harness.model.topology import MininetClass, Topology
from harness.scenario.load import load_topology
from harness.topology.mininet_graph import examine
from harness.topology.mininet_import import construct
from harness.topology.mininet_topology import topology_of

_ETH_P_ALL, _ETH_P_ARP, _ETH_P_IPV6 = 0x0003, 0x0806, 0x86DD
_ICMPV6, _NEIGHBOUR_SOLICITATION = 58, 135


def _topology(name: str | None) -> Topology:
    if name is None:
        return load_topology("two-sites").resolve({"link_a": {"delay_ms": 20}})
    search = str(Path(__file__).parent)
    graph = json.loads(json.dumps(examine(construct(name, search, {})).as_dict()))
    return topology_of(graph, MininetClass(path=name, search=search), (), None)


def _asks(frame: bytes) -> bool:
    """Tell whether it is a neighbour solicitation (RFC 4861), but for those by which the kernel tries an address."""
    unspecified = not any(frame[22:38])
    return frame[20] == _ICMPV6 and frame[54] == _NEIGHBOUR_SOLICITATION and not unspecified


def main() -> None:
    """Build, listen, ping."""
    folder, *named = sys.argv[1:]
    topology = _topology(named[0] if named else None)
    lab = Lab(topology, seed=1, link_choice="auto", workdir=Path(folder))
    lab.start()
    listening = []
    for ports in lab.watched_ports().values():
        for port in ports:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            made.bind((port, _ETH_P_ALL))
            made.setblocking(False)
            listening.append(made)
    *askers, asked = (*topology.members, *([topology.server] if topology.server else []))
    for asker in askers:
        for address in topology.hosts[asked].addresses:
            lab.nodes[asker].check_output(["ping", "-n", "-c", "1", "-W", "5", str(address)])
    frames = []
    for one in listening:
        while True:
            try:
                frames.append(one.recv(128))
            except BlockingIOError:
                break
    kinds = [int.from_bytes(frame[12:14]) for frame in frames]
    solicited = sum(kind == _ETH_P_IPV6 and _asks(frame) for kind, frame in zip(kinds, frames, strict=True))
    print(json.dumps({"arp": kinds.count(_ETH_P_ARP), "solicitations": solicited, "frames": len(frames)}))


if __name__ == "__main__":
    main()
