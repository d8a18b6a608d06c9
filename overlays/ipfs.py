"""IPFS (kubo): streams by `ipfs p2p`, content by `ipfs add` and `ipfs get` over Bitswap.

No DHT: its part, to tell members of each other, is played by direct peering. Every pair is connected through the relay
once both are ready, and then peered: Bitswap broadcasts what it wants to peered nodes alone (`BroadcastControl`).

`direct` is what its users get: kubo's relays are limited, and neither `ipfs p2p` nor Bitswap takes limited connections,
so both wait for DCUtR's hole. For `mesh` and `relay` the relay is our libp2p node without limits: not kubo's doing. In
`relay` hole punching is switched off. There is no `hub`: relayed connections are encrypted from end to end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Command,
    CommandSays,
    ContentEndpoint,
    Deployment,
    EndpointKind,
    File,
    GoBuild,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import check_options, server_of
from overlays.libp2p.adapter import node_requirement, relay_node
from overlays.libp2p.identity import PeerIdentity
from overlays.streams import SERVICE_PORT, listen_port, streams_between
from overlays.ways_out import by_tcp

PROTOCOL = "/x/overlaybench"
REPOSITORY = "repo"
ENV = {"IPFS_PATH": REPOSITORY, "IPFS_TELEMETRY": "off", "DO_NOT_TRACK": "1"}
MEMBER_LISTENS = ("/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/0.0.0.0/tcp/4001")
# 443 as well, for networks that let nothing else out.
RELAY_TRANSPORTS = ("udp/4001/quic-v1", "tcp/4001", "tcp/443")


class Ipfs:
    """A relay on the public node, a kubo daemon on every member."""

    name = "ipfs"
    modes: frozenset[Mode] = frozenset({"mesh", "direct", "relay"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"stream", "content"})
    needs_server = True

    def requirements(self) -> Sequence[Requirement]:
        """kubo, and our libp2p node as the relay without limits."""
        kubo = Requirement(
            program="ipfs",
            install="overlaybench install ipfs",
            go=GoBuild(
                module=str(Path(__file__).parent / "go" / "kubo"),
                package="github.com/ipfs/kubo/cmd/ipfs",
                memory_mib=1000,
            ),
            version_argv=("ipfs", "--version"),
        )
        return (kubo, node_requirement(self.name))

    def render(self, trial: Trial) -> Deployment:
        """Render a whole configuration for every daemon, with fresh keys; the repository is made from it.

        Raises:
            ValueError: an option; there are none.
        """
        check_options(trial)
        server, members = server_of(trial), trial.topology.members
        keys = {node: PeerIdentity() for node in (server, *members)}
        at = trial.topology.address(server)
        listens = tuple(f"/ip4/{at}/{transport}" for transport in RELAY_TRANSPORTS)
        relay_files: tuple[File, ...] = ()
        configs = {m: _member(keys, m, server, listens, punch=trial.mode != "relay") for m in members}
        if trial.mode == "direct":
            configs[server] = _relay(keys[server], listens)
            relay = _daemon(server)
        else:
            relay_file, relay = relay_node(server, keys[server], listens, unlimited=True)
            relay_files = (relay_file,)
        return Deployment(
            files=(*relay_files, *(_file(node, config) for node, config in configs.items())),
            prepare=tuple(
                Command(node=node, argv=("ipfs", "init", "--empty-repo", "ipfs.json"), env=ENV) for node in configs
            ),
            services=(
                relay,
                *(
                    _daemon(member, punch=trial.mode != "relay", forwards=_forwards(keys, members, member), after=relay)
                    for member in members
                ),
            ),
            setup=tuple(
                Command(node=one, argv=("ipfs", "swarm", *verb, _through(listens, keys[server], keys[other])), env=ENV)
                for a, b in combinations(members, 2)
                for one, other, verb in ((a, b, ("connect",)), (a, b, ("peering", "add")), (b, a, ("peering", "add")))
            ),
            streams=streams_between(members),
            contents=tuple(
                ContentEndpoint(
                    src=one.src,
                    dst=one.dst,
                    publish=("ipfs", "add", "--quieter", "{file}"),
                    fetch=("ipfs", "get", "--progress=false", "--output={file}", "{id}"),
                    env=ENV,
                )
                for one in streams_between(members)
            ),
            claims=tuple(
                ClaimSource(name=f"{what}-{m}", node=m, argv=argv, env=ENV)
                for m in members
                for what, argv in (("peers", ("ipfs", "swarm", "peers")), ("id", ("ipfs", "id", "--format=<id>")))
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """libp2p's own: both dial what the relay saw of the other at the same time."""
        return "peer-reflexive" if mode in SEEKING_DIRECT else None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return what libp2p does: `relayed` by port 443, and holes over TCP where it may leave to any port."""
        if egress is Egress.NO_UDP and trial.mode != "relay":
            return ("direct", "none" if trial.mode == "direct" else "relayed")
        return by_tcp(egress, trial)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """`ipfs swarm peers` at the source: an address of `dst` without a relay in it, or only one with."""
        peer = evidence.get(f"id-{dst}", "").strip()
        lines = [line for line in evidence.get(f"peers-{src}", "").split() if peer and line.endswith(f"/p2p/{peer}")]
        if not lines:
            return None
        return "relayed" if all("/p2p-circuit" in line for line in lines) else "direct"


def _through(listens: Sequence[str], relay: PeerIdentity, peer: PeerIdentity) -> str:
    """Return the peer's address through the relay: the first of its addresses names it; it is connected already."""
    return f"{listens[0]}/p2p/{relay.peer_id}/p2p-circuit/p2p/{peer.peer_id}"


