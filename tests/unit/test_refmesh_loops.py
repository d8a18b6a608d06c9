"""What we send to a peer must not come back to us through the tunnel, to be sent once more, and so on."""

from __future__ import annotations

import random

import pytest

from overlays.refmesh import keys
from overlays.refmesh.config import Address, NodeConfig, PeerEntry
from overlays.refmesh.core.node import Node
from overlays.refmesh.simulation.world import UNIX_S, ip_packet


@pytest.fixture
def node() -> Node:
    rng = random.Random(1)
    peer = PeerEntry(keys.public(rng.randbytes(32)), ("0.0.0.0/0",), Address("45.0.0.7", 51820))
    config = NodeConfig("a.yaml", rng.randbytes(32), addresses=("10.0.0.1/24",), peers=(peer,))
    node = Node(config, None, rng.randbytes, UNIX_S)
    node.start(0.0)
    return node


def staged(node: Node, packet: bytes) -> int:
    """How many packets wait for keys after this one of our host."""
    node.egress.packets([packet], 1.0)
    (peer,) = node.peers.by_key.values()
    return len(peer.session.staged)


def test_our_own_datagram_is_dropped_and_told_of_once(node: Node) -> None:
    for _ in range(3):
        assert staged(node, ip_packet("45.0.0.1", "45.0.0.7", b"sealed", ports=(40000, 51820))) == 0
    assert len([event for event in node.outbox.events if "leads through the tunnel itself" in event]) == 1


@pytest.mark.parametrize(
    "packet",
    [
        ip_packet("10.0.0.1", "45.0.0.7", b"x", ports=(40000, 53)),
        ip_packet("10.0.0.1", "45.0.0.8", b"x", ports=(40000, 51820)),
        ip_packet("10.0.0.1", "45.0.0.7", b"x", protocol=6, ports=(40000, 51820)),
    ],
)
def test_anything_else_to_that_host_passes(node: Node, packet: bytes) -> None:
    assert staged(node, packet) == 1
