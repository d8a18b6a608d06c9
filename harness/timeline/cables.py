"""What events that affect a cable have in common."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from harness.errors import LabError

if TYPE_CHECKING:
    from harness.lab.network import Lab
    from harness.lab.node import LabNode
    from harness.model.topology import Topology


def node_names(topology: Topology) -> tuple[str, ...]:
    """Return the names of hosts and routers."""
    return (*topology.hosts, *topology.routers)


def set_interfaces(lab: Lab, node: str, state: Literal["up", "down"]) -> float:
    """Set all interfaces of a host, or a router's outside, up or down.

    The kernel drops the routes over an interface that goes down, its neighbours and its IPv6 addresses: addresses are
    kept, neighbours and routes are set again when it comes up. One that is down for two reasons comes up when the last
    of them is over.

    Returns:
        When that was done, Unix time in seconds.

    Raises:
        LabError: the kernel refused.
    """
    running = lab.nodes[node]
    names = [lab.interface(node, 0)] if node in lab.topology.routers else _cabled(running)
    if state == "down":
        lab.down.update((node, name) for name in names)
        names = [name for name in names if lab.down[node, name] == 1]
        for name in names:
            running.write_sysctls({f"net.ipv6.conf.{name.replace('.', '/')}.keep_addr_on_down": "1"})
            lab.routes_down[node, name] = [
                ["ip", family, "route", "replace", *line.split(), "dev", name]
                for family in ("-4", "-6")
                for line in running.check_output(["ip", family, "route", "show", "dev", name]).splitlines()
                if "proto kernel" not in line
            ]
    else:
        lab.down.subtract((node, name) for name in names)
        names = [name for name in names if lab.down[node, name] == 0]
        # Before the first packet: a node that has to ask for its neighbours would be back a round trip later.
        lab.neighbours.restore(node)
    for name in names:
        running.set_interface(name, state)
    done_s = time.time()
    if state == "up":
        for argv in (argv for name in names for argv in lab.routes_down.pop((node, name), [])):
            running.check_output(argv)
            done_s = time.time()
    return done_s


def _cabled(node: LabNode) -> list[str]:
    """Return all interfaces with a cable, whatever they are called; an overlay's are not among them."""
    return [name for name in node.intfNames() if name != "lo"]


def cable_of(lab: Lab, node: str) -> str:
    """Return the name of the link between a node and its first segment.

    Raises:
        LabError: nothing is in its path that could be changed.
    """
    name = f"{node}-{lab.topology.attachments()[node][0].on}"
    if lab.links is None or name not in lab.links.applied:
        raise LabError(f"the link of {node} is a bare cable: nothing is in its path that could be changed")
    return name
