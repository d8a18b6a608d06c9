"""The lab against its labels, before anything is measured on it: links by echoes, NATs by discovery."""

from __future__ import annotations

import time

from harness.errors import LabError, LabNotAsDeclared
from harness.lab.network import Lab
from harness.link.check import PathObserved, PathToCheck, require_paths
from harness.model.link import LinkProfile
from harness.model.topology import Topology
from harness.nat.check import Segment, check_router, require_as_declared


def check_links(lab: Lab) -> list[PathObserved]:
    """Do round trips from every member to the server take what the declared links add up to?

    Nothing is checked where no link is impaired, or where there is no server to answer.

    Raises:
        LabNotAsDeclared: they do not; names path, declared and seen.
    """
    paths = [
        PathToCheck(
            name=f"{member}-{lab.topology.server}",
            from_pid=lab.nodes[member].pid,
            to_address=str(lab.topology.address(lab.topology.server)),
            links=links_between(lab.topology, member, lab.topology.server),
        )
        for member in lab.topology.members
        if lab.topology.server is not None and lab.topology.mininet is None
    ]
    impaired = [path for path in paths if any(link.impaired for link in path.links)]
    if not impaired:
        return []
    try:
        return require_paths(impaired)
    except LabNotAsDeclared:
        # A lossy link may have lost an address request: the nodes ask again after a moment, and so do we.
        time.sleep(1.0)
        return require_paths(impaired)


def links_between(topology: Topology, member: str, server: str) -> tuple[LinkProfile, ...]:
    """The links that a packet between a member and the public server crosses."""
    outsides = [topology.routers[name].outside.link for name in topology.routers_of(member)]
    return (topology.hosts[member].link, *outsides, topology.hosts[server].link)


def check_nats(lab: Lab) -> dict[str, str]:
    """Is every router what its label says? Asked by discovery (RFC 5780) from observers of our own.

    A difference is looked at twice: on a loaded machine a packet may come later than the test has patience for.

    Returns:
        What was observed, by router, in the form mapping/filtering/allocation.

    Raises:
        LabNotAsDeclared: a router is not; names it and each axis that differs.
    """
    observed: dict[str, str] = {}
    for name, running in lab.routers.items():
        router = lab.topology.routers[name]
        inside, outside = router.inside[0], router.outside
        links = (inside.link, outside.link)
        for attempts_left in (1, 0):
            try:
                seen = check_router(
                    running,
                    inside=_segment(lab.topology, inside.on),
                    inside_gateway=str(inside.addresses[0]),
                    outside=_segment(lab.topology, outside.on),
                    rtt_ms=sum(link.base_rtt_ms for link in links),
                    lossy=any(way.loss is not None for link in links for way in (link.up, link.down)),
                )
                require_as_declared(name, running, seen)
                break
            except (LabError, LabNotAsDeclared):
                if not attempts_left:
                    raise
                # The observers are gone, and the router still knows where they were.
                lab.nodes[name].check_output(["ip", "neigh", "flush", "all"])
        observed[name] = seen.label
    return observed


def _segment(topology: Topology, name: str) -> Segment:
    taken = [
        str(address)
        for plugs in topology.plugs().values()
        for plug in plugs
        if plug.on == name
        for address in plug.addresses
    ]
    return Segment(bridge=name, subnet=str(topology.segments[name].subnet), taken=tuple(taken))
