"""libp2p: streams between members behind NATs, through a relay (circuit v2) or a hole that DCUtR punches.

The program is ours (`overlays/go/libp2p`), as libp2p is a library: 300 lines around go-libp2p that say what happens in
JSON. `mesh` is what its applications do: relayed at first, direct for streams that begin after the punch. `direct` is
streams that may not be limited: go-libp2p then waits for a direct connection. `relay` is DCUtR switched off. There is
no `hub`: relayed connections are encrypted from end to end.

A member is ready when its relay has a place for it *and* its hole puncher knows a public address: a relayed connection
that comes earlier is never punched. The first connection to a local port introduces a pair; no peer connects before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
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
from overlays.json_events import events_of
from overlays.libp2p.identity import PeerIdentity
from overlays.streams import SERVICE_PORT, listen_port, streams_between
from overlays.ways_out import by_tcp

PROGRAM = "overlaybench-libp2p"
CONFIG = "libp2p.json"
_ENV = {"QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING": "true"}
_READY = LogLine(pattern='"event":"ready"')


def node_requirement(name: str) -> Requirement:
    """Our node, for the overlay called `name`."""
    return Requirement(
        program=PROGRAM,
        install=f"overlaybench install {name}",
        go=GoBuild(module=str(Path(__file__).parents[1] / "go" / "libp2p"), package=".", memory_mib=400),
        version_argv=(PROGRAM, "--version"),
    )


class LibP2pTcp:
    """Over TCP alone: holes are punched by simultaneous open (RFC 9293 section 3.5)."""

    name = "libp2p-tcp"
    modes: frozenset[Mode] = frozenset({"mesh", "direct", "relay"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"stream"})
    needs_server = True
    member_listens: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/4001",)
    # 443 as well, for networks that let nothing else out.
    relay_transports: tuple[str, ...] = ("tcp/4001", "tcp/443")

    def requirements(self) -> Sequence[Requirement]:
        """One program for relay and members."""
        return (node_requirement(self.name),)

    def render(self, trial: Trial) -> Deployment:
        """Render a configuration with a fresh key for every node.

        Raises:
            ValueError: an option; there are none.
        """
        check_options(trial)
        server, members = server_of(trial), trial.topology.members
        keys = {node: PeerIdentity() for node in (server, *members)}
        at = trial.topology.address(server)
        listens = [f"/ip4/{at}/{transport}" for transport in self.relay_transports]
        relays = [f"{address}/p2p/{keys[server].peer_id}" for address in listens]
        relay_file, relay = relay_node(server, keys[server], listens)
        files = [relay_file]
        for member in members:
            peers = {
                name: {"id": keys[name].peer_id, "listen": f"127.0.0.1:{listen_port(members, name)}"}
                for name in members
                if name != member
            }
            files.append(
                _config(
                    member,
                    seed=keys[member].seed.hex(),
                    listen=self.member_listens,
                    relays=relays,
                    punch=trial.mode != "relay",
                    relayed=trial.mode != "direct",
                    service=f"127.0.0.1:{SERVICE_PORT}",
                    peers=peers,
                )
            )
        return Deployment(
            files=tuple(files),
            services=(
                relay,
                *(_service(member, after=(relay.name,)) for member in members),
            ),
            streams=streams_between(members),
            claims=tuple(ClaimSource(name=f"libp2p-{m}", node=m, service=f"libp2p-{m}") for m in members),
        )

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` by the relay's port 443. Where TCP may leave to any port, holes are punched over TCP."""
        if egress is Egress.NO_UDP and trial.mode != "relay":
            return ("direct", "none" if trial.mode == "direct" else "relayed")
        return by_tcp(egress, trial)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read what the source says of its last stream to `dst`: `/p2p-circuit` in the address, or not."""
        path = None
        for event in events_of(evidence.get(f"libp2p-{src}", "")):
            if event.get("event") == "stream" and event.get("peer") == dst:
                path = event.get("path")
        return path if path in ("direct", "relayed") else None


class LibP2p(LibP2pTcp):
    """Over QUIC and TCP, as its applications run it; QUIC is preferred wherever UDP passes."""

    name = "libp2p"
    member_listens = ("/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/0.0.0.0/tcp/4001")
    relay_transports = ("udp/4001/quic-v1", "tcp/4001", "tcp/443")

    def technique(self, mode: Mode) -> str | None:
        """Both dial what the relay saw of the other at the same time; QUIC's server answers where the packet came from.

        Who is the client changes with the third of three tries, so either may be the one that gets in.
        """
        return "peer-reflexive" if mode in SEEKING_DIRECT else None


def relay_node(node: str, key: PeerIdentity, listens: Sequence[str], unlimited: bool = False) -> tuple[File, Service]:
    """Our node as a relay. Without limits, connections through it count as good as direct ones to go-libp2p."""
    return _config(node, seed=key.seed.hex(), listen=listens, unlimited=unlimited), _service(node)


def _config(node: str, **fields: object) -> File:
    return File(node=node, path=CONFIG, text=json.dumps(fields, indent=1))


def _service(node: str, after: tuple[str, ...] = ()) -> Service:
    return Service(name=f"libp2p-{node}", node=node, argv=(PROGRAM, CONFIG), env=_ENV, ready=(_READY,), after=after)
