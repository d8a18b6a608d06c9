"""What a member, a server and a peer may send who obey no rule but that of the cipher: well sealed, and anything."""

from __future__ import annotations

from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.session import Session
from overlays.refmesh.server.engine import Server
from overlays.refmesh.server.registry import Registration
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire.control import Endpoint


def server_of(world: World, name: str = "s0") -> Server:
    server = world.servers[name]
    assert server is not None
    return server


def registration(world: World, member: str, server: str = "s0") -> Registration:
    """Return the member as the server knows it."""
    return next(r for r in server_of(world, server).registry.by_key.values() if r.certificate.name == member)


def peer(world: World, name: str, other: str) -> Peer:
    """Return the member `other` as the node `name` knows it."""
    return next(p for p in world.nodes[name].peers.by_key.values() if p.name == other)


def sealed(session: Session, payload: bytes, now: float, *, bare: bool = False) -> list[bytes] | None:
    """Seal a payload as any, or `bare`: without the padding that it should have; None when there are no keys."""
    if bare and session.current is not None:
        return [session.current.seal_bare(payload)]
    return session.sealed([payload], now)


def member_says(
    world: World, member: str, payload: bytes, source: Endpoint | None = None, *, bare: bool = False
) -> list[tuple[bytes, Endpoint]]:
    """Let the member tell the server `s0`; return what the server sends because of that."""
    server, link = server_of(world), world.nodes[member].servers.links[0]
    datagrams = sealed(link.peer.session, payload, world.now, bare=bare)
    assert datagrams is not None
    where = source or registration(world, member).endpoint
    assert where is not None
    for datagram in datagrams:
        server.receive(datagram, where, world.now)
    said = server.outlet.datagrams[:]
    server.outlet.datagrams.clear()
    return said


def server_says(world: World, member: str, payload: bytes) -> None:
    """Let the server `s0` tell the member."""
    datagrams = registration(world, member).session.sealed([payload], world.now)
    assert datagrams is not None
    for datagram in datagrams:
        world.nodes[member].ingress.receive(datagram, world.nodes[member].servers.links[0].udp, world.now)


def peer_says(
    world: World, sender: str, receiver: str, payload: bytes, source: Endpoint, *, bare: bool = False
) -> None:
    """One member tells another, from this address."""
    datagrams = sealed(peer(world, sender, receiver).session, payload, world.now, bare=bare)
    assert datagrams is not None
    for datagram in datagrams:
        world.nodes[receiver].ingress.receive(datagram, source, world.now)
