"""The hosts of a Mininet user's `Topo`: interfaces and addresses as Mininet makes them, and what no lab does."""

from __future__ import annotations

import inspect
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_interface
from pathlib import Path
from typing import Any

from mininet.node import CPULimitedHost, Node
from mininet.nodelib import NAT
from mininet.topo import Topo

from harness.sandbox.mounts import PRIVATE_DIRS
from harness.topology.mininet_routes import route_problems

# What Mininet itself uses when a Topo does not say: see `ipBase` of mininet.net.Mininet.
IP_BASE = IPv4Network("10.0.0.0/8")
_CPU_KEYS = frozenset({"cpu", "cores", "sched", "period_us"})
# A name is a folder's as well, and stands in the lab's hosts(5).
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


@dataclass(frozen=True)
class Cable:
    """A host's end of a link: the switch or host at the other end, its own interface, and what that is given.

    `addresses` with prefix lengths, the host's own before the link's; of `macs`, if any, the last counts.
    """

    to: str
    interface: str
    addresses: tuple[str, ...]
    macs: tuple[str, ...] = ()


@dataclass
class GraphHost:
    """A host as Mininet will make it; `cables` in the order of its ports. `nat`: the parameters of Mininet's NAT."""

    cables: list[Cable]
    nat: dict[str, Any] | None = None


@dataclass(frozen=True)
class _End:
    port: int
    to: str
    interface: str
    params: Mapping[str, Any]
    mac: str | None


def hosts_of(topo: Topo) -> dict[str, GraphHost]:
    """Return all hosts by name."""
    ends: dict[str, list[_End]] = {name: [] for name in topo.hosts()}
    for _, _, options in topo.links(withInfo=True):
        for end, other in ((1, 2), (2, 1)):
            node = options[f"node{end}"]
            if node in ends:
                params, mac = options.get(f"params{end}") or {}, options.get(f"addr{end}")
                name = interface_name_of(options, end)
                ends[node].append(_End(options[f"port{end}"], options[f"node{other}"], name, params, mac))
    return {
        name: _host(topo.nodeInfo(name), place, sorted(ends[name], key=lambda one: one.port))
        for place, name in enumerate(topo.hosts(), 1)
    }


def interface_name_of(options: Mapping[str, Any], end: int) -> str:
    """Return what Mininet will call the interface at end 1 or 2 of a link."""
    return str(options.get(f"intfName{end}") or f"{options[f'node{end}']}-eth{options[f'port{end}']}")


def _host(info: Mapping[str, Any], place: int, ends: list[_End]) -> GraphHost:
    # Mininet gives the next address of its base to whoever does not say; `ip=None` says that it wants none.
    own = info["ip"] if "ip" in info else f"{IP_BASE[place]}/{IP_BASE.prefixlen}"
    cables = []
    for number, end in enumerate(ends):
        given = [*([own] if number == 0 else []), end.params.get("ip")]
        macs = [end.mac, *([info.get("mac")] if number == 0 else [])]
        addresses = [str(one) if "/" in str(one) else f"{one}/{IP_BASE.prefixlen}" for one in given if one]
        told = tuple(str(mac) for mac in macs if mac)
        cables.append(Cable(end.to, end.interface, tuple(dict.fromkeys(addresses)), told))
    is_nat = is_class(info.get("cls"), NAT)
    return GraphHost(cables, {key: info.get(key) for key in ("subnet", "inetIntf", "localIntf")} if is_nat else None)


def is_class(cls: Any, of: type) -> bool:
    """Tell whether it is a class, and such a one."""
    return inspect.isclass(cls) and issubclass(cls, of)


def host_problems(topo: Topo, hosts: Mapping[str, GraphHost]) -> Iterator[str]:
    """Yield what no lab does of what is asked for hosts."""
    lower = Counter(name.lower() for name in hosts)
    for name, host in hosts.items():
        found = [*_kind(topo.nodeInfo(name), host), *_addresses(host), *_interfaces(host)]
        if not _NAME.fullmatch(name):
            found.append("a host's name is of letters, digits, `_`, `-` and `.`, at most 64 of them")
        if lower[name.lower()] > 1:
            found.append("another host's name differs in case alone, which names in a network do not (RFC 4343)")
        if not found:
            found += route_problems(topo.nodeInfo(name).get("defaultRoute"), host.cables)
        yield from (f"host {name}: {text}" for text in found)


def _kind(info: Mapping[str, Any], host: GraphHost) -> Iterator[str]:
    cls = info.get("cls")
    if cls is not None and not is_class(cls, Node):
        yield f"{cls!r} is no class of nodes"
    if is_class(cls, CPULimitedHost) or _CPU_KEYS & info.keys():
        asked = ", ".join(sorted(_CPU_KEYS & info.keys())) or "CPULimitedHost"
        yield f"{asked}: nodes share the machine's processors, and a lab limits no node's share"
    if info.get("inNamespace") is False and not is_class(cls, NAT):
        yield "inNamespace=False: every node of a lab has a namespace of its own"
    if cls is not None and is_class(cls, NAT) and cls is not NAT:
        yield f"{cls.__name__} is a NAT of one's own, whose methods no lab runs: Mininet's NAT is one of our routers"
    if is_class(cls, NAT) and len(host.cables) < 2:
        yield "Mininet's NAT with one cable leads to the machine's own network, which no lab reaches"
    for directory in info.get("privateDirs") or ():
        yield from (f"privateDirs: {text}" for text in _private_dir(directory))


def _addresses(host: GraphHost) -> Iterator[str]:
    for cable in host.cables:
        for address in cable.addresses:
            try:
                ip_interface(address)
            except ValueError as error:
                yield str(error)
        yield from (f"{mac!r} is no hardware address" for mac in cable.macs if not _MAC.fullmatch(mac))


def _interfaces(host: GraphHost) -> Iterator[str]:
    names = Counter(cable.interface for cable in host.cables)
    yield from (f"two of its interfaces are called {name}" for name, times in names.items() if times > 1)


def _private_dir(directory: Any) -> Iterator[str]:
    """Yield what is missing: a lab's file system is read-only but for some folders."""
    point, backing = directory if isinstance(directory, tuple) else (directory, None)
    for place in (point, backing):
        if place is None or any(Path(str(place)).is_relative_to(top) for top in PRIVATE_DIRS):
            continue
        if place is backing or not os.path.isdir(place):  # noqa: PTH112  # of Mininet's, a text
            yield f"{place} is not there, and a lab's file system is read-only: name one that is, or below /run"
