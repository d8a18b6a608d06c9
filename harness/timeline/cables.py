"""What the events that befall a cable have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.errors import LabError
from harness.topology.wiring import interface_name

if TYPE_CHECKING:
    from harness.lab.network import Lab
    from harness.model.topology import Topology


def node_names(topology: Topology) -> tuple[str, ...]:
    """Hosts and routers."""
    return (*topology.hosts, *topology.routers)


def set_interfaces(lab: Lab, node: str, state: Literal["up", "down"]) -> None:
    """Take all interfaces of a host up or down, or a router's outside.

    Routes over an interface go with it; those that the lab had set are set again when it comes up.

    Raises:
        LabError: the kernel refused.
    """
    number = 1 if node in lab.topology.routers else len(lab.topology.attachments()[node])
    running = lab.nodes[node]
    routes = {family: running.check_output(["ip", family, "route", "show", "default"]) for family in ("-4", "-6")}
    kept = lab.defaults.setdefault(node, routes)
    for place in range(number):
        running.check_output(["ip", "link", "set", interface_name(node, place), state])
    if state == "up":
        for family, text in kept.items():
            for line in filter(None, text.splitlines()):
                running.check_output(["ip", family, "route", "replace", *line.split()])
        del lab.defaults[node]


def cable_of(lab: Lab, node: str) -> str:
    """The name of the link between a node and its first segment.

    Raises:
        LabError: nothing is in its path that could be changed.
    """
    name = f"{node}-{lab.topology.attachments()[node][0].on}"
    if lab.links is None or name not in lab.links.applied:
        raise LabError(f"the link of {node} is a bare cable: nothing is in its path that could be changed")
    return name
