"""Nebula: a real mesh VPN with a lighthouse, UDP hole punching and relays (nebula.example.yml of 1.6 and later).

`mesh` lets the lighthouse relay, `direct` does not. `relay` has no switch of its own in Nebula: members are told to
send to each other through the lighthouse alone, by never learning each other's address (`remote_allow_list`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Command,
    Deployment,
    File,
    GoBuild,
    InterfaceAddress,
    IpEndpoint,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import addresses_of, check_options, device, server_of
from overlays.ways_out import NOTHING

NETWORK = IPv4Network("10.10.0.0/24")
PORT = 4242
_CONSOLE_PORT = 2222
_SSH = (
    *("ssh", "-F", "none", "-i", "ssh_user", "-p", str(_CONSOLE_PORT), "-o", "BatchMode=yes"),
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "trial@127.0.0.1"),
)
_SSH_CLIENT = Requirement(program="ssh", install="apt-get install -y openssh-client", debian="openssh-client")


class Nebula:
    """Lighthouse (and relay) on the public node, members behind their NATs."""

    name = "nebula"
    modes: frozenset[Mode] = frozenset({"mesh", "direct", "relay"})
    layer: Layer = "L3"
    needs_server = True
    network = NETWORK
    program = "nebula"
    address_flag = "-ip"

    def requirements(self) -> Sequence[Requirement]:
        """One Debian package holds both programs."""
        install = "apt-get install -y nebula"
        return (
            Requirement(program="nebula", install=install, debian="nebula", version_argv=("nebula", "-version")),
            Requirement(program="nebula-cert", install=install, debian="nebula"),
            _SSH_CLIENT,
        )

    def render(self, trial: Trial) -> Deployment:
        """Render configurations; nebula-cert makes keys and certificates on the server's node before the start."""
        check_options(trial)
        server, addresses = server_of(trial), addresses_of(trial, NETWORK)
        cert = f"{self.program}-cert"
        argv = (cert, "ca", "-name", "trial", "-duration", "48h", "-out-crt", "ca.crt", "-out-key", "ca.key")
        certify = [Command(node=server, argv=argv)]
        for node, address in addresses.items():
            cidr = f"{address}/{NETWORK.prefixlen}"
            out = ("-out-crt", f"../{node}/node.crt", "-out-key", f"../{node}/node.key")
            certify.append(Command(node=server, argv=(cert, "sign", "-name", node, self.address_flag, cidr, *out)))
            if node != server:
                certify.append(Command(node=node, argv=("cp", f"../{server}/ca.crt", ".")))
        user, host = _ssh_key(), _ssh_key()
        files = []
        for node in addresses:
            config = _config(trial, node, addresses) | {"sshd": _console(user.public)}
            files += [
                File(node=node, path="config.yml", text=yaml.safe_dump(config, sort_keys=False)),
                File(node=node, path="ssh_host", text=host.private),
                File(node=node, path="ssh_user", text=user.private),
            ]
        return Deployment(
            files=tuple(files),
            prepare=tuple(certify),
            services=tuple(
                Service(
                    name=f"nebula-{node}",
                    node=node,
                    argv=(self.program, "-config", "config.yml"),
                    ready=(LogLine(pattern="Nebula interface is active"), InterfaceAddress(address=addresses[node])),
                    after=() if node == server else (f"nebula-{server}",),
                )
                for node in addresses
            ),
            endpoints={
                member: IpEndpoint(address=addresses[member], interface=device("neb", member))
                for member in trial.topology.members
            },
            claims=tuple(
                ClaimSource(name=f"nebula-{member}", node=member, argv=(*_SSH, "list-hostmap", "-json"))
                for member in trial.topology.members
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """Both sides send to the other's server-reflexive address; replies teach peer-reflexive ones.

        In `mesh` the relay is tried at the same time, and the first handshake that ends stays: where only the callee's
        packets get in, it answers after `respond_delay`, when the relay has answered (results/nat-matrix).
        """
        if mode not in SEEKING_DIRECT:
            return None
        return "first-path" if mode == "mesh" else "peer-reflexive"

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:  # noqa: ARG002 - the same in all
        """Return `none`: Nebula is UDP alone."""
        return NOTHING

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read what `src`'s host map, asked on its debug console, says of `dst`.

        An entry has the relays through which the other is reached, and its own address once packets came from there.
        """
        try:
            entries = json.loads(evidence.get(f"nebula-{src}", ""))
        except ValueError:
            return None
        for entry in entries:
            if (entry.get("cert") or {}).get("details", {}).get("name") == dst:
                return "direct" if entry.get("currentRemote") else "relayed"
        return None


class NebulaGo(Nebula):
    """The current release, built from source; Debian's is some years older."""

    name = "nebula-go"
    program = "nebula-go"
    address_flag = "-networks"

    def requirements(self) -> Sequence[Requirement]:
        """Two programs of one Go module, named apart from Debian's."""
        packages = {"nebula-go": "nebula", "nebula-go-cert": "nebula-cert"}
        builds = tuple(
            Requirement(
                program=program,
                install="overlaybench install nebula-go",
                go=GoBuild(
                    module=str(Path(__file__).parent / "go" / "nebula"),
                    package=f"github.com/slackhq/nebula/cmd/{package}",
                ),
                version_argv=(program, "-version"),
            )
            for program, package in packages.items()
        )
        return (*builds, _SSH_CLIENT)


@dataclass(frozen=True)
class _SshKey:
    private: str
    public: str


def _ssh_key() -> _SshKey:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return _SshKey(private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


def _console(public_key: str) -> dict[str, object]:
    """Return the debug console, the only way to ask a running Nebula for its paths."""
    return {
        "enabled": True,
        "listen": f"127.0.0.1:{_CONSOLE_PORT}",
        "host_key": "ssh_host",
        "authorized_users": [{"user": "trial", "keys": [public_key]}],
    }


def _config(trial: Trial, node: str, addresses: Mapping[str, IPv4Address]) -> dict[str, object]:
    server = server_of(trial)
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
        "tun": {"dev": device("neb", node), "mtu": 1300},
        "logging": {"level": "info", "format": "text"},
        "firewall": {
            "outbound": [{"port": "any", "proto": "any", "host": "any"}],
            "inbound": [{"port": "any", "proto": "any", "host": "any"}],
        },
    }
