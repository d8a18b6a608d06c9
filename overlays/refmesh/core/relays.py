"""Which relays lead to each peer: the servers that both are registered with."""

from __future__ import annotations

from collections.abc import Sequence

from overlays.refmesh.core.check import Path
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.server_link import ServerLink


def relays_of(peer: Peer, links: Sequence[ServerLink]) -> list[Path]:
    """Return the relayed paths to a peer, in the order of the configuration."""
    return [Path(link.endpoint, peer.numbers[link.index]) for link in links if link.up and peer.online.get(link.index)]


def changed(peers: Peers, links: Sequence[ServerLink], outbox: Outbox, now: float) -> None:
    """Note that there are relays more or less than there were."""
    for peer in peers.by_key.values():
        if peer.finder is not None:
            peer.finder.set_relays(relays_of(peer, links), now)
            peers.use(peer, peer.finder.best, now)
            if not peer.session.usable(now) and peer.wanted:
                peer.session.want(now)
            outbox.due(peer, now)


def started_again(peers: Peers, index: int) -> None:
    """Note that a server has started again: of those whom it relayed to it knows nobody until they have come back."""
    for peer in peers.by_key.values():
        if peer.online.get(index):
            del peer.online[index]
