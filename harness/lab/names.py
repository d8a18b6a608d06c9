"""A name for every node of a lab, known to all of them: products may be told names instead of addresses.

One hosts(5) file in the place of the machine's own, in the mount namespace from which all nodes' are made. It says what
the topology does, for all nodes alike but for those behind a NAT64, and does not follow events; nothing is asked over
the network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.errors import LabError
from harness.lab.node import LabNode
from harness.model.nat64 import synthesised
from harness.model.topology import Topology
from harness.sandbox import syscalls

DOMAIN = "lab"
_PLACE = Path("/etc/hosts")
# Every node has a /run of its own.
_OWN_COPY = "/run/hosts"


def hosts_file(topology: Topology, viewer: str | None = None) -> str:
    """Render the file: each node by its name, and below `lab` (`s` and `s.lab`), in all its IP versions. Pure.

    To a viewer who reaches IPv4 through a translator, what has IPv4 alone has the IPv6 address that a DNS64 makes of it
    (RFC 6147), if it is public: nothing else would be reached by it.
    """
    through = viewer is not None and topology.translator_of(viewer) is not None
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for name, attached in topology.attachments().items():
        first = [address for version in (4, 6) for address in attached[0].addresses if address.version == version]
        if through and not any(address.version == 6 for address in first):
            first += [synthesised(address) for address in attached[0].ipv4 if address.is_global]
        one_each = {address.version: address for address in reversed(first)}
        lines += [f"{address} {name.lower()} {name.lower()}.{DOMAIN}" for _, address in sorted(one_each.items())]
    return "\n".join(lines) + "\n"


def serve_synthesised_names(topology: Topology, nodes: Mapping[str, LabNode], folder: Path) -> None:
    """Give each host that reaches IPv4 through a translator a file of its own in place of the one that all have.

    Raises:
        LabError: the kernel refused.
    """
    for name in topology.hosts:
        if topology.translator_of(name) is not None and _PLACE.exists():
            text = hosts_file(topology, name)
            (folder / f"hosts-{name}").write_text(text)  # as evidence: a node need not see the folder
            nodes[name].check_output(["tee", _OWN_COPY], stdin=text)
            nodes[name].check_output(["mount", "--bind", _OWN_COPY, str(_PLACE)])


def serve_names(topology: Topology, folder: Path) -> None:
    """Put the file into its place, for the nodes that are made after this.

    To be called by the first process of a sandbox, once its mounts are private.

    Raises:
        LabError: the kernel refused, or the caller stands in no sandbox: it would change the machine.
    """
    if os.getpid() != 1:
        raise LabError("names are for the nodes of a sandbox; here they would be the machine's own")
    file = folder / "hosts"
    file.write_text(hosts_file(topology))
    if not _PLACE.exists():
        return  # no lookup reads a file there; a mount needs a file to stand on
    try:
        syscalls.mount(str(file), _PLACE, flags=syscalls.MS_BIND)
    except OSError as error:
        raise LabError(f"cannot put the lab's names into {_PLACE}: {error}") from error
