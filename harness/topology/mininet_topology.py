"""From what a Mininet class draws (`mininet_graph.Graph` as data) to a topology: segments, hosts, routers. Pure.

A segment is what switches and cables join; Mininet's own NAT becomes one of our routers between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from typing import Any

from harness.model.topology import MininetClass, Topology

SEGMENT = "mininet"
# What Linux' own masquerading does where unsolicited packets are dropped.
NAT = "port-restricted"
_ANY = {4: "0.0.0.0/0", 6: "::/0"}

Graph = Mapping[str, Any]


def topology_of(graph: Graph, use: MininetClass, members: Sequence[str], server: str | None) -> Topology:
    """Make the topology; `members` and `server` as the scenario names them, or as names suggest.

    Raises:
        ValueError: a member without a cable or an address, a NAT whose sides cannot be told apart, or what the
            topology's own rules forbid.
    """
    hosts, segments = graph["hosts"], _segments(graph)
    nats = {name: host for name, host in hosts.items() if host["nat"] is not None}
    plain = {name: host for name, host in hosts.items() if host["nat"] is None}
    server = server or ("s" if "s" in plain else None)
    taking_part = tuple(members) or tuple(name for name in plain if name != server)
    for name in filter(None, (*taking_part, server)):
        if name in plain and not plain[name]["cables"]:
            raise ValueError(f"host {name} has no cable")
        if name in plain and not plain[name]["addresses"]:
            raise ValueError(f"host {name} has no address: give it `ip`, or its link `params1` or `params2`")
    sides = {name: _sides(name, host, segments) for name, host in nats.items()}
    inside_of = {side["inside"]["on"]: name for name, side in sides.items()}
    placed = {
        name: {"on": _on(name, host, segments), "addresses": _bare(host["addresses"])}
        | _via(name, host, segments, inside_of)
        for name, host in plain.items()
        if host["cables"] and host["addresses"] and (name in taking_part or name == server)
    }
    routers: dict[str, dict[str, Any]] = {
        name: {
            "nat": NAT,
            "outside": side["outside"] | ({"via": up} if (up := inside_of.get(side["outside"]["on"])) else {}),
            "inside": side["inside"],
        }
        for name, side in sides.items()
    }
    named = sorted(
        {
            *(one["on"] for one in placed.values()),
            *(r[s]["on"] for r in routers.values() for s in ("outside", "inside")),
        }
    )
    return Topology.model_validate(
        {
            "name": use.path,
            "segments": {name: {"subnets": _subnets(name, hosts, segments)} for name in named},
            "hosts": placed,
            "routers": routers,
            "members": taking_part,
            "server": server,
            "mininet": use.model_dump(),
        }
    )


def _segments(graph: Graph) -> dict[tuple[str, str], str]:
    """Return the segment of each host's interface, by (host, interface): what switches and bare cables join."""
    label: dict[str, int] = {}
    for number, first in enumerate(graph["switches"]):
        todo = [first]
        while todo:
            name = todo.pop()
            if name not in label:
                label[name] = number
                todo += graph["switches"][name]
    found: dict[tuple[str, str], str] = {}
    names: dict[Any, str] = {}
    for host, facts in graph["hosts"].items():
        for cable in facts["cables"]:
            # Two hosts at one cable are a segment of their own.
            key: Any = label.get(cable["to"], tuple(sorted((host, cable["to"]))))
            names.setdefault(key, SEGMENT if not names else f"lan{len(names) + 1}")
            found[host, cable["interface"]] = names[key]
    return found


def _on(name: str, host: Graph, segments: Mapping[tuple[str, str], str]) -> str:
    return segments[name, host["cables"][0]["interface"]]


def _via(
    name: str, host: Graph, segments: Mapping[tuple[str, str], str], inside_of: Mapping[str, str]
) -> dict[str, str]:
    router = inside_of.get(_on(name, host, segments))
    return {} if router is None else {"via": router}


def _sides(name: str, host: Graph, segments: Mapping[tuple[str, str], str]) -> dict[str, dict[str, Any]]:
    """Outside and inside of a NAT, as Mininet's own parameters tell them apart."""
    told = host["nat"]
    interfaces = [cable["interface"] for cable in host["cables"]]
    inside = told["localIntf"] or next((one for one in interfaces if one != told["inetIntf"]), None)
    outside = told["inetIntf"] or next((one for one in interfaces if one != inside), None)
    if inside not in interfaces or outside not in interfaces or inside == outside:
        raise ValueError(f"NAT {name}: localIntf and inetIntf name two of its interfaces, {', '.join(interfaces)}")
    addresses: dict[Any, Any] = {cable["interface"]: cable["address"] for cable in host["cables"]}
    # Mininet gives a node's own `ip` to its first interface.
    addresses[interfaces[0]] = addresses[interfaces[0]] or next(iter(host["addresses"]), None)
    for side in (inside, outside):
        if not addresses[side]:
            raise ValueError(f"NAT {name}: no address at {side}: give its link `params1` or `params2`")
    return {
        which: {"on": segments[name, str(side)], "addresses": _bare([addresses[side]])}
        for which, side in (("inside", inside), ("outside", outside))
    }


def _bare(addresses: Sequence[str]) -> list[str]:
    return [str(ip_interface(one).ip) for one in addresses]


def _subnets(segment: str, hosts: Mapping[str, Any], segments: Mapping[tuple[str, str], str]) -> list[str]:
    """Return the networks that all addresses of a segment are in; everything, where they are in none."""
    there = [ip_interface(one) for one in _addresses_on(segment, hosts, segments)]
    return [
        _network(version, [one for one in there if one.version == version])
        for version in sorted({one.version for one in there})
    ]


def _network(version: int, there: Sequence[Any]) -> str:
    networks: set[IPv4Network | IPv6Network] = {one.network for one in there}
    only = next(iter(networks)) if len(networks) == 1 else ip_network(_ANY[version])
    return str(only)


def _addresses_on(segment: str, hosts: Mapping[str, Any], segments: Mapping[tuple[str, str], str]) -> Iterator[str]:
    for name, host in hosts.items():
        for place, cable in enumerate(host["cables"]):
            if segments[name, cable["interface"]] == segment:
                if cable["address"]:
                    yield cable["address"]
                if place == 0:
                    yield from host["addresses"]
