"""What must hold of a topology beyond the form of its fields; each complaint names the field. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.document import Location, did_you_mean
from harness.model.family import Address, Family, family_of
from harness.model.nat_words import Filtering
from harness.model.nodes import Attachment, Host, Outside, families_of
from harness.model.topology_shape import TopologyShape

Complaint = tuple[Location, str]


def problems_of(topology: TopologyShape) -> Iterator[Complaint]:
    """Yield everything that does not fit together: the field's location and what is wrong with it."""
    referring = [*_names(topology), *_upstream(topology), *_roles(topology)]
    yield from referring
    yield from _addresses(topology)
    if not referring:
        yield from _ways(topology)


def _names(topology: TopologyShape) -> Iterator[Complaint]:
    hosts, routers, segments = topology.hosts, topology.routers, topology.segments
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
            if (attachment.on, address) in taken:
                yield where, f"address {address} is {taken[attachment.on, address]}'s already"
            taken[attachment.on, address] = node


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
        yield ("members",), "a host stands twice"
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
        yield ("helpers",), "a host stands twice"


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
    if not stuck and not topology.common_families(topology.members):
        each = ", ".join(f"{name} has {_words(topology.families(name))}" for name in topology.members)
        yield ("members",), f"no IP version is common to all members: {each}"


def _stuck(topology: TopologyShape, host: str) -> Iterator[Complaint]:
    left = families_of(topology.hosts[host])
    for name, on in topology.ways_in(host):
        router, inside = topology.routers[name], topology.routers[name].inside_on(on)
        assert inside is not None  # held by the rules on `via`
        for place, attachment in (("outside", router.outside), ("inside", inside)):
            if not set(left) & set(families_of(attachment)):
                yield ("routers", name, place), f"{name} has no {_words(left)} address here, and {host} no other"
                return
        forwarded = tuple(family for family in left if router.forwards(family))
        if not forwarded:
            yield (
                ("routers", name, "nat"),
                f"{router.nat.label} forwards no {_words(left)}, and {host} has no other address",
            )
            return
        left = tuple(family for family in forwarded if router.carries(family, on))
        if not left:
            yield ("routers", name), f"{name} carries no {_words(forwarded)} from inside to outside, as {host} needs"
            return


def _words(families: tuple[Family, ...]) -> str:
    return " and ".join(_SHOWN[family] for family in families)


_SHOWN: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6"}
