"""A Mininet user's `Topo` made ready for a lab: our bridges, nodes and links in the place of Mininet's own.

What no lab does was refused before (`harness.topology.mininet_graph`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from mininet.net import Mininet
from mininet.node import Node
from mininet.nodelib import NAT
from mininet.topo import Topo

from harness.errors import LabError
from harness.lab.node import LabNode
from harness.lab.wires import EmulatedLink, LinkSpace
from harness.topology.mininet_graph import priorities_of
from harness.topology.mininet_hosts import interface_name_of
from harness.topology.mininet_links import LINK_KEYS, TC_KEYS, link_problems, profile_of
from harness.topology.mininet_routes import renamed

# linux/if.h: IFNAMSIZ, less the end of the text.
_LONGEST_NAME = 15


def prepare(topo: Topo, space: LinkSpace) -> None:
    """Change the graph in place.

    Raises:
        LabError: a link asks for something that we do not carry over; it is never ignored.
    """
    numbers = itertools.count(1)
    priorities = priorities_of(topo)
    for place, name in enumerate(topo.switches(), 1):
        info = topo.nodeInfo(name)
        info.clear()
        info |= {"isSwitch": True, "stp": name in priorities, "device": _device(name, numbers)}
        if name in priorities:
            # The hardware address decides between equal priorities: by chance, were it not given.
            info |= {"priority": priorities[name], "mac": f"02:00:00:00:{place >> 8:02x}:{place & 255:02x}"}
    for name in topo.hosts():
        info = topo.nodeInfo(name)
        if "cls" in info:
            info["cls"] = _class_of(info["cls"])
        if info.get("cls") is LabNat:
            info["inNamespace"] = True
    _translate_links(topo, space)
    _put_bridges_between_hosts(topo, numbers)
    _rename_interfaces(topo, numbers)


def islands_of(net: Mininet) -> dict[str, list[str]]:
    """Return, by each port that faces a node, all ports that face nodes on the same segment of joined switches."""
    group = {switch: switch for switch in net.switches}

    def top(switch: Any) -> Any:
        while group[switch] is not switch:
            switch = group[switch]
        return switch

    facing = []
    for link in net.links:
        first, second = link.intf1, link.intf2
        if first.node in group and second.node in group:
            group[top(first.node)] = top(second.node)
        else:
            facing.append(first if first.node in group else second)
    ports: dict[Any, list[str]] = {}
    for port in facing:
        ports.setdefault(top(port.node), []).append(str(port.name))
    return {name: together for together in ports.values() for name in together}


class LabNat(LabNode):
    """Mininet's NAT as one of our routers: rules come from the topology, as every router's do."""

    def __init__(self, name: str, **params: Any) -> None:
        for theirs in ("subnet", "localIntf", "inetIntf", "flush"):
            params.pop(theirs, None)
        super().__init__(name, **params)


def _class_of(cls: type[Node] | None) -> type[Node] | None:
    """Return a class of nodes that are ours as well: the user's `config` runs, and what it calls is our own."""
    if cls is None or issubclass(cls, LabNode):
        return cls
    if issubclass(cls, NAT):
        return LabNat
    return type(cls.__name__, (cls, LabNode), {})


def _device(name: str, numbers: Iterator[int]) -> str:
    """Return the name of a switch's interface: its own, where the kernel takes that."""
    return name if _is_taken_by_the_kernel(name) else f"br{next(numbers)}"


def _is_taken_by_the_kernel(name: str) -> bool:
    spaced = any(character.isspace() for character in name)
    return len(name.encode()) <= _LONGEST_NAME and "/" not in name and not spaced


def _put_bridges_between_hosts(topo: Topo, numbers: Iterator[int]) -> None:
    """Put a switch into every cable between two hosts, where the lab's counters can stand."""
    hosts = set(topo.hosts())
    for first, second, key, options in list(topo.links(withKeys=True, withInfo=True)):
        one, other = options["node1"], options["node2"]
        if not {one, other} <= hosts:
            continue
        del topo.g.edge[first][second][key]
        if first != second:
            topo.g.edge[second][first].pop(key, None)
        between = f"cable{next(numbers)}"
        topo.addSwitch(between, stp=False, device=between)
        impaired = {name: options[name] for name in ("cls", "space", "profile") if name in options}
        topo.addLink(one, between, **_end(options, 1), **impaired)
        topo.addLink(other, between, **_end(options, 2))


def _end(options: Mapping[str, Any], end: int) -> dict[str, Any]:
    """Return a link's options at one end, as those of the first end of a new one."""
    names = {"port": "port1", "intfName": "intfName1", "addr": "addr1", "params": "params1"}
    return {new: options[f"{old}{end}"] for old, new in names.items() if options.get(f"{old}{end}") is not None}


def _rename_interfaces(topo: Topo, numbers: Iterator[int]) -> None:
    """Give every interface whose name the kernel would not take one of ours, also where a route names it."""
    new: dict[str, dict[str, str]] = {}
    for _, _, options in topo.links(withInfo=True):
        for end in (1, 2):
            name = interface_name_of(options, end)
            if not _is_taken_by_the_kernel(name):
                ours = f"if{next(numbers)}-eth{options[f'port{end}']}"
                new.setdefault(options[f"node{end}"], {})[name] = options[f"intfName{end}"] = ours
    for node, names in new.items():
        info = topo.nodeInfo(node)
        if info.get("defaultRoute") is not None:
            info["defaultRoute"] = renamed(info["defaultRoute"], names)


def _translate_links(topo: Topo, space: LinkSpace) -> None:
    """Give Mininet's link parameters to our backends: its own `TCIntf` only logs tc errors."""
    for first, second, options in topo.links(withInfo=True):
        for problem in link_problems(options):
            raise LabError(f"link {first} <-> {second}: {problem}")
        profile = profile_of(options)
        for key in {"cls", *TC_KEYS} & options.keys():
            del options[key]
        assert options.keys() <= LINK_KEYS
        if profile is not None:
            options |= {"cls": EmulatedLink, "space": space, "profile": profile}
