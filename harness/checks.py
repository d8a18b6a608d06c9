"""The lab against its labels, before anything is measured on it: links by echoes, NATs by discovery."""

from __future__ import annotations

from harness.lab.network import Lab
from harness.link.check import PathObserved, PathToCheck, require_paths
from harness.model.link import LinkProfile
from harness.model.topology import Topology


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
    return require_paths(impaired) if impaired else []


def links_between(topology: Topology, member: str, server: str) -> tuple[LinkProfile, ...]:
    """The links that a packet between a member and the public server crosses."""
    outsides = [topology.routers[name].outside.link for name in topology.routers_of(member)]
    return (topology.hosts[member].link, *outsides, topology.hosts[server].link)
