"""Runs in a sandbox: members behind a carrier that allocates ports by block get addresses that it did not know before.

`python port_blocks_worker.py FOLDER TOPOLOGY PARAMETERS EVENTS`, the last two as JSON; each event is a name, a subject
and settings, or `undo` before them.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

from harness.lab import counters
from harness.lab.network import Lab
from harness.nat.wire import Vantage
from harness.scenario.load import load_topology
from harness.timeline.registry import events

_PORT = 7000


def _seen(asking: socket.socket, server: socket.socket) -> list[Any] | None:
    """Return the endpoint as which a socket reaches the server, and the server it; None where nothing arrives."""
    asking.sendto(b"who am I?", server.getsockname())
    try:
        source = server.recvfrom(100)[1]
        server.sendto(json.dumps(source).encode(), source)
        found: list[Any] = json.loads(asking.recv(100))
    except TimeoutError:
        return None
    return found


def main() -> None:
    """Build, let things happen, and print after each as whom old and new sockets of the members are seen."""
    folder, name, params, happening = *sys.argv[1:3], *map(json.loads, sys.argv[3:])
    lab = Lab(load_topology(name).resolve(params), seed=1, link_choice="auto", workdir=Path(folder))
    lab.start()
    counters.install(lab.watched_ports())
    server = Vantage(lab.nodes["s"].pid, _address(lab, "s")).udp(_PORT)
    server.settimeout(1.0)
    sockets: dict[str, socket.socket] = {}
    seen = []
    for item in happening:
        undone = item[0] == "undo"
        do, to, said = item[undone:]
        event = events()[do]
        act = event.undo if undone else event.perform
        act(lab, None, to, event.settings.model_validate(said))  # type: ignore[arg-type]
        for member in lab.topology.members:
            made = Vantage(lab.nodes[member].pid, _address(lab, member)).udp()
            made.settimeout(1.0)
            sockets[f"{member} {len(seen)}"] = made
        usable = {who: one for who, one in sockets.items() if one.getsockname()[0] == _address(lab, who.split()[0])}
        seen.append({who: _seen(one, server) for who, one in usable.items()})
    table = lab.nodes[_carrier(lab)].check_output(["nft", "list", "table", "ip", "nat_v4"])
    print(json.dumps({"seen": seen, "no block": [int(n) for n in re.findall(r'packets (\d+) .*"no block"', table)]}))


def _address(lab: Lab, host: str) -> str:
    return str(lab.topology.hosts[host].ipv4[0])


def _carrier(lab: Lab) -> str:
    return next(name for name, router in lab.routers.items() if "block" in router.behaviour.axes_label)


if __name__ == "__main__":
    main()
