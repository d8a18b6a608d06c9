"""What a Mininet user's `Topo` asks for, read off its graph: hosts with their addresses, and what no lab can do.

Whatever a class asks for is done, or named: as a problem, which `check` refuses, or as a note, where a lab does it in
its own way (a switch of Open vSwitch is a Linux bridge).
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mininet.node import OVSSwitch, Switch
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo

from harness.topology.mininet_hosts import GraphHost, host_problems, hosts_of, interface_name_of, is_class
from harness.topology.mininet_links import link_problems

# Of a switch that is a plain bridge: what it is called, and spanning tree.
_BRIDGE_KEYS = frozenset({"cls", "isSwitch", "dpid", "stp", "batch", "inNamespace", "verbose"})
# IEEE 802.1D-1998, 9.2.5: 16 bits. Mininet's LinuxBridge counts from 100; other switches have the standard's default.
_LARGEST_PRIORITY = 65535
_FIRST_OF_LINUX_BRIDGES = 100
_DEFAULT_PRIORITY = 32768


@dataclass
class Graph:
    """All hosts by name, each switch's neighbouring switches, problems and notes; `own`: hosts of own classes."""

    hosts: dict[str, GraphHost]
    switches: dict[str, list[str]]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def examine(topo: Topo) -> Graph:
    """Read a `Topo`; builds nothing."""
    hosts = hosts_of(topo)
    switches: dict[str, list[str]] = {name: [] for name in topo.switches()}
    for first, second in topo.links():
        if first in switches and second in switches:
            switches[first].append(second)
            switches[second].append(first)
    problems = [*host_problems(topo, hosts), *_link_problems(topo), *_ports(topo), *_loops(topo)]
    notes: list[str] = []
    for name in switches:
        _look_at_switch(name, topo.nodeInfo(name), problems, notes)
    return Graph(hosts, switches, problems, notes, [name for name in hosts if _is_own(topo.nodeInfo(name).get("cls"))])


def _is_own(cls: Any) -> bool:
    return inspect.isclass(cls) and not cls.__module__.startswith("mininet.")


def _link_problems(topo: Topo) -> Iterator[str]:
    for first, second, options in topo.links(withInfo=True):
        yield from (f"link {first} <-> {second}: {text}" for text in link_problems(options))


def _ports(topo: Topo) -> Iterator[str]:
    """Yield names that two interfaces of switches have: they are all in one namespace, with the switches' own."""
    names = Counter(topo.switches())
    for _, _, options in topo.links(withInfo=True):
        names.update(interface_name_of(options, end) for end in (1, 2) if topo.isSwitch(options[f"node{end}"]))
    yield from (f"two interfaces of switches are called {name}" for name, times in names.items() if times > 1)


def _look_at_switch(name: str, info: Mapping[str, Any], problems: list[str], notes: list[str]) -> None:
    cls = info.get("cls")
    if cls is not None and not (
        is_class(cls, Switch) and (cls.__module__.startswith("mininet.") or is_class(cls, OVSSwitch))
    ):
        shown = getattr(cls, "__name__", repr(cls))
        problems.append(f"switch {name}: {shown} is a class of one's own; a lab's switches are Linux bridges")
        return
    rest = sorted(info.keys() - _BRIDGE_KEYS - {"prio"})
    prio = info.get("prio")
    if prio and not info.get("stp"):
        notes.append(f"switch {name}: prio means nothing without stp=True")
    elif prio and not (isinstance(prio, int) and 0 < prio <= _LARGEST_PRIORITY):
        problems.append(f"switch {name}: prio is a whole number from 1 to {_LARGEST_PRIORITY}, not {prio!r}")
    if cls is not None and not is_class(cls, LinuxBridge):
        notes.append(f"switch {name} ({cls.__name__}) is a Linux bridge here: no controller, no flow tables")
    if rest:
        notes.append(f"switch {name}: {', '.join(rest)} means nothing to a Linux bridge")


def priorities_of(topo: Topo) -> dict[str, int]:
    """Return the priority in the spanning tree protocol of each switch that runs it: as asked for, or as Mininet's own.

    The least one becomes the root. Mininet counts its Linux bridges, those without the protocol too.
    """
    found = {}
    following = _FIRST_OF_LINUX_BRIDGES
    for name in topo.switches():
        info = topo.nodeInfo(name)
        asked, cls = info.get("prio"), info.get("cls")
        priority = asked or _DEFAULT_PRIORITY
        if not asked and (cls is None or is_class(cls, LinuxBridge)):
            priority, following = following, following + 1
        if info.get("stp"):
            found[name] = int(priority)
    return found


def _loops(topo: Topo) -> Iterator[str]:
    """Switches in a loop none of which runs the spanning tree protocol: one broadcast would circle for ever."""
    plain = [name for name in topo.switches() if not topo.nodeInfo(name).get("stp")]
    group = {name: name for name in plain}

    def top(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for first, second in topo.links():
        if first not in group or second not in group:
            continue
        if top(first) == top(second):
            yield (
                f"switches {first} and {second} close a loop, in which one broadcast circles for ever: "
                "give one of its switches stp=True"
            )
        group[top(first)] = top(second)
