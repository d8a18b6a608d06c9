"""The lab against its labels, before anything is measured on it: links by echoes, NATs by discovery."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import TypedDict

from harness.errors import LabError, LabNotAsDeclared
from harness.lab.network import Lab
from harness.link.check import PathObserved, PathToCheck, require_paths
from harness.model.family import Family
from harness.model.link import LinkProfile
from harness.model.nat_words import Egress
from harness.model.topology import Topology
from harness.nat.check import check_router, require_as_declared
from harness.nat.check_ipv6 import check_router_ipv6, check_silence
from harness.nat.check_nat64 import check_router_nat64
from harness.nat.observation import Observation
from harness.nat.observers import Observers, Side


def check_links(lab: Lab) -> list[PathObserved]:
    """Check that round trips from every member to the server take what the declared links add up to.

    Nothing is checked where no link is impaired, or where there is no server to answer.

    Raises:
        LabNotAsDeclared: they do not; names path, declared and seen.
    """
    topology = lab.topology
    paths = [
        PathToCheck(
            name=f"{member}-{topology.server}",
            from_pid=lab.nodes[member].pid,
            to_address=str(topology.address_seen_by(member, topology.server)),
            links=links_between(topology, member, topology.server),
        )
        for member in topology.members
        if topology.server is not None and topology.mininet is None
        if topology.common_families((member, topology.server)) or topology.translator_of(member)
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
    """Return the links that a packet between a member and the public server crosses.

    Up from the one, down to the other, as far as they have not met at a router that both are behind.
    """
    up, down = topology.routers_of(member), topology.routers_of(server)
    crossed = [name for name in up if name not in down]
    across = [topology.routers[name].outside.link for name in (*crossed, *(name for name in down if name not in up))]
    return (topology.hosts[member].link, *across, topology.hosts[server].link)


def check_nats(lab: Lab) -> dict[str, str]:
    """Check by discovery (RFC 5780), from observers of our own, that every router is what its label says.

    To be called between `Lab.build` and `Lab.start_links`: then no delay and no loss lies between the observers and a
    router. A difference is looked at twice: on a loaded machine a packet may come later than the test has patience for.

    Returns:
        What was observed, by router, in the form mapping/filtering/allocation.

    Raises:
        LabNotAsDeclared: a router is not; names it and each axis that differs.
    """
    # A class's own NATs stand between interfaces that are named by its author; no node is plugged in next to them.
    if not lab.routers or lab.topology.mininet is not None:
        return {}
    with Observers() as observers:
        seen = {name: _check_nat(lab, name, observers) for name in lab.routers}
    for name in lab.routers:
        # Observers stood at addresses that were free; an overlay may use one of them, and no router must remember them.
        lab.nodes[name].check_output(["ip", "neighbour", "flush", "all"])
    return seen


def require_daemons(lab: Lab) -> None:
    """Refuse a lab in which a program of a router has ended: from then on the router was not what its label says.

    Raises:
        LabNotAsDeclared: names router and program, and says what the program said last.
    """
    ended = [f"router {name}: {why}" for name, running in lab.routers.items() for why in running.ended_daemons()]
    if ended:
        raise LabNotAsDeclared("; ".join(ended))


def _check_nat(lab: Lab, name: str, observers: Observers) -> str:
    running = lab.routers[name]
    for attempts_left in (1, 0):
        try:
            seen = _observe_router(lab, name, observers)
            require_as_declared(name, running, seen)
            break
        except (LabError, LabNotAsDeclared):
            if not attempts_left:
                raise
            running.reboot()
    return seen.label


def _observe_router(lab: Lab, name: str, observers: Observers) -> Observation:
    """Return what a router does in each IP version of which it has addresses on both sides."""
    running, router = lab.routers[name], lab.topology.routers[name]
    inside, outside = router.inside[0], router.outside
    seen = Observation()
    if inside.ipv4 and outside.ipv4:
        sides = _sides(lab, name, "ipv4")
        if router.forwards("ipv4"):
            seen = check_router(running, observers, **sides)
        else:
            seen = check_silence(running, observers, **sides, outside_address=str(outside.ipv4[0]))
    if inside.ipv6 and outside.ipv6:
        sides = _sides(lab, name, "ipv6")
        six = check_router_ipv6(running, observers, **sides, outside_address=str(outside.ipv6[0]))
        of_ipv6 = {one.name: getattr(six, one.name) for one in fields(six) if one.name.startswith(("ipv6", "nptv6"))}
        seen = replace(seen, **of_ipv6, egress=six.egress or seen.egress)
    if router.nat.nat64 and router.nat.egress is Egress.ANY:  # it is asked by UDP
        sides = _sides(lab, name, "ipv6") | {"outside": _side(lab, name, 0, "ipv4")}
        four = check_router_nat64(running, observers, **sides)
        of_ipv4 = {"mapping": four.mapping, "filtering": four.filtering, "port_allocation": four.port_allocation}
        seen = replace(seen, **of_ipv4, nat64=four.nat64)  # type: ignore[arg-type]
    return seen


class _Sides(TypedDict):
    inside: Side
    inside_gateway: str
    outside: Side


def _sides(lab: Lab, router: str, family: Family) -> _Sides:
    inside = lab.topology.routers[router].inside[0]
    return {
        "inside": _side(lab, router, 1, family),
        "inside_gateway": str(inside.of(family)[0]),
        "outside": _side(lab, router, 0, family),
    }


def _side(lab: Lab, router: str, number: int, family: Family) -> Side:
    """Return what attachment `number` of a router faces."""
    topology = lab.topology
    segment = topology.attachments()[router][number].on
    taken = [
        str(address)
        for attached in topology.attachments().values()
        for attachment in attached
        if attachment.on == segment
        for address in attachment.of(family)
    ]
    pid, interface, bridge = lab.facing(router, number)
    return Side(pid, interface, bridge, subnet=str(topology.segments[segment].of(family)), taken=tuple(taken))
