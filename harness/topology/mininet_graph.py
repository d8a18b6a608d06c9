"""What a Mininet user's `Topo` asks for, read off its graph: hosts with their addresses, and what no lab can do.

Whatever a class asks for is done, or named: as a problem, which `check` refuses, or as a note, where a lab does it in
its own way (a switch of Open vSwitch is a Linux bridge).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Network, ip_interface
from pathlib import Path
from typing import Any

from mininet.link import Link, TCLink
from mininet.node import CPULimitedHost, Node, OVSSwitch, Switch
from mininet.nodelib import NAT, LinuxBridge
from mininet.topo import Topo

from harness.sandbox.mounts import PRIVATE_DIRS

# What Mininet itself uses when a Topo does not say: see `ipBase` of mininet.net.Mininet.
IP_BASE = IPv4Network("10.0.0.0/8")
TC_KEYS = frozenset({"bw", "delay", "jitter", "loss", "max_queue_size", "use_htb"})
LINK_KEYS = frozenset(
    {
        *("port1", "port2", "node1", "node2", "intfName1", "intfName2"),
        *("addr1", "addr2", "fast", "params1", "params2", "cls"),
    }
)
# Of a switch that is a plain bridge: what it is called, and spanning tree.
_BRIDGE_KEYS = frozenset({"cls", "isSwitch", "dpid", "stp", "batch", "inNamespace", "verbose"})
_CPU_KEYS = frozenset({"cpu", "cores", "sched", "period_us"})


@dataclass(frozen=True)
class Cable:
    """A host's end of a link: the switch or host at the other end, the interface's name, and its address if given."""

    to: str
    interface: str
    address: str | None


@dataclass
class GraphHost:
    """A host as Mininet will make it; `addresses` with prefix lengths, the first is its own. `nat`: Mininet's NAT."""

    addresses: list[str]
    cables: list[Cable]
    nat: dict[str, Any] | None = None


@dataclass
class Graph:
    """All hosts by name, each switch's neighbouring switches, problems and notes."""

    hosts: dict[str, GraphHost]
    switches: dict[str, list[str]]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def examine(topo: Topo) -> Graph:
    """Read a `Topo`; builds nothing."""
    ends = _ends(topo)
    hosts = {name: _host(topo, name, place, ends[name]) for place, name in enumerate(topo.hosts(), 1)}
    switches: dict[str, list[str]] = {name: [] for name in topo.switches()}
    for first, second in topo.links():
        if first in switches and second in switches:
            switches[first].append(second)
            switches[second].append(first)
    problems = [*_host_problems(topo, ends), *_link_problems(topo), *_loops(topo)]
    notes: list[str] = []
    for name in switches:
        _look_at_switch(name, topo.nodeInfo(name), problems, notes)
    problems += [f"host {name}: {error}" for name, error in _bad_addresses(hosts)]
    return Graph(hosts, switches, problems, notes)


def interface_names(topo: Topo) -> dict[tuple[str, int], str]:
    """Return the interface at each (node, port) as Mininet will call it."""
    names = {}
    for first, second, options in topo.links(withInfo=True):
        for node, end in ((options["node1"], 1), (options["node2"], 2)):
            assert node in (first, second)
            port = options[f"port{end}"]
            names[node, port] = options.get(f"intfName{end}") or f"{node}-eth{port}"
    return names


def _ends(topo: Topo) -> dict[str, list[Cable]]:
    """Return the ends of links at each host, in the order of its ports."""
    names = interface_names(topo)
    found: dict[str, list[tuple[int, Cable]]] = {name: [] for name in topo.hosts()}
    for _, _, options in topo.links(withInfo=True):
        for end, other in ((1, 2), (2, 1)):
            node, port = options[f"node{end}"], options[f"port{end}"]
            if node in found:
                address = (options.get(f"params{end}") or {}).get("ip")
                found[node].append((port, Cable(options[f"node{other}"], names[node, port], address)))
    return {name: [cable for _, cable in sorted(ends, key=lambda one: one[0])] for name, ends in found.items()}


