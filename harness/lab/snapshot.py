"""The present state of every node, as text: evidence of a trial that fails."""

from __future__ import annotations

from harness.errors import CommandFailed, CommandTimedOut
from harness.lab.network import Lab

_EVERY_NODE = (
    ("ip", "-s", "link"),
    ("ip", "-o", "address"),
    ("ip", "route"),
    ("ip", "-6", "route"),
    ("ip", "-s", "neigh"),
    ("ss", "-anp"),
)
_ROUTERS = (("nft", "list", "ruleset"),)


def snapshot(lab: Lab) -> str:
    """Return each node's interfaces, addresses, routes, neighbours and sockets, and routers' rules with their maps.

    A command that fails, or hangs, is answered by what it said: a snapshot of a broken node is what it is for.
    """
    parts = []
    for name, node in lab.nodes.items():
        for argv in (*_EVERY_NODE, *(_ROUTERS if name in lab.routers else ())):
            try:
                said = node.check_output(argv)
            except (CommandFailed, CommandTimedOut) as failure:
                said = f"{failure}\n"
            parts.append(f"# {name}: {' '.join(argv)}\n{said}")
    return "\n".join(parts)
