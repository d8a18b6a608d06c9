"""Nebula: a real mesh VPN with a lighthouse, UDP hole punching and relays (nebula.example.yml of 1.6 and later).

`mesh` lets the lighthouse relay, `direct` does not. `relay` has no switch of its own in Nebula: members are told to
send to each other through the lighthouse alone, by never learning each other's address (`remote_allow_list`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

import yaml

from harness.model.scenario import Mode, Verdict
from harness.model.trial import Trial
from harness.overlay.contract import (
    ClaimSource,
    Command,
    Deployment,
    Endpoint,
    File,
    InterfaceAddress,
    Layer,
    LogLine,
    Requirement,
    Service,
)

NETWORK = IPv4Network("10.10.0.0/24")
PORT = 4242


class Nebula:
    """Lighthouse (and relay) on the public node, members behind their NATs."""

    name = "nebula"
    modes: frozenset[Mode] = frozenset({"mesh", "direct", "relay"})
    layer: Layer = "L3"
    needs_server = True

    def requirements(self) -> Sequence[Requirement]:
        """One Debian package holds both programs."""
        install = "apt-get install -y nebula"
        return (
            Requirement(program="nebula", install=install, version_argv=("nebula", "-version")),
            Requirement(program="nebula-cert", install=install),
        )

    def render(self, trial: Trial) -> Deployment:
        """Configurations as text; nebula-cert makes keys and certificates on the server's node before the start."""
        server = trial.topology.server
        assert server is not None  # needs_server
        nodes = (server, *trial.topology.members)
        addresses = dict(zip(nodes, NETWORK.hosts(), strict=False))
        certify = [
            Command(
                node=server, argv=("nebula-cert", "ca", "-name", "trial", "-out-crt", "ca.crt", "-out-key", "ca.key")
            )
        ]
        for node, address in addresses.items():
            cidr = f"{address}/{NETWORK.prefixlen}"
            out = ("-out-crt", f"../{node}/node.crt", "-out-key", f"../{node}/node.key")
            certify += [
                Command(node=server, argv=("nebula-cert", "sign", "-name", node, "-ip", cidr, *out)),
            ]
        certify += [Command(node=member, argv=("cp", f"../{server}/ca.crt", ".")) for member in trial.topology.members]
        files = [
            File(node=node, path="config.yml", text=yaml.safe_dump(_config(trial, node, addresses), sort_keys=False))
            for node in nodes
        ]
        return Deployment(
            files=tuple(files),
            prepare=tuple(certify),
            services=tuple(
                Service(
                    name=f"nebula-{node}",
                    node=node,
                    argv=("nebula", "-config", "config.yml"),
                    ready=(LogLine(pattern="Nebula interface is active"), InterfaceAddress(address=addresses[node])),
                    after=() if node == server else (f"nebula-{server}",),
                )
                for node in nodes
            ),
            endpoints={
                member: Endpoint(address=addresses[member], interface=f"neb-{member}")
                for member in trial.topology.members
            },
            claims=tuple(
                ClaimSource(name=f"nebula-{member}", node=member, service=f"nebula-{member}")
                for member in trial.topology.members
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """Both sides send to the other's server-reflexive address; replies teach peer-reflexive ones."""
        return "peer-reflexive" if mode in ("mesh", "direct") else None

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """What `src` last logged of a completed handshake: a UDP address of the peer, or a relay."""
        del dst
        claim: Verdict | None = None
        for line in evidence.get(f"nebula-{src}", "").splitlines():
            if "Handshake message received" not in line and "Handshake completed" not in line:
                continue
            if "relay" in line:
                claim = "relayed"
            elif f'certName="{src}"' not in line and "udpAddr" in line:
                claim = "direct"
        return claim


def _config(trial: Trial, node: str, addresses: Mapping[str, IPv4Address]) -> dict[str, object]:
    server = trial.topology.server
    assert server is not None
    is_server, punches = node == server, trial.mode != "relay"
    relays = trial.mode in ("mesh", "relay")
    lighthouse: dict[str, object] = {"am_lighthouse": is_server, "interval": 10}
    if not is_server:
        lighthouse["hosts"] = [str(addresses[server])]
        if not punches:
            # Only the lighthouse's own address may be a remote: members then never try each other.
            lighthouse["remote_allow_list"] = {f"{trial.topology.address(server)}/32": True, "0.0.0.0/0": False}
    return {
        "pki": {"ca": "ca.crt", "cert": "node.crt", "key": "node.key"},
        "static_host_map": {str(addresses[server]): [f"{trial.topology.address(server)}:{PORT}"]},
        "lighthouse": lighthouse,
        "listen": {"host": "0.0.0.0", "port": PORT if is_server else 0},
        "punchy": {"punch": True, "respond": punches, "delay": "100ms", "respond_delay": "500ms"},
        "relay": {
            "am_relay": is_server and relays,
            "use_relays": relays,
            **({} if is_server or not relays else {"relays": [str(addresses[server])]}),
        },
        "tun": {"dev": f"neb-{node}", "mtu": 1300},
        "logging": {"level": "info", "format": "text"},
        "firewall": {
            "outbound": [{"port": "any", "proto": "any", "host": "any"}],
            "inbound": [{"port": "any", "proto": "any", "host": "any"}],
        },
    }