def _forwards(keys: Mapping[str, PeerIdentity], members: Sequence[str], member: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that lead peers' streams to the service here, and local ports to the peers' services."""
    listen = ("ipfs", "p2p", "listen", PROTOCOL, f"/ip4/127.0.0.1/tcp/{SERVICE_PORT}")
    ports = {peer: f"/ip4/127.0.0.1/tcp/{listen_port(members, peer)}" for peer in members if peer != member}
    return (
        listen,
        *(("ipfs", "p2p", "forward", PROTOCOL, at, f"/p2p/{keys[peer].peer_id}") for peer, at in ports.items()),
    )


def _daemon(
    node: str,
    punch: bool = False,
    forwards: tuple[tuple[str, ...], ...] = (),
    after: Service | None = None,
) -> Service:
    """Make a member ready once its relay has room for it and, to punch, its hole puncher knows a public address."""
    known = '(?s)p2p-circuit.*"/libp2p/dcutr"' if punch else "p2p-circuit"
    asked = ("env", *(f"{name}={value}" for name, value in ENV.items()), "ipfs", "id")
    return Service(
        name=f"ipfs-{node}",
        node=node,
        argv=("ipfs", "daemon"),
        env=ENV,
        ready=(LogLine(pattern="Daemon is ready"), *((CommandSays(argv=asked, pattern=known),) if after else ())),
        configure=forwards,
        after=(after.name,) if after else (),
        deadline_s=30.0,
    )


def _file(node: str, config: Mapping[str, Any]) -> File:
    return File(node=node, path="ipfs.json", text=json.dumps(config, indent=1))


def _relay(key: PeerIdentity, listens: Sequence[str]) -> dict[str, Any]:
    swarm = {
        "RelayService": {"Enabled": True, "ConnectionDurationLimit": "24h", "ConnectionDataLimit": 1 << 40},
        "RelayClient": {"Enabled": False},
        # On with the client off, it is a fatal error.
        "EnableHolePunching": False,
    }
    return _common(key, listens, "public", swarm)


def _member(
    keys: Mapping[str, PeerIdentity], member: str, server: str, listens: Sequence[str], punch: bool
) -> dict[str, Any]:
    relay = keys[server].peer_id
    swarm = {
        # One address: kubo counts addresses as relays, and waits three minutes for those that it cannot get.
        "RelayClient": {"Enabled": True, "StaticRelays": [f"{listens[0]}/p2p/{relay}"]},
        "EnableHolePunching": punch,
    }
    peering = {"Peers": [{"ID": relay, "Addrs": list(listens)}]}
    return _common(keys[member], MEMBER_LISTENS, "private", swarm) | {"Peering": peering}


def _common(key: PeerIdentity, listens: Sequence[str], reachability: str, swarm: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all have, which keeps them in the lab: no bootstrap, routing, mDNS, telemetry, updates or DNS."""
    mounts = [
        {
            "mountpoint": "/blocks",
            "prefix": "flatfs.datastore",
            "type": "measure",
            "child": {
                "path": "blocks",
                "shardFunc": "/repo/flatfs/shard/v1/next-to-last/2",
                "sync": False,
                "type": "flatfs",
            },
        },
        {
            "mountpoint": "/",
            "prefix": "leveldb.datastore",
            "type": "measure",
            "child": {"compression": "none", "path": "datastore", "type": "levelds"},
        },
    ]
    return {
        "Identity": {"PeerID": key.peer_id, "PrivKey": key.private_key},
        "Addresses": {"Swarm": list(listens), "API": "/ip4/127.0.0.1/tcp/5001", "Gateway": []},
        "Bootstrap": [],
        "Routing": {"Type": "none"},
        "Discovery": {"MDNS": {"Enabled": False}},
        "AutoConf": {"Enabled": False},
        "AutoTLS": {"Enabled": False},
        "Version": {"SwarmCheckEnabled": False},
        "Provide": {"Enabled": False},
        "Plugins": {"Plugins": {"telemetry": {"Disabled": True}}},
        "DNS": {"Resolvers": {}},
        "Gateway": {"NoFetch": True},
        "Experimental": {"Libp2pStreamMounting": True},
        "Internal": {"Libp2pForceReachability": reachability},
        "Datastore": {
            "BloomFilterSize": 0,
            "GCPeriod": "1h",
            "HashOnRead": False,
            "Spec": {"mounts": mounts, "type": "mount"},
            "StorageGCWatermark": 90,
            "StorageMax": "10GB",
        },
        "Mounts": {"IPFS": "/ipfs", "IPNS": "/ipns", "FuseAllowOther": False},
        "Swarm": {
            "DisableNatPortMap": True,
            "Transports": {"Network": {"Websocket": False, "WebRTCDirect": False}},
            **swarm,
        },
    }
