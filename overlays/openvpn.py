"""OpenVPN 2: the real client/server VPN, a hub that terminates every tunnel (openvpn(8)).

Four overlays: IP packets (TUN) or Ethernet frames (TAP), over UDP or TCP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import ClassVar

from pydantic import Field

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
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
from overlays.addressing import addresses_of, device, options_of, server_of
from overlays.pki import Authority
from overlays.ways_out import NOTHING, TLS_PORT, by_tcp

NETWORK = IPv4Network("10.8.0.0/24")
PORT = 1194


class OpenVpnOptions(OverlayOptions):
    """Where the server listens: OpenVPN's own port."""

    port: int = Field(default=PORT, ge=1, le=65535)


class OpenVpnTcpOptions(OpenVpnOptions):
    """Where the server listens: over TCP the port that gets out of most networks, as OpenVPN's Access Server does."""

    port: int = Field(default=TLS_PORT, ge=1, le=65535)


_COMMON = """\
dev {device}
dev-type {kind}
proto {protocol}
ca ca.crt
cert node.crt
key node.key
data-ciphers AES-256-GCM
tls-version-min 1.3
verb 3
"""
_SERVER = """\
local {address}
port {port}
server {network} {netmask}
topology subnet
client-to-client
client-config-dir clients
ccd-exclusive
dh none
keepalive 2 10
"""
_TCP = "tcp-nodelay\n"
_UDP = "explicit-exit-notify 0\n"
_CLIENT = """\
client
nobind
remote {server} {port}
remote-cert-tls server
connect-retry 1 1
connect-timeout 5
hand-window 10
"""


class OpenVpn:
    """Server on the public node with `client-to-client`; members' packets always cross it."""

    name = "openvpn"
    modes: frozenset[Mode] = frozenset({"hub"})
    layer: Layer = "L3"
    needs_server = True
    network = NETWORK
    kind = "tun"
    transport = "udp"
    options: ClassVar[type[OpenVpnOptions]] = OpenVpnOptions

    def requirements(self) -> Sequence[Requirement]:
        """One Debian package."""
        return (
            Requirement(
                program="openvpn",
                install="apt-get install -y openvpn",
                debian="openvpn",
                version_argv=("openvpn", "--version"),
            ),
        )

    def render(self, trial: Trial) -> Deployment:
        """Certificates, a configuration a node; addresses are fixed by the server's client folder."""
        port = options_of(trial, self.options).port
        server, addresses = server_of(trial), addresses_of(trial, NETWORK)
        authority = Authority("overlaybench trial CA")
        server_text = self._common(server, "server") + _SERVER.format(
            address=trial.topology.address(server), port=port, network=NETWORK.network_address, netmask=NETWORK.netmask
        )
        server_text += _UDP if self.transport == "udp" else _TCP
        client_text = _CLIENT.format(server=trial.topology.address(server), port=port)
        files = [File(node=server, path="openvpn.conf", text=server_text), *_identity(authority, server, True)]
        members = {node: address for node, address in addresses.items() if node != server}
        for member, address in members.items():
            files += [
                File(node=server, path=f"clients/{member}", text=f"ifconfig-push {address} {NETWORK.netmask}\n"),
                File(node=member, path="openvpn.conf", text=self._common(member, "client") + client_text),
                *_identity(authority, member, False),
            ]
        argv = ("openvpn", "--config", "openvpn.conf", "--suppress-timestamps")
        up = LogLine(pattern="Initialization Sequence Completed")
        return Deployment(
            files=tuple(files),
            services=(
                Service(name=f"openvpn-{server}", node=server, argv=argv, ready=(up,)),
                *(
                    Service(
                        name=f"openvpn-{member}",
                        node=member,
                        argv=argv,
                        ready=(up, InterfaceAddress(address=address)),
                        after=(f"openvpn-{server}",),
                    )
                    for member, address in members.items()
                ),
            ),
            endpoints={
                member: IpEndpoint(address=address, interface=device(self.kind, member))
                for member, address in members.items()
            },
        )

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` over TCP: the server's port gets out, or does not."""
        return by_tcp(egress, trial, options_of(trial, self.options).port) if self.transport == "tcp" else NOTHING

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Say `relayed`: a client knows no peer but its server."""
        del src, dst, evidence
        return "relayed"

    def _common(self, node: str, role: str) -> str:
        protocol = "udp4" if self.transport == "udp" else f"tcp4-{role}"
        return _COMMON.format(device=device(self.kind, node), kind=self.kind, protocol=protocol)


class OpenVpnTcp(OpenVpn):
    """TUN over TCP: what is left where UDP is blocked, at the price of TCP inside TCP."""

    name = "openvpn-tcp"
    transport = "tcp"
    options = OpenVpnTcpOptions


class OpenVpnTap(OpenVpn):
    """TAP over UDP: one Ethernet segment, bridged by the server."""

    name = "openvpn-tap"
    layer: Layer = "L2"
    kind = "tap"


class OpenVpnTapTcp(OpenVpnTap):
    """TAP over TCP."""

    name = "openvpn-tap-tcp"
    transport = "tcp"
    options = OpenVpnTcpOptions


def _identity(authority: Authority, node: str, server: bool) -> list[File]:
    identity = authority.issue(node, server=server)
    return [
        File(node=node, path="ca.crt", text=authority.certificate),
        File(node=node, path="node.crt", text=identity.certificate),
        File(node=node, path="node.key", text=identity.key),
    ]