def _host(topo: Topo, name: str, place: int, cables: list[Cable]) -> GraphHost:
    info = topo.nodeInfo(name)
    # Mininet gives the next address of its base to whoever does not say; `ip=None` says that it wants none.
    own = info["ip"] if "ip" in info else f"{IP_BASE[place]}/{IP_BASE.prefixlen}"
    given = [own, *(cable.address for cable in cables)]
    addresses = [str(one) if "/" in str(one) else f"{one}/{IP_BASE.prefixlen}" for one in given if one]
    nat = None
    if _is(info.get("cls"), NAT):
        nat = {key: info.get(key) for key in ("subnet", "inetIntf", "localIntf")}
    return GraphHost(list(dict.fromkeys(addresses)), cables, nat)


def _is(cls: Any, of: type) -> bool:
    return inspect.isclass(cls) and issubclass(cls, of)


def _host_problems(topo: Topo, ends: Mapping[str, list[Cable]]) -> Iterator[str]:
    for name in topo.hosts():
        info = topo.nodeInfo(name)
        cls, where = info.get("cls"), f"host {name}"
        if cls is not None and not _is(cls, Node):
            yield f"{where}: {cls!r} is no class of nodes"
        if _is(cls, CPULimitedHost) or _CPU_KEYS & info.keys():
            asked = ", ".join(sorted(_CPU_KEYS & info.keys())) or "CPULimitedHost"
            yield f"{where}: {asked}: nodes share the machine's processors, and a lab limits no node's share"
        if info.get("inNamespace") is False and not _is(cls, NAT):
            yield f"{where}: inNamespace=False: every node of a lab has a namespace of its own"
        if _is(cls, NAT) and len(ends[name]) < 2:
            yield f"{where}: Mininet's NAT with one cable leads to the machine's own network, which no lab reaches"
        for directory in info.get("privateDirs") or ():
            yield from (f"{where}: privateDirs: {text}" for text in _private_dir(directory))


def _private_dir(directory: Any) -> Iterator[str]:
    """Yield what is missing: a lab's file system is read-only but for some folders."""
    point, backing = directory if isinstance(directory, tuple) else (directory, None)
    for place in (point, backing):
        if place is None or any(Path(str(place)).is_relative_to(top) for top in PRIVATE_DIRS):
            continue
        if place is backing or not os.path.isdir(place):  # noqa: PTH112  # of Mininet's, a text
            yield f"{place} is not there, and a lab's file system is read-only: name one that is, or below /run"


def _link_problems(topo: Topo) -> Iterator[str]:
    for first, second, options in topo.links(withInfo=True):
        yield from (f"link {first} <-> {second}: {text}" for text in link_problems(options))


def link_problems(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a link asks for that no lab does."""
    cls = options.get("cls")
    if cls is not None and _is(cls, Link) and not (cls in (Link, TCLink) or cls.__module__.startswith("mininet.")):
        yield f"links of a class of one's own ({cls.__name__}) are not supported: Link and TCLink are"
    if any(TC_KEYS & (options.get(f"params{end}") or {}).keys() for end in (1, 2)):
        yield "an impairment at one end alone is not supported"
    if options.get("max_queue_size") and not options.get("bw"):
        yield "max_queue_size without bw: nothing waits in a queue in front of a link without a rate"
    ignored = options.keys() - LINK_KEYS - TC_KEYS
    if ignored:
        yield f"{', '.join(sorted(map(str, ignored)))}: not supported"


def _look_at_switch(name: str, info: Mapping[str, Any], problems: list[str], notes: list[str]) -> None:
    cls = info.get("cls")
    if cls is not None and not (_is(cls, Switch) and (cls.__module__.startswith("mininet.") or _is(cls, OVSSwitch))):
        shown = getattr(cls, "__name__", repr(cls))
        problems.append(f"switch {name}: {shown} is a class of one's own; a lab's switches are Linux bridges")
        return
    rest = sorted(info.keys() - _BRIDGE_KEYS - {"prio"})
    if cls is not None and not _is(cls, LinuxBridge):
        notes.append(f"switch {name} ({cls.__name__}) is a Linux bridge here: no controller, no flow tables")
    if rest:
        notes.append(f"switch {name}: {', '.join(rest)} means nothing to a Linux bridge")


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


def _bad_addresses(hosts: Mapping[str, GraphHost]) -> Iterator[tuple[str, str]]:
    for name, host in hosts.items():
        for address in host.addresses:
            try:
                ip_interface(address)
            except ValueError as error:
                yield name, str(error)
