"""Yggdrasil: an end-to-end encrypted IPv6 network that routes from peer to peer along a spanning tree (version 0.5).

It punches no holes: nodes send along the peerings that they were given, so members behind NATs reach each other through
the public node, which carries what it cannot read. That is `relay`, and there is no other mode. Members in one segment
find each other by multicast and then send directly.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.model.family import FAMILIES, Family
from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
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
from overlays.addressing import check_options, device, server_of
from overlays.go_pins import pinned_version
from overlays.ways_out import TLS_PORT, by_tcp

PROGRAM = "yggdrasil"
CONTROL = "yggdrasilctl"
_MODULE = "github.com/yggdrasil-network/yggdrasil-go"
_FOLDER = Path(__file__).parent / "go" / "yggdrasil"
_CONSOLE = "tcp://127.0.0.1:9001"
_CONFIG = "yggdrasil.json"
# src/address/address.go: the first octet of every node's address.
_PREFIX = 0x02


class Yggdrasil:
    """A public peer, and members that peer with it alone."""

    name = "yggdrasil"
    modes: frozenset[Mode] = frozenset({"relay"})
    layer: Layer = "L3"
    needs_server = True
    underlays: frozenset[Family] = frozenset(FAMILIES)

    def requirements(self) -> Sequence[Requirement]:
        """Name the daemon and its control program, of one Go module."""
        version = pinned_version(_FOLDER, _MODULE)
        return tuple(
            Requirement(
                program=program,
                install=f"overlaybench install {self.name}",
                go=GoBuild(
                    module=str(_FOLDER),
                    package=f"{_MODULE}/cmd/{program}",
                    strings={f"{_MODULE}/src/version.buildVersion": version},
                ),
                version_argv=(program, "-version"),
            )
            for program in (PROGRAM, CONTROL)
        )

    def render(self, trial: Trial) -> Deployment:
        """Render a configuration with a fresh key for every node; its address follows from the key.

        Raises:
            ValueError: an option; there are none.
        """
        check_options(trial)
        server, members = server_of(trial), trial.topology.members
        # The lowest key is the tree's root. In a network of any size that is no member of a given pair; where one of
        # two is, its packets may go unanswered until the other one sends (docs/overlays.md).
        lowest, *others = sorted((_Key.fresh() for _ in (server, *members)), key=lambda key: key.public)
        keys = dict(zip((server, *members), (lowest, *random.sample(others, len(others))), strict=True))
        return Deployment(
            files=tuple(
                File(node=node, path=_CONFIG, text=json.dumps(_config(trial, node, key), indent=1))
                for node, key in keys.items()
            ),
            services=tuple(_service(node, key, server) for node, key in keys.items()),
            endpoints={
                member: IpEndpoint(address=keys[member].address, interface=device("ygg", member)) for member in members
            },
            claims=tuple(
                ClaimSource(
                    name=f"{PROGRAM}-{what}-{member}",
                    node=member,
                    argv=(CONTROL, "-json", f"-endpoint={_CONSOLE}", what),
                )
                for member in members
                for what in ("getSelf", "getPeers")
            ),
        )

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed`: the public peer takes TLS on port 443."""
        return by_tcp(egress, trial)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read whether `dst` is among `src`'s peers: what goes to anybody else is carried by others."""
        try:
            key = json.loads(evidence[f"{PROGRAM}-getSelf-{dst}"])["key"]
            peers = json.loads(evidence[f"{PROGRAM}-getPeers-{src}"])["peers"]
        except (KeyError, ValueError):
            return None
        up = [peer for peer in peers if peer["up"]]
        if not up:
            return None
        return "direct" if any(peer["key"] == key for peer in up) else "relayed"


@dataclass(frozen=True)
class _Key:
    private: bytes
    public: bytes

    @classmethod
    def fresh(cls) -> _Key:
        key = Ed25519PrivateKey.generate()
        return cls(key.private_bytes_raw(), key.public_key().public_bytes_raw())

    @property
    def address(self) -> IPv6Address:
        return address_of(self.public)


def address_of(public: bytes) -> IPv6Address:
    """Return the address that belongs to an Ed25519 public key of 32 octets (src/address/address.go, AddrForKey).

    The octet after the prefix counts the key's leading zero bits; then come the key's bits inverted, without those and
    without the one that ends them. So whoever computes many keys can have an address that holds more of its key.
    """
    key = int.from_bytes(public)
    zeros = len(public) * 8 - key.bit_length()
    rest = len(public) * 8 - zeros - 1
    tail = ~key & ((1 << rest) - 1)
    # 14 octets of what follows; zeros where the key has no more.
    room = 14 * 8
    tail = tail >> (rest - room) if rest >= room else tail << (room - rest)
    return IPv6Address(bytes((_PREFIX, zeros)) + tail.to_bytes(14))


def _config(trial: Trial, node: str, key: _Key) -> dict[str, object]:
    server = server_of(trial)
    is_server = node == server
    return {
        "PrivateKey": (key.private + key.public).hex(),
        "Peers": [] if is_server else [_uri(trial, server, node)],
        "Listen": [f"tls://[::]:{TLS_PORT}"] if is_server else [],
        "AdminListen": _CONSOLE,
        # The default: nodes in one segment peer with each other.
        "MulticastInterfaces": [{"Regex": ".*", "Beacon": True, "Listen": True}],
        "IfName": "none" if is_server else device("ygg", node),
        "NodeInfoPrivacy": True,
    }


def _uri(trial: Trial, server: str, member: str) -> str:
    topology = trial.topology
    at = topology.address_seen_by(member, server)
    return f"tls://[{at}]:{TLS_PORT}" if at.version == 6 else f"tls://{at}:{TLS_PORT}"


def _service(node: str, key: _Key, server: str) -> Service:
    is_server = node == server
    return Service(
        name=f"{PROGRAM}-{node}",
        node=node,
        argv=(PROGRAM, "-useconffile", _CONFIG),
        ready=(LogLine(pattern="TLS listener started"),)
        if is_server
        else (LogLine(pattern="Connected outbound"), InterfaceAddress(address=key.address)),
        after=() if is_server else (f"{PROGRAM}-{server}",),
    )
