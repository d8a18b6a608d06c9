"""ZeroTier: Ethernet between nodes that a root introduces, and relays for while they have no direct path.

Root and network controller are one daemon on the public node. A private planet file takes the place of the vendor's, so
no node knows anybody outside the lab (`overlays.zerotier.planet`). `mesh` is its default. `relay` is local.conf's
`virtual.ADDRESS.blacklist`: members may use no path to each other. There is no `direct`: a root relays for all.

No package registry carries the daemon, so it comes from its vendor. It is one program: `-i` makes it zerotier-idtool
and `-q` zerotier-cli.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from harness.model.nat_words import Egress, PortMappingProtocol
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Command,
    CommandSays,
    Deployment,
    File,
    InterfaceAddress,
    IpEndpoint,
    Layer,
    Requirement,
    Service,
)
from overlays.addressing import addresses_of, check_options, server_of
from overlays.ways_out import NOTHING
from overlays.zerotier.planet import Plan

NETWORK = IPv4Network("10.16.0.0/24")
PORT = 9993
_PROGRAM = "zerotier-one"


class ZeroTier:
    """Root and controller on the public node, a member each behind their NATs."""

    name = "zerotier"
    modes: frozenset[Mode] = frozenset({"mesh", "relay"})
    layer: Layer = "L2"
    needs_server = True
    network = NETWORK

    def requirements(self) -> Sequence[Requirement]:
        """One program, which its vendor alone gives."""
        return (
            Requirement(
                program=_PROGRAM,
                install="no package registry carries zerotier: put its vendor's zerotier-one into PATH",
                version_argv=(_PROGRAM, "-v"),
            ),
        )

    def render(self, trial: Trial) -> Deployment:
        """Render what the trial's planet and network are to be; the product's own tools make identities and planet.

        Raises:
            ValueError: an option; ZeroTier takes none here.
        """
        check_options(trial)
        server, addresses = server_of(trial), addresses_of(trial, NETWORK)
        plan = Plan(
            root=server,
            endpoint=f"{trial.topology.address(server)}/{PORT}",
            network=str(NETWORK),
            members={node: str(address) for node, address in addresses.items() if node != server},
            relay_only=trial.mode == "relay",
        )
        root = Service(
            name="zerotier-root",
            node=server,
            argv=(_PROGRAM, "-U", f"-p{PORT}", "."),
            ready=(CommandSays(argv=(_PROGRAM, "-q", "-D.", "info"), pattern="^200 info"),),
        )
        members = (
            Service(
                name=f"zerotier-{member}",
                node=member,
                argv=(_PROGRAM, "-U", f"-p{PORT}", "."),
                ready=(InterfaceAddress(address=addresses[member]),),
                after=(root.name,),
                deadline_s=30.0,
            )
            for member in plan.members
        )
        return Deployment(
            files=(File(node=server, path="plan.json", text=plan.text()),),
            prepare=(Command(node=server, argv=(sys.executable, "-m", "overlays.zerotier.planet", "plan.json")),),
            services=(root, *members),
            endpoints={m: IpEndpoint(address=addresses[m], interface=f"zt-{m}") for m in trial.topology.members},
            claims=(
                ClaimSource(name="addresses", node=server, argv=("cat", "addresses.json")),
                *(
                    ClaimSource(name=f"peers-{m}", node=m, argv=(_PROGRAM, "-q", "-D.", "-j", "peers"))
                    for m in trial.topology.members
                ),
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """Let the root tell both the address that it sees of the other; both send, and learn from what arrives."""
        return "peer-reflexive" if mode == "mesh" else None

    def asks_by(self, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:  # noqa: ARG002 - always the same
        """Return two: its vendor builds it with both, and `portMappingEnabled` is true by default."""
        return frozenset({PortMappingProtocol.UPNP_IGD, PortMappingProtocol.NAT_PMP})

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:  # noqa: ARG002 - the same in all
        """Return `none`: falling back to TCP is its vendor's service, which no lab has."""
        return NOTHING

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """`zerotier-cli peers`: a peer with a live path is reached by it, any other through the root."""
        try:
            address = json.loads(evidence.get("addresses", ""))[dst]
            peers = json.loads(evidence.get(f"peers-{src}", ""))
        except (ValueError, KeyError):
            return None
        for peer in peers:
            if peer.get("address") == address:
                alive = any(path.get("active") and not path.get("expired") for path in peer.get("paths", []))
                return "direct" if alive else "relayed"
        return None
