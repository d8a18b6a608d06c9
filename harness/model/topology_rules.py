"""What must hold of a topology beyond the form of its fields; each complaint names the field. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.model.document import Location, did_you_mean
from harness.model.family import FAMILIES, Address, Family, family_of
from harness.model.nat_words import Filtering
from harness.model.nodes import NODE_NAME, Attachment, Host, Outside, families_of
from harness.model.topology_shape import TopologyShape

Complaint = tuple[Location, str]

_IPV6_LEAST_BYTES = 1280


def problems_of(topology: TopologyShape) -> Iterator[Complaint]:
    """Yield everything that does not fit together: the field's location and what is wrong with it."""
    referring = [*_names(topology), *_upstream(topology), *_roles(topology)]
    yield from referring
    yield from _addresses(topology)
    if not referring:
        yield from _ways(topology)
        yield from _ambiguous(topology)
        yield from _exchanged_prefixes(topology)
        yield from _translators(topology)


def _names(topology: TopologyShape) -> Iterator[Complaint]:
    hosts, routers, segments = topology.hosts, topology.routers, topology.segments
    if topology.mininet is None:
        for name in routers:
            if not re.fullmatch(NODE_NAME, name):
                yield ("routers", name), f"a router's name matches {NODE_NAME}"
    for name in hosts.keys() & routers.keys():
        yield ("routers", name), f"{name} is both a host and a router"
    for name in segments.keys() & (hosts.keys() | routers.keys()):
        yield ("segments", name), f"{name} is both a segment and a node"
    for location, attachment in _attachments(topology):
        if attachment.on not in segments:
            yield (*location, "on"), f"there is no segment {attachment.on}{did_you_mean(attachment.on, segments)}"


def _attachments(topology: TopologyShape) -> Iterator[tuple[Location, Attachment]]:
    yield from ((("hosts", name), host) for name, host in topology.hosts.items())
    for name, router in topology.routers.items():
        yield ("routers", name, "outside"), router.outside
        yield from (
            (("routers", name, "inside", number), attachment) for number, attachment in enumerate(router.inside)
        )


def _addresses(topology: TopologyShape) -> Iterator[Complaint]:
    taken: dict[tuple[str, Address], str] = {}
    for location, attachment in _attachments(topology):
        node, segment = str(location[1]), topology.segments.get(attachment.on)
        if segment is None:
            continue
        for number, address in enumerate(attachment.addresses):
            where = (*location, "addresses", number)
            family = family_of(address)
            subnet = segment.of(family)
            if subnet is None:
                yield where, f"address {address} is {_SHOWN[family]}, and {attachment.on} has no subnet of that family"
            elif address not in subnet:
                yield where, f"address {address} is not in {attachment.on}'s subnet {subnet}"
            if family == "ipv6" and min(way.mtu_bytes for way in attachment.link.ways) < _IPV6_LEAST_BYTES:
                yield (
                    (*location, "link"),
                    f"{address} needs a link of {_IPV6_LEAST_BYTES} bytes MTU (RFC 8200 section 5)",
                )
            if (attachment.on, address) in taken:
                yield where, f"address {address} is already used by {taken[attachment.on, address]}"
            taken[attachment.on, address] = node


def _ambiguous(topology: TopologyShape) -> Iterator[Complaint]:
    """Yield routers that show a LAN to the outside whose addresses another LAN has too: no route could tell them apart.

    A NAT hides its LANs, so that any number of homes may have the same.
    """
    lans = [
        (name, number, family, subnet)
        for name, router in topology.routers.items()
        for number, attachment in enumerate(router.inside)
        for family in FAMILIES
        if (subnet := topology.segments[attachment.on].of(family)) is not None
    ]
    for name, number, family, subnet in lans:
        router = topology.routers[name]
        hidden = router.nat.translates if family == "ipv4" else router.nat.nptv6 is not None
        if not router.forwards(family) or hidden:
            continue
        for other, place, _, theirs in lans:
            same_segment = topology.routers[other].inside[place].on == router.inside[number].on
            if not same_segment and theirs.version == subnet.version and theirs.overlaps(subnet):
                text = f"{name} shows {subnet} to the outside, which {other} has inside as well: give {name} a NAT"
                yield ("routers", name, "nat"), text


def _translators(topology: TopologyShape) -> Iterator[Complaint]:
    """Yield routers that are to translate and lack an address of either IP version where they need it."""
    for name, router in topology.routers.items():
        if router.nat.nat64 and not (router.outside.ipv4 and all(inside.ipv6 for inside in router.inside)):
            yield ("routers", name, "nat"), f"nat64 needs IPv6 inside and an IPv4 address outside, which {name} has not"
        elif router.nat.nat64 and not all(one.is_global for one in router.outside.ipv4):
            text = f"nat64 needs public IPv4 addresses outside (RFC 6052, section 3.1): {router.outside.ipv4[0]} is not"
            yield ("routers", name, "outside"), text


