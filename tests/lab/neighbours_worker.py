"""Runs in a sandbox: pings of the last node by the others, and what of address resolution crossed meanwhile.

`python neighbours_worker.py FOLDER [CLASS]`: in `two-sites` with a slow link, or a class of the zoo; then again after
what events do to interfaces and addresses. Prints one line for each.
"""

from __future__ import annotations

import json
import socket
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

from harness.lab.network import Lab
from harness.model.topology import MininetClass, Topology
from harness.scenario.load import load_topology
from harness.timeline.cables import set_interfaces
from harness.timeline.change_address import ChangeAddress, ChangeAddressSettings
from harness.timeline.contract import RunningDaemons
from harness.topology.mininet_graph import examine
from harness.topology.mininet_import import construct
from harness.topology.mininet_topology import topology_of

_ETH_P_ALL, _ETH_P_ARP, _ETH_P_IPV6 = 0x0003, 0x0806, 0x86DD
_ICMPV6, _NEIGHBOUR_SOLICITATION = 58, 135


def _topology(name: str | None) -> Topology:
    if name is None:
        return load_topology("two-sites").resolve(
            {"ip": "dual", "nat_a": "dual-stack", "nat_b": "dual-stack", "link_a": {"delay_ms": 20}}
        )
    search = str(Path(__file__).parent)
    graph = json.loads(json.dumps(examine(construct(name, search, {})).as_dict()))
    return topology_of(graph, MininetClass(path=name, search=search), (), None)


def _asks(frame: bytes) -> bool:
    """Tell whether it is a neighbour solicitation (RFC 4861), but for those by which the kernel tries an address."""
    unspecified = not any(frame[22:38])
    return frame[20] == _ICMPV6 and frame[54] == _NEIGHBOUR_SOLICITATION and not unspecified


def _listen(lab: Lab) -> list[socket.socket]:
    listening = []
    for ports in lab.watched_ports().values():
        for port in ports:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            made.bind((port, _ETH_P_ALL))
            made.setblocking(False)
            listening.append(made)
    return listening


def _heard(listening: list[socket.socket]) -> list[bytes]:
    frames = []
    for one in listening:
        while True:
            try:
                frames.append(one.recv(128))
            except BlockingIOError:
                break
    return frames


def _say(after: str, frames: list[bytes]) -> None:
    kinds = [int.from_bytes(frame[12:14]) for frame in frames]
    solicited = sum(kind == _ETH_P_IPV6 and _asks(frame) for kind, frame in zip(kinds, frames, strict=True))
    said = {"after": after, "arp": kinds.count(_ETH_P_ARP), "solicitations": solicited, "frames": len(frames)}
    print(json.dumps(said))


def _ping(lab: Lab) -> None:
    *askers, asked = (*lab.topology.members, *([lab.topology.server] if lab.topology.server else []))
    for asker in askers:
        for address in lab.topology.hosts[asked].addresses:
            lab.nodes[asker].check_output(["ping", "-n", "-c", "1", "-W", "5", str(address)])


def _require_gone(lab: Lab, address: str) -> None:
    """Require that the server knows nobody by an address any more: what it sends there would be delivered."""
    known = lab.nodes["s"].check_output(["ip", "neigh", "show", "nud", "permanent"]).split()
    assert address not in known, known


def main() -> None:
    """Build, listen, ping; with interfaces that were down, and with another address."""
    folder, *named = sys.argv[1:]
    topology = _topology(named[0] if named else None)
    lab = Lab(topology, seed=1, link_choice="auto", workdir=Path(folder))
    lab.start()
    listening = _listen(lab)
    _ping(lab)
    _say("the start", _heard(listening))
    for node in (lab.topology.members[0], *list(lab.topology.routers)[:1]):
        set_interfaces(lab, node, "down")
        set_interfaces(lab, node, "up")
        _ping(lab)
        _say(f"{node} was down", _heard(listening))
    if "ra" in lab.topology.routers:
        event, overlay = ChangeAddress(), cast(RunningDaemons, None)
        settings = ChangeAddressSettings(addresses=(IPv4Address("45.45.9.9"),))
        event.perform(lab, overlay, "ra", settings)
        _ping(lab)
        _say("ra has another address", _heard(listening))
        _require_gone(lab, "45.45.1.1")
        event.undo(lab, overlay, "ra", settings)
        _ping(lab)
        _say("ra has its former address", _heard(listening))
        _require_gone(lab, "45.45.9.9")


if __name__ == "__main__":
    main()
