"""Ethereum: a private chain of geth nodes, whose peers gossip signed transactions over RLPx (devp2p).

Content travels as transactions: a file is signed by its publisher in pieces of 120 kB, and is there when all have come
into the other's pool. `mesh` has an ordinary node on the public node, which passes on what it gets. `direct` has one
that answers discovery alone, so that transactions cross only where a member accepts a connection of another's.

Members of a mesh have the ordinary node as static peer besides, as the makers' private networks have: it is dialled by
TCP again and again, also where discovery's UDP does not get out. Members are nobody's static peers: their addresses
outside are not known before discovery. Trusted peers only matter where a node has more peers than it takes.

Discovery and RLPx are two things: discovery's UDP crosses most NATs, because both sides send; RLPx is TCP, no node
punches holes for it, and it comes in only where a router forwards its port. geth asks routers for that (UPnP, NAT-PMP).
There is no beacon node: geth needs to hear once that its own first block is the head, or it takes no transactions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from harness.model.nat_words import Egress, PortMappingProtocol
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
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
from overlays.ethereum.keys import Key, new_key
from overlays.ways_out import by_tcp

PROGRAM = "geth"
DISCOVERY = "devp2p"
TOOL = "overlaybench-ethereum"
PORT = 30303
CHAIN_ID = 4242
IPC = "/run/geth.ipc"
CONFIG = "geth.toml"
_MODULE = str(Path(__file__).parents[1] / "go" / "ethereum")
_UPSTREAM = "github.com/ethereum/go-ethereum/cmd"
# What a pool keeps is measured in slots of 32 KiB; the defaults are for many small transactions of many senders.
_POOL = ("accountslots", "globalslots", "accountqueue", "globalqueue")
_POOL_SLOTS = 16384


class Ethereum:
    """An ordinary node or a discovery node on the public node, geth on every member."""

    name = "ethereum"
    modes: frozenset[Mode] = frozenset({"mesh", "direct"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"content"})
    needs_server = True
    asks_for_ports: Literal[True] = True

    def requirements(self) -> Sequence[Requirement]:
        """Two programs of go-ethereum's and one of ours, all built in one module."""
        install = f"overlaybench install {self.name}"
        upstream = GoBuild(module=_MODULE, package=f"{_UPSTREAM}/{PROGRAM}", memory_mib=1100)
        discovery = GoBuild(module=_MODULE, package=f"{_UPSTREAM}/{DISCOVERY}", memory_mib=1100)
        ours = GoBuild(module=_MODULE, package=".", memory_mib=1100)
        return (
            Requirement(program=PROGRAM, install=install, go=upstream, version_argv=(PROGRAM, "version")),
            Requirement(program=DISCOVERY, install=install, go=discovery),
            Requirement(program=TOOL, install=install, go=ours),
        )

    def render(self, trial: Trial) -> Deployment:
        """Render a key and an account for each node, one chain for all.

        Raises:
            ValueError: an option; there is none.
        """
        check_options(trial)
        server, members = server_of(trial), trial.topology.members
        network = _Network(
            server=server,
            address=trial.topology.address(server),
            keys={node: new_key() for node in (server, *members)},
            accounts={member: new_key() for member in members},
        )
        peers = (server,) if trial.mode == "mesh" else ()
        full = (*peers, *members)
        first = network.geth(server) if peers else network.discovery()
        return Deployment(
            files=(
                *(File(node=node, path="ethereum.json", text=network.config(node)) for node in full),
                *(File(node=member, path=CONFIG, text=network.static_peers(peers)) for member in members),
            ),
            prepare=tuple(_genesis(node) for node in full),
            services=(first, *(network.geth(member, after=first.name, peers=peers) for member in members)),
            contents=tuple(_content(src, dst) for src in members for dst in members if src != dst),
            claims=(
                *(ClaimSource(name=f"peers-{m}", node=m, argv=(TOOL, "peers")) for m in members),
                *(ClaimSource(name=f"geth-{m}", node=m, service=f"geth-{m}") for m in members),
            ),
        )

    def asks_by(self, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:  # noqa: ARG002 - always the same
        """Return two: geth's `--nat any` asks by them."""
        return frozenset({PortMappingProtocol.UPNP_IGD, PortMappingProtocol.NAT_PMP})

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` where TCP may leave to the ordinary node's port; discovery needs UDP."""
        return by_tcp(egress, trial, PORT)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """`admin.peers`: a peer is reached without others, any other member through whoever is one."""
        try:
            peers = {str(peer["node"]) for peer in json.loads(evidence.get(f"peers-{src}", ""))}
        except (ValueError, KeyError):
            return None
        if dst in peers:
            return "direct"
        return "relayed" if peers else "none"


@dataclass(frozen=True)
class Reached:
    """How far one node gets at another: by discovery's UDP, and by RLPx's TCP."""

    discovery: bool
    rlpx: bool


def reached(src: str, dst: str, front: str, evidence: Mapping[str, str]) -> Reached:
    """Return what `src` says of `dst`.

    Args:
        front: the address under which `dst` is seen from where `src` is.
        evidence: the texts of the deployment's claims.
    """
    answered = re.search(
        rf"<< (PONG|NEIGHBORS|ENRRESPONSE|NODES)/v[45] .*addr={re.escape(front)}:", evidence[f"geth-{src}"]
    )
    peers = json.loads(evidence[f"peers-{src}"] or "[]")
    return Reached(answered is not None, any(peer["node"] == dst for peer in peers))


@dataclass(frozen=True)
class _Network:
    """One chain: the public node, everybody's keys, the members' accounts."""

    server: str
    address: IPv4Address
    keys: Mapping[str, Key]
    accounts: Mapping[str, Key]

    def config(self, node: str) -> str:
        """Return what our tool has to know on a node; accounts are rich and worth nothing, so every node has all."""
        return json.dumps(
            {
                "own": node,
                "ipc": IPC,
                "chain_id": CHAIN_ID,
                "accounts": {member: key.private for member, key in self.accounts.items()},
                "nodes": {name: key.public for name, key in self.keys.items()},
            }
        )

    def static_peers(self, peers: Sequence[str]) -> str:
        """Return the file that names a member's static peers; geth takes them from no option and no other file."""
        names = json.dumps([self.keys[peer].enode(self.address, PORT) for peer in peers])
        return f"[Node.P2P]\nStaticNodes = {names}\n"

    def geth(self, node: str, after: str | None = None, peers: Sequence[str] = ()) -> Service:
        """Return a full node; a member is ready when it has `peers`."""
        is_server = node == self.server
        argv = (
            *(PROGRAM, "--datadir", "data", "--networkid", str(CHAIN_ID), "--syncmode", "full", "--cache", "64"),
            *("--nodekeyhex", self.keys[node].private, "--port", str(PORT)),
            *("--nat", f"extip:{self.address}" if is_server else "any"),
            *("--bootnodes", "" if is_server else self.keys[self.server].enode(self.address, PORT)),
            *("--discovery.dns", "", "--ipcpath", IPC),
            *(() if is_server else ("--config", CONFIG)),
            *(word for name in _POOL for word in (f"--txpool.{name}", str(_POOL_SLOTS))),
            *("--log.vmodule", "p2p/discover/*=5"),
        )
        has_peer = tuple(CommandSays(argv=(TOOL, "peers"), pattern=f'"node":"{peer}"') for peer in peers)
        return Service(
            name=f"geth-{node}",
            node=node,
            argv=argv,
            ready=(LogLine(pattern="Started P2P networking"), LogLine(pattern="IPC endpoint opened"), *has_peer),
            configure=((TOOL, "join"),),
            after=() if after is None else (after,),
            deadline_s=40.0,
        )

    def discovery(self) -> Service:
        """Return a node that only answers discovery, its own bootnode: without one it would take the public chain's."""
        key, at = self.keys[self.server], f"{self.address}:{PORT}"
        own = ("--nodekey", key.private, "--bootnodes", key.enode(self.address, PORT))
        return Service(
            name="discovery",
            node=self.server,
            argv=(DISCOVERY, "discv4", "listen", *own, "--addr", at, "--extaddr", at),
            ready=(LogLine(pattern="(?m)^enr:"),),
        )


def _genesis(node: str) -> Command:
    """Return the chain's first block: the same on all, because it follows from their accounts."""
    script = f"{TOOL} genesis >genesis.json && {PROGRAM} init --datadir data genesis.json"
    return Command(node=node, argv=("sh", "-c", script))


def _content(src: str, dst: str) -> ContentEndpoint:
    return ContentEndpoint(
        src=src, dst=dst, publish=(TOOL, "publish", "{file}"), fetch=(TOOL, "fetch", "{id}", "{file}")
    )