def _exchanged_prefixes(topology: TopologyShape) -> Iterator[Complaint]:
    """Yield prefixes that a router shows in place of its inside's (RFC 6296) and that others have as well."""
    taken = [(name, segment.ipv6) for name, segment in topology.segments.items() if segment.ipv6 is not None]
    shown = [(name, router.nat.nptv6) for name, router in topology.routers.items() if router.nat.nptv6 is not None]
    for number, (name, prefix) in enumerate(shown):
        where = ("routers", name, "nat")
        for other, theirs in (*taken, *shown[:number]):
            if prefix.overlaps(theirs):
                yield where, f"nptv6 {prefix} is already used by {other}: the outside could not tell the two apart"
        inside = {attachment.on for attachment in topology.routers[name].inside}
        for other, further in topology.routers.items():
            if further.outside.on in inside and further.outside.ipv6 and further.forwards("ipv6"):
                yield where, f"nptv6 exchanges the prefix of {name}'s own network, and {other} has another behind it"


def _upstream(topology: TopologyShape) -> Iterator[Complaint]:
    hosts, routers = topology.hosts, topology.routers
    ends: list[tuple[Location, Host | Outside]] = [(("hosts", name, "via"), host) for name, host in hosts.items()]
    ends += [(("routers", name, "outside", "via"), router.outside) for name, router in routers.items()]
    for location, attachment in ends:
        if attachment.via is None:
            continue
        if attachment.via not in routers:
            yield location, f"there is no router {attachment.via}{did_you_mean(attachment.via, routers)}"
        elif routers[attachment.via].inside_on(attachment.on) is None:
            yield location, f"{attachment.via} has no inside on {attachment.on}"


def _roles(topology: TopologyShape) -> Iterator[Complaint]:
    hosts = topology.hosts
    for name in topology.members:
        if name not in hosts:
            yield ("members",), f"there is no host {name}{did_you_mean(name, hosts)}"
    if len(set(topology.members)) != len(topology.members):
        yield ("members",), "a host is listed twice"
    if topology.server is not None and topology.server not in hosts:
        yield ("server",), f"there is no host {topology.server}{did_you_mean(topology.server, hosts)}"
    for name in topology.helpers:
        if name not in hosts:
            yield ("helpers",), f"there is no host {name}{did_you_mean(name, hosts)}"
        elif name in topology.members or name == topology.server:
            yield ("helpers",), f"{name} is a member or the server already"
        elif (behind := hosts[name].via) is not None and not _is_plain(topology, behind):
            yield ("helpers",), f"{name} is behind {behind}: a helper is a public node"
    if len(set(topology.helpers)) != len(topology.helpers):
        yield ("helpers",), "a host is listed twice"


def _is_plain(topology: TopologyShape, router: str) -> bool:
    """Tell whether a router lets everything through as it is, like a region's: who is behind it is public."""
    nat = topology.routers[router].nat if router in topology.routers else None
    return nat is not None and nat.ipv4 and not nat.translates and nat.filtering is Filtering.NONE


def _ways(topology: TopologyShape) -> Iterator[Complaint]:
    """Yield nodes that cannot get out, and members that share no IP version: the underlay then has no baseline."""
    stuck = [
        complaint
        for name in dict.fromkeys((*topology.members, *filter(None, [topology.server])))
        for complaint in _stuck(topology, name)
    ]
    yield from stuck
    reached = [name for name in topology.members if "ipv4" in topology.families(name) or topology.translator_of(name)]
    if not stuck and not topology.common_families(topology.members) and len(reached) < len(topology.members):
        each = ", ".join(f"{name} has {_words(topology.families(name))}" for name in topology.members)
        yield ("members",), f"no IP version is common to all members: {each}"


def _stuck(topology: TopologyShape, host: str) -> Iterator[Complaint]:
    left = families_of(topology.hosts[host])
    for name, on in topology.ways_in(host):
        router, inside = topology.routers[name], topology.routers[name].inside_on(on)
        assert inside is not None  # held by the rules on `via`
        for place, attachment in (("outside", router.outside), ("inside", inside)):
            if not set(left) & set(families_of(attachment)):
                yield (
                    ("routers", name, place),
                    f"{name} has no {_words(left)} address here, and {host} has no address of another family",
                )
                return
        forwarded = tuple(family for family in left if router.forwards(family))
        if not forwarded:
            yield (
                ("routers", name, "nat"),
                f"{router.nat.label} forwards no {_words(left)}, and {host} has no address of another family",
            )
            return
        left = tuple(family for family in forwarded if router.carries(family, on))
        if not left:
            yield ("routers", name), f"{name} carries no {_words(forwarded)} from inside to outside, as {host} needs"
            return


def _words(families: tuple[Family, ...]) -> str:
    return " and ".join(_SHOWN[family] for family in families)


_SHOWN: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6"}
