"""EasyTier: a mesh VPN that punches by UDP and TCP and relays through its other nodes (easytier-core's TOML).

It learns what NAT it is behind from STUN servers, so coturn runs on the public node too, on two addresses as RFC 5780
asks. `relay` is its flag `disable_p2p`, `direct` is `p2p_only`: talk to none but peers with a connection of their own.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from pydantic import Field

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
    Wheel,
)
from overlays.addressing import addresses_of, device, options_of, server_of
from overlays.stun_server import COTURN, STUN_PORT, add_second, stun_addresses, stun_server
from overlays.ways_out import NOTHING, TLS_PORT, by_tcp

NETWORK = IPv4Network("10.15.0.0/24")
# EasyTier's own ports, but for the last: what gets out of most networks is TLS on 443.
PORTS = {"udp": 11010, "tcp": 11010, "ws": 11011, "wss": TLS_PORT}
PACKAGE = Wheel(package="easytier-pyo3", version="0.1.3")

_CONFIG = """\
instance_name = "{node}"
hostname = "{node}"
ipv4 = "{address}/{prefix}"
dhcp = false
listeners = {listeners}
stun_servers = {stun}
stun_servers_v6 = []
rpc_portal = "0.0.0.0:0"
{peer}
[network_identity]
network_name = "trial"
network_secret = "{secret}"

[flags]
dev_name = "{device}"
enable_ipv6 = false
bind_device = false
disable_p2p = {relay}
p2p_only = {direct}
"""


class EasyTierOptions(OverlayOptions):
    """How members reach the public node: all of these at once, and EasyTier takes the quickest that works."""

    transports: tuple[Literal["udp", "tcp", "ws", "wss"], ...] = Field(default=("udp", "wss"), min_length=1)


class EasyTier:
    """A node with a listener on the public node, nodes that connect to it on the members."""

    name = "easytier"
    modes: frozenset[Mode] = frozenset({"mesh", "direct", "relay"})
    layer: Layer = "L3"
    needs_server = True
    network = NETWORK
    options: type[OverlayOptions] = EasyTierOptions

    def requirements(self) -> Sequence[Requirement]:
        """Name a Python package that holds all of EasyTier, and coturn as STUN server."""
        version = "import easytier_pyo3; print(easytier_pyo3.version())"
        return (
            Requirement(
                program="easytier_pyo3",
                install=f"pip install {PACKAGE}",
                wheel=PACKAGE,
                version_argv=(sys.executable, "-c", version),
            ),
            COTURN,
        )

    def render(self, trial: Trial) -> Deployment:
        """Render a TOML file a node, and a second address for the STUN server.

        Raises:
            ValueError: an option, or a segment without a free address.
        """
        server, addresses = server_of(trial), addresses_of(trial, NETWORK)
        stun = stun_addresses(trial)
        secret = secrets.token_hex(16)
        return Deployment(
            files=tuple(
                File(node=node, path="easytier.toml", text=_config(trial, node, addresses, stun, secret))
                for node in addresses
            ),
            prepare=(add_second(trial, stun),),
            services=(
                stun_server(trial, stun),
                *(_node(node, address, server) for node, address in addresses.items()),
            ),
            endpoints={m: IpEndpoint(address=addresses[m], interface=device("et", m)) for m in trial.topology.members},
            claims=tuple(
                ClaimSource(name=f"easytier-{m}", node=m, service=f"easytier-{m}") for m in trial.topology.members
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """Both sides send to the server-reflexive address that STUN told.

        Where STUN calls a side symmetric, another method guesses ports, whatever the other filter lets in. That is too
        slow for the 15 s of results/nat-matrix; given 70 s, it was done after 19 to 22 s, as `port-prediction` is.
        """
        return "plain" if mode in SEEKING_DIRECT else None

    def asks_by(self, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:  # noqa: ARG002 - always the same
        """Return two: UPnP IGD, then NAT-PMP where that fails; `disable_upnp` is false by default."""
        return frozenset({PortMappingProtocol.UPNP_IGD, PortMappingProtocol.NAT_PMP})

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` where one of the transports gets out: WebSocket in TLS, on port 443, always does.

        Where TCP may leave to any port, holes are punched over TCP.
        """
        ports = [PORTS[one] for one in options_of(trial, EasyTierOptions).transports if one != "udp"]
        best = TLS_PORT if TLS_PORT in ports else next(iter(ports), None)
        if best is None:
            return NOTHING
        if egress is Egress.NO_UDP and trial.mode != "relay":
            return ("direct", "none" if trial.mode == "direct" else "relayed")
        return by_tcp(egress, trial, best)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Return the last cost of the route to `dst`: one hop, or more."""
        costs = re.findall(
            rf"^easytier: route to {dst} costs (\d+)$", evidence.get(f"easytier-{src}", ""), re.MULTILINE
        )
        if not costs:
            return None
        return "direct" if costs[-1] == "1" else "relayed"


def _config(
    trial: Trial, node: str, addresses: Mapping[str, IPv4Address], stun: Sequence[IPv4Address], secret: str
) -> str:
    server = server_of(trial)
    at = trial.topology.address(server)
    offered = [f"{scheme}://{at}:{port}" for scheme, port in PORTS.items()]
    used = [f"{scheme}://{at}:{PORTS[scheme]}" for scheme in options_of(trial, EasyTierOptions).transports]
    is_server = node == server
    return _CONFIG.format(
        node=node,
        device=device("et", node),
        address=addresses[node],
        prefix=NETWORK.prefixlen,
        listeners=json.dumps(offered) if is_server else "[]",
        stun=[f"{address}:{STUN_PORT}" for address in stun],
        peer="" if is_server else "\n".join(f'[[peer]]\nuri = "{uri}"' for uri in used),
        secret=secret,
        relay="true" if trial.mode == "relay" else "false",
        direct="true" if trial.mode == "direct" else "false",
    )


def _node(node: str, address: IPv4Address, server: str) -> Service:
    ready = LogLine(pattern="easytier: running" if node == server else f"easytier: route to {server} costs 1")
    return Service(
        name=f"easytier-{node}",
        node=node,
        argv=(sys.executable, "-m", "overlays.easytier.node", "easytier.toml"),
        ready=(ready, InterfaceAddress(address=address)),
        after=("stun",) if node == server else (f"easytier-{server}",),
    )
