"""The lab against its labels, before anything is measured on it: links by echoes, NATs by discovery."""

from __future__ import annotations

import time

from harness.errors import LabError, LabNotAsDeclared
from harness.lab.network import Lab
from harness.link.check import PathObserved, PathToCheck, require_paths
from harness.model.link import LinkProfile
from harness.model.topology import Topology
from harness.nat.check import check_router, require_as_declared
from harness.nat.observers import Observers, Side


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

    To be called between `Lab.build` and `Lab.start_links`: then no delay and no loss lies between the observers and a
    router. A difference is looked at twice: on a loaded machine a packet may come later than the test has patience for.

    Returns:
        What was observed, by router, in the form mapping/filtering/allocation.

    Raises:
        LabNotAsDeclared: a router is not; names it and each axis that differs.
    """
    if not lab.routers:
        return {}
    with Observers() as observers:
        return {name: _check_nat(lab, name, observers) for name in lab.routers}


def _check_nat(lab: Lab, name: str, observers: Observers) -> str:
    running, router = lab.routers[name], lab.topology.routers[name]
    for attempts_left in (1, 0):
        try:
            seen = check_router(
                running,
                observers,
                inside=_side(lab, name, 1),
                inside_gateway=str(router.inside[0].addresses[0]),
                outside=_side(lab, name, 0),
            )
            require_as_declared(name, running, seen)
            break
        except (LabError, LabNotAsDeclared):
            if not attempts_left:
                raise
            running.forget()
    return seen.label


def _side(lab: Lab, router: str, number: int) -> Side:
    """What attachment `number` of a router faces."""
    topology = lab.topology
    segment = topology.plugs()[router][number].on
    taken = [
        str(address)
        for plugs in topology.plugs().values()
        for plug in plugs
        if plug.on == segment
        for address in plug.addresses
    ]
    pid, interface, bridge = lab.facing(router, number)
    return Side(pid, interface, bridge, subnet=str(topology.segments[segment].subnet), taken=tuple(taken))
