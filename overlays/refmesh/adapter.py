"""refmesh, the mesh that comes with this program, as a subject of it; no other file of refmesh knows the harness."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from ipaddress import IPv4Address, IPv4Network, ip_interface
from typing import Any, Literal

from pydantic import Field

from harness.model.family import FAMILIES, Family
from harness.model.nat_words import Egress, PortMappingProtocol
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Deployment,
    File,
    InterfaceAddress,
    IpEndpoint,
    Layer,
    LogLine,
    OverlayOptions,
    Requirement,
    Service,
)
from overlays.addressing import device, options_of
from overlays.refmesh.network import Site, make_network, to_yaml
from overlays.ways_out import NOTHING, TLS_PORT, by_tcp

# In the node's own /run: a socket's path is limited to 108 bytes, a run's folder is not.
STATUS_SOCKET = "/run/refmesh.sock"
COMMAND = (sys.executable, "-m", "overlays.refmesh")


class RefmeshOptions(OverlayOptions):
    """Fields of refmesh's own configuration; `tls_port` 0: the server offers no TLS."""

    framing: Literal["auto", "wireguard"] | None = None
    mtu: int | None = Field(default=None, ge=576, le=65000)
    port_mapping: bool | tuple[Literal["pcp", "nat-pmp", "upnp-igd"], ...] | None = None
    tls_port: int = Field(default=TLS_PORT, ge=0, le=65535)


class RefmeshAdapter:
    """Coordination server, STUN and relay (or hub) on the public node, refmesh nodes on the members."""

    name = "refmesh"
    modes: frozenset[Mode] = frozenset({"mesh", "direct", "relay", "hub"})
    layer: Layer = "L3"
    needs_server = True
    network = IPv4Network("10.77.0.0/16")
    underlays: frozenset[Family] = frozenset(FAMILIES)
    version = version("overlaybench")
    options: type[OverlayOptions] = RefmeshOptions

    def requirements(self) -> Sequence[Requirement]:
        """Nothing beyond this package."""
        return ()

    def render(self, trial: Trial) -> Deployment:
        """Return a network of fresh keys and a configuration a node.

        Raises:
            ValueError: an option that refmesh does not take here.
        """
        options = options_of(trial, RefmeshOptions)
        server, members = trial.topology.server, trial.topology.members
        assert server is not None  # needs_server
        site = Site(server, _server_address(trial, server, server), tls_port=options.tls_port)
        network = make_network(members, [site], prefix=str(self.network))
        addresses = {member: IPv4Address(ip_interface(network.addresses[member]).ip) for member in members}
        common: dict[str, Any] = {"status_socket": STATUS_SOCKET}
        shared = options.model_dump(mode="json", exclude_none=True, exclude={"tls_port"})
        hub: dict[str, Any] = {"hub": True} if trial.mode == "hub" else {}
        if self.layer == "L2":
            shared["layer"] = "l2"
        elif hub:
            hub["interface"] = device("rm", server)
        files = [File(node=server, path="server.yaml", text=to_yaml(network.server_config(server, **common, **hub)))]
        for member in members:
            config = network.reached_at({server: _server_address(trial, server, member)}).node_config(
                member, mode=trial.mode, interface=device("rm", member), **common, **shared
            )
            files.append(File(node=member, path="refmesh.yaml", text=to_yaml(config)))
        ready = LogLine(pattern=r"(?m)^refmesh: ready")
        return Deployment(
            files=tuple(files),
            services=(
                Service(
                    name="server", node=server, argv=(*COMMAND, "server", "--config", "server.yaml"), ready=(ready,)
                ),
                *(
                    Service(
                        name=f"refmesh-{member}",
                        node=member,
                        argv=(*COMMAND, "up", "--config", "refmesh.yaml"),
                        ready=(ready, InterfaceAddress(address=addresses[member])),
                        after=("server",),
                    )
                    for member in members
                ),
            ),
            endpoints={m: IpEndpoint(address=addresses[m], interface=device("rm", m)) for m in members},
            claims=tuple(
                ClaimSource(
                    name=f"status-{member}",
                    node=member,
                    argv=(*COMMAND, "status", "--json", "--config", "refmesh.yaml"),
                )
                for member in members
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """Check candidates, peer-reflexive ones too (RFC 8445 section 7.3.1.3), predict, then probe by birthday."""
        return "birthday" if mode in SEEKING_DIRECT else None

    def asks_by(self, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:
        """Return those of option `port_mapping`; all where it does not say."""
        said = options.get("port_mapping", True)
        if said is None or isinstance(said, bool):
            return frozenset(() if said is False else PortMappingProtocol)
        return frozenset(map(PortMappingProtocol, said))

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` where the server is reached by TLS: coordination, relay and hub all go that way."""
        port = options_of(trial, RefmeshOptions).tls_port
        return by_tcp(egress, trial, port) if port else NOTHING

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read what `refmesh status` of the source says of its peer; a hub's clients know only the hub."""
        try:
            status = json.loads(evidence.get(f"status-{src}", ""))
        except ValueError:
            return None
        if status.get("mode") == "hub":
            return "relayed"
        for peer in status.get("peers", ()):
            if peer.get("name") == dst:
                path = peer.get("path")
                return path if path in ("direct", "relayed", "none") else None
        return None


class RefmeshTap(RefmeshAdapter):
    """The same on layer 2: TAP devices, and every node a learning switch; a hub is one switch for all."""

    name = "refmesh-tap"
    layer: Layer = "L2"


def _server_address(trial: Trial, server: str, member: str) -> str:
    """Where a member finds the server: by IPv4 where both have it."""
    return str(trial.topology.address_seen_by(member, server))
