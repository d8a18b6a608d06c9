"""From what a Mininet class draws (`mininet_graph.Graph` as data) to a topology: segments, hosts, routers. Pure.

A segment is what switches and cables join; Mininet's own NAT becomes one of our routers between two of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
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
        if name in plain and not _addresses_of(plain[name]):
            raise ValueError(f"host {name} has no address: give it `ip`, or its link `params1` or `params2`")
    _refuse_the_same_twice(hosts, segments)
    sides = {name: _sides(name, host, segments) for name, host in nats.items()}
    inside_of = {inside["on"]: name for name, (_, insides) in sides.items() for inside in insides}
    placed = {
        name: {"on": _on(name, host, segments), "addresses": _bare(_addresses_of(host))}
        | _via(name, host, segments, inside_of)
        for name, host in plain.items()
        if _addresses_of(host) and (name in taking_part or name == server)
    }
    routers: dict[str, dict[str, Any]] = {
        name: {
            "nat": NAT,
            "outside": outside | ({"via": up} if (up := inside_of.get(outside["on"])) else {}),
            "inside": insides,
        }
        for name, (outside, insides) in sides.items()
    }
    ends = [end for outside, insides in sides.values() for end in (outside, *insides)]
    named = sorted({one["on"] for one in (*placed.values(), *ends)})
    return Topology.model_validate(
        {
            "name": use.path,
            "segments": {name: {"subnets": _subnets(name, hosts, segments, placed)} for name in named},
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
            if key not in names:
                suggested = SEGMENT if not names else f"lan{len(names) + 1}"
                names[key] = _free_name(suggested, {*graph["hosts"], *names.values()})
            found[host, cable["interface"]] = names[key]
    return found


def _free_name(suggested: str, taken: Collection[str]) -> str:
    """Return a name for a segment that no host has."""
    further = (f"segment{number}" for number in itertools.count(1))
    return next(name for name in itertools.chain([suggested], further) if name not in taken)


def _addresses_of(host: Graph) -> list[str]:
    return [address for cable in host["cables"] for address in cable["addresses"]]


def _on(name: str, host: Graph, segments: Mapping[tuple[str, str], str]) -> str:
    """Return the segment on which a host's first address is."""
    interface = next(cable["interface"] for cable in host["cables"] if cable["addresses"])
    return segments[name, interface]


def _refuse_the_same_twice(hosts: Mapping[str, Any], segments: Mapping[tuple[str, str], str]) -> None:
    """Refuse two hosts on one segment with the same address, whoever takes part: both would answer for it.

    Raises:
        ValueError: names both.
    """
    taken: dict[tuple[str, str], str] = {}
    for name, host in hosts.items():
        for cable in host["cables"]:
            segment = segments[name, cable["interface"]]
            # The last one said is the one that counts.
            for one in (*_bare(cable["addresses"]), *(mac.lower() for mac in cable["macs"][-1:])):
                if taken.setdefault((segment, one), name) != name:
                    raise ValueError(f"host {name}: address {one} is {taken[segment, one]}'s already")


def _via(
    name: str, host: Graph, segments: Mapping[tuple[str, str], str], inside_of: Mapping[str, str]
) -> dict[str, str]:
    router = inside_of.get(_on(name, host, segments))
    return {} if router is None else {"via": router}


_Side = dict[str, Any]


def _sides(name: str, host: Graph, segments: Mapping[tuple[str, str], str]) -> tuple[_Side, list[_Side]]:
    """Return the outside of a NAT and its insides, as Mininet's own parameters tell them apart."""
    told, cables = host["nat"], {cable["interface"]: cable for cable in host["cables"]}
    inside = told["localIntf"] or next((one for one in cables if one != told["inetIntf"]), None)
    outside = told["inetIntf"] or next((one for one in cables if one != inside), None)
    if inside not in cables or outside not in cables or inside == outside:
        raise ValueError(f"NAT {name}: localIntf and inetIntf name two of its interfaces, {', '.join(cables)}")
    if len(cables) > 2 and not told["inetIntf"]:
        raise ValueError(f"NAT {name}: inetIntf names the one of its interfaces, {', '.join(cables)}, that is outside")
    for cable in cables.values():
        if not cable["addresses"]:
            raise ValueError(f"NAT {name}: no address at {cable['interface']}: give its link `params1` or `params2`")

    def side(interface: Any) -> _Side:
        # What the link says before Mininet's own choice.
        return {"on": segments[name, interface], "addresses": _bare(cables[interface]["addresses"][-1:])}

    return side(outside), [side(one) for one in (inside, *(one for one in cables if one not in (inside, outside)))]


def _bare(addresses: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(str(ip_interface(one).ip) for one in addresses))


def _subnets(
    segment: str,
    hosts: Mapping[str, Any],
    segments: Mapping[tuple[str, str], str],
    placed: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Return the networks that all addresses of a segment are in; everything, where they are in none."""
    there = [ip_interface(one) for one in _addresses_on(segment, hosts, segments, placed)]
    return [
        _network(version, [one for one in there if one.version == version])
        for version in sorted({one.version for one in there})
    ]


def _network(version: int, there: Sequence[Any]) -> str:
    networks: set[IPv4Network | IPv6Network] = {one.network for one in there}
    only = next(iter(networks)) if len(networks) == 1 else ip_network(_ANY[version])
    return str(only)


def _addresses_on(
    segment: str,
    hosts: Mapping[str, Any],
    segments: Mapping[tuple[str, str], str],
    placed: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    for name, host in hosts.items():
        for cable in host["cables"]:
            if segments[name, cable["interface"]] == segment:
                yield from cable["addresses"]
        # A host with several cables is where its first address is, with all that it has.
        if name in placed and placed[name]["on"] == segment:
            yield from _addresses_of(host)
