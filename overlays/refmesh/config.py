"""What a configuration may say; `config_file.py` reads it, `network.py` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 7447
DEFAULT_STUN_PORT = 3478
DEFAULT_MTU = 1400
"""Octets: 1500 less IPv6 (40), UDP (8), relay (8), transport header and tag (32) and padding, rounded down."""
MODES = ("mesh", "direct", "relay", "hub")
LAYERS = ("l3", "l2")
TRAVERSALS = ("plain", "peer-reflexive", "port-prediction", "birthday")
"""What a node may do for a direct path, each with what those before it do."""
MAPPING_PROTOCOLS = ("pcp", "nat-pmp", "upnp-igd")


@dataclass(frozen=True)
class Address:
    """An underlay address; `host` is a literal IPv4 or IPv6 address once resolved."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ServerEntry:
    """A server as a node knows it."""

    name: str
    public_key: bytes
    endpoint: Address
    stun: Address | None = None
    tls: Address | None = None


@dataclass(frozen=True)
class PeerEntry:
    """A static WireGuard peer, as in wg-quick's [Peer]."""

    public_key: bytes
    allowed_ips: tuple[str, ...]
    endpoint: Address | None = None
    preshared_key: bytes | None = None
    persistent_keepalive_s: int = 0


@dataclass(frozen=True)
class NodeConfig:
    """`refmesh up`: with `certificate` or `join_key` a mesh member, else a plain WireGuard node of `peers` alone."""

    file: str
    private_key: bytes
    mode: str = "mesh"
    layer: str = "l3"
    authority: bytes | None = None
    certificate: str | None = None
    join_key: str | None = None
    policy: str | None = None
    addresses: tuple[str, ...] = ()
    servers: tuple[ServerEntry, ...] = ()
    peers: tuple[PeerEntry, ...] = ()
    listen_port: int = 0
    interface: str = "refmesh0"
    mtu: int = DEFAULT_MTU
    fwmark: int = 0
    """Of all that goes to the underlay, so that rules can keep it out of the tunnel; 0: none."""
    framing: str = "auto"
    port_mapping: tuple[str, ...] = MAPPING_PROTOCOLS
    """By which protocols the router is asked for a port; the order is ours, not this one's."""
    traversal: str = "birthday"
    """One of `TRAVERSALS`. For simulations that ask what each brings: no configuration file says it."""
    status_socket: Path | None = None
    state_dir: Path | None = None
    log_level: str = "info"

    @property
    def punches(self) -> bool:
        """Whether ports are guessed when plain checks have failed."""
        return self.direct and self.traversal in ("port-prediction", "birthday")

    @property
    def direct(self) -> bool:
        """Whether the mode has direct paths."""
        return self.mode in ("mesh", "direct")


@dataclass(frozen=True)
class ServerConfig:
    """`refmesh server`."""

    file: str
    private_key: bytes
    authority: bytes
    certificate: str
    policy: str | None = None
    policy_file: Path | None = None
    listen: Address = Address("", DEFAULT_PORT)
    stun_port: int = DEFAULT_STUN_PORT
    tls_port: int = 0
    relay: bool = True
    hub: bool = False
    interface: str = ""
    mtu: int = DEFAULT_MTU
    status_socket: Path | None = None
    state_dir: Path | None = None
    log_level: str = "info"
