"""BitTorrent: content from peer to peer over uTP (BEP 29) and TCP, by libtorrent.

The public node introduces: it is a peer of every torrent, so that members hear of each other by peer exchange (BEP 11)
and it can have both dial at once (BEP 55). `direct` is with an introducer that carries nothing. `mesh` is with one that
wants every content as soon as somebody does, a swarm of three: content comes from whoever has it first, and through the
introducer alone where no path is direct. That is as near to a relay as the protocol gets, and it reads what it carries;
so there is no `relay`, and no `hub` as long as peers find each other.

A peer is dialled by uTP first, then by TCP, and then the introducer has both dial by uTP at once. With the option
`tcp: false` there is uTP alone, which is what punches.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from harness.model.nat_words import Egress, PortMappingProtocol
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    ContentEndpoint,
    Deployment,
    EndpointKind,
    File,
    Layer,
    LogLine,
    OverlayOptions,
    Requirement,
    Service,
)
from harness.overlay.requirement import Wheel
from overlays.addressing import options_of, server_of
from overlays.bittorrent.messages import sources
from overlays.bittorrent.node import PEER_PORT, Settings
from overlays.ways_out import NOTHING, by_tcp

WHEEL = Wheel(package="libtorrent", version="2.1.1", pythons=("3.11", "3.12", "3.13"))


class BitTorrentOptions(OverlayOptions):
    """Whether peers speak TCP as well as uTP, as the makers have it."""

    tcp: bool = True


class BitTorrent:
    """An introducer on the public node, a peer on every member; any member can publish, any other fetch."""

    name = "bittorrent"
    modes: frozenset[Mode] = frozenset({"mesh", "direct"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"content"})
    needs_server = True
    options: type[OverlayOptions] = BitTorrentOptions

    def requirements(self) -> Sequence[Requirement]:
        """Name a Python package that holds all of libtorrent."""
        version = "import libtorrent; print(libtorrent.__version__)"
        return (
            Requirement(
                program="libtorrent",
                install=f"pip install {WHEEL}",
                wheel=WHEEL,
                version_argv=(sys.executable, "-c", version),
            ),
        )

    def render(self, trial: Trial) -> Deployment:
        """One settings file a node.

        Raises:
            ValueError: an option, or its value.
        """
        options = options_of(trial, BitTorrentOptions)
        server, members = server_of(trial), trial.topology.members
        introducer = str(trial.topology.address(server))
        carries = trial.mode == "mesh"
        settings = {
            node: Settings(str(trial.topology.address(node)), introducer, carries, options.tcp)
            for node in (server, *members)
        }
        return Deployment(
            files=tuple(File(node=node, path="settings.json", text=own.text()) for node, own in settings.items()),
            services=tuple(_node(node, server) for node in settings),
            contents=tuple(_content(src, dst) for src in members for dst in members if src != dst),
            claims=(
                ClaimSource(name="introducer", node=server, argv=("cat", "settings.json")),
                *(ClaimSource(name=f"bittorrent-{m}", node=m, service=f"bittorrent-{m}") for m in members),
            ),
        )

    def technique(self, mode: Mode) -> str | None:  # noqa: ARG002 - the same in both
        """Peers dial the address that the introducer sees of the other, from the one port that they listen at."""
        return "plain"

    def asks_by(self, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:  # noqa: ARG002 - always the same
        """Return two, as libtorrent has them by default."""
        return frozenset({PortMappingProtocol.UPNP_IGD, PortMappingProtocol.NAT_PMP})

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` where TCP may leave to the introducer's port and it carries; uTP is UDP."""
        return by_tcp(egress, trial, PEER_PORT) if options_of(trial, BitTorrentOptions).tcp else NOTHING

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:  # noqa: ARG002
        """From whom `dst` got its latest content: the introducer, others, or both."""
        got = sources(evidence.get(f"bittorrent-{dst}", ""))
        if not got or not (introducer := _introducer(evidence)):
            return None
        relayed = {source.address == introducer for source in list(got.values())[-1]}
        if len(relayed) > 1:
            return "mixed"
        return "relayed" if relayed == {True} else "direct"


def _introducer(evidence: Mapping[str, str]) -> str:
    text = evidence.get("introducer", "")
    return Settings.parse(text).introducer if text else ""


def _node(node: str, server: str) -> Service:
    return Service(
        name=f"bittorrent-{node}",
        node=node,
        argv=(sys.executable, "-m", "overlays.bittorrent.node", "settings.json"),
        ready=(LogLine(pattern="bittorrent: ready"),),
        after=() if node == server else (f"bittorrent-{server}",),
    )


def _content(src: str, dst: str) -> ContentEndpoint:
    command = (sys.executable, "-m", "overlays.bittorrent.command")
    return ContentEndpoint(
        src=src,
        dst=dst,
        publish=(*command, "publish", "{file}"),
        fetch=(*command, "fetch", "{id}", "{file}"),
    )
