"""A node: sessions, paths and servers put together, without I/O."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from overlays.refmesh.config import NodeConfig
from overlays.refmesh.core import bulk, packets
from overlays.refmesh.core.connectivity import (
    PEER_REFLEXIVE,
    PORT_MAPPED,
    SERVER_REFLEXIVE,
    SILENCE_S,
    Path,
    PathFinder,
)
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.directory import Directory
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.core.peer import DIRECT_RETRY_S, RETRY_S, Peer
from overlays.refmesh.core.portmap import ROUTER_PORT, PortMapper
from overlays.refmesh.core.puncher import Puncher, check_path, frame
from overlays.refmesh.core.server_link import ServerLink
from overlays.refmesh.core.tunnel import Input, Tunnel
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.errors import CredentialError, MalformedMessage
from overlays.refmesh.keys import Rng, short
from overlays.refmesh.wire import control, messages, stun
from overlays.refmesh.wire.control import Endpoint

DEFER_S = 0.3
"""The side with the higher key leaves the first handshake to the other for so long, when a relay carries it."""
MAX_PEERS = 4096
LOOK_S = 5.0
HOLD_S, HELD_PACKETS = 2.0, 64
"""A packet for nobody known waits so long: its destination may be about to be told of by a server."""
CHECKS_PER_S, CHECKS_BURST = 100.0, 50
"""Checks to all peers together: what many peers at once would ask for must not drown a small machine."""
UDP_PROBE_S = 30.0
"""How often a node that had to take TLS sees whether UDP works again."""


class Node:
    """One member of a network, or a plain WireGuard node when the configuration has neither certificate nor servers."""

    def __init__(self, config: NodeConfig, certificate: Certificate | None, rng: Rng, unix_offset_s: float) -> None:
        self.config, self.certificate = config, certificate
        self.tunnel = Tunnel(config.private_key, rng, unix_offset_s)
        self.out: list[tuple[bytes, Endpoint]] = []
        self.out_fresh: list[tuple[int, bytes, Endpoint]] = []
        """Like `out`, for sockets other than the main one, by number; the driver opens them as they come up."""
        self.events: list[str] = []
        self.deadline = 0.0
        self.peers: dict[bytes, Peer] = {}
        self.plane = DataPlane(hub=config.mode == "hub")
        self.directory = Directory(config.authority, certificate, unix_offset_s)
        self.local: list[tuple[str, str, int]] = []
        """Candidates of this machine as (kind, host, port); set them with `network_changed`."""
        self.mappers: list[PortMapper] = []
        self._rng, self._unix_offset_s = rng, unix_offset_s
        self._direct = config.mode in ("mesh", "direct")
        self.lifetime = Lifetime()
        self._held: deque[tuple[float, bytes]] = deque(maxlen=HELD_PACKETS)
        self._checks = Pacer(CHECKS_PER_S, CHECKS_BURST)
        self._flags = control.READS_BULK if config.framing == "auto" and config.layer == "l3" else 0
        self.puncher = Puncher(rng, self._send_fresh, lambda peer: self.tunnel.static.public < peer.session.remote)
        self._own = frozenset(packets.packed_host(address) for address in self.addresses)
        self.links = [
            ServerLink(i, entry, self.tunnel, certificate=certificate.text, rng=rng, lifetime=self.lifetime)
            for i, entry in enumerate(config.servers)
            if certificate is not None
        ]
        self._link_of = {link.peer.session.remote: link for link in self.links}
        for entry in config.peers:
            self._add_static(entry)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Our overlay addresses with prefix length."""
        return self.certificate.addresses if self.certificate is not None else self.config.addresses

    @property
    def ready(self) -> bool:
        """Whether a server has answered; without servers always."""
        return not self.links or any(link.up for link in self.links)

    def start(self, now: float) -> None:
        """Begins to connect to the servers."""
        for link in self.links:
            link.start(now)
        self._wake(now)

    def network_changed(
        self, local: Sequence[tuple[str, str, int]], now: float, routers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """This machine's addresses, now: tells the servers and checks all paths again.

        `routers`: pairs of a router's IPv4 address and ours towards it, to be asked for port mappings.
        """
        self.local = list(local)
        ports = {host: port for _, host, port in self.local}
        self.mappers = [PortMapper(router, own, ports[own], self._rng) for router, own in routers if own in ports]
        self.puncher.reset()
        for link in self.links:
            link.greet(now)
        for peer in self.peers.values():
            if peer.finder is not None:
                peer.finder.restart(now)
            peer.due_s = now
        self._wake(now)

    # --- from the network

    def receive(self, datagram: bytes, source: Endpoint, now: float, local: int = 0) -> None:
        """Takes one datagram from a socket, by its number, or from a stream."""
        path = Path(source, 0, local)
        if messages.message_type(datagram) == messages.RELAY:
            if len(datagram) <= messages.RELAY_HEAD.size or self._link_at(source) is None:
                return
            path = Path(source, messages.RELAY_HEAD.unpack_from(datagram)[1])
            datagram = datagram[messages.RELAY_HEAD.size :]
        elif stun.is_stun(datagram):
            self._on_stun(datagram, now)
            return
        if messages.message_type(datagram) == messages.BULK:
            self._on_bulk((datagram,), path, now)
            return
        if source[1] == ROUTER_PORT and any(mapper.router == source for mapper in self.mappers):
            self._on_router(datagram, source, now)
            return
        result = self.tunnel.receive(datagram, control.pack_endpoint(source), now)
        if isinstance(result, bytes):
            self._send_on(path, result)
        elif result is not None:
            self._on_input(result, path, now)

    def receive_run(
        self, datagrams: Sequence[bytes | memoryview], source: Endpoint, now: float, local: int = 0
    ) -> None:
        """Takes datagrams of one size and source that came in one read."""
        kind = messages.message_type(datagrams[0])
        path = Path(source, 0, local)
        if kind == messages.RELAY and self._link_at(source) is not None:
            head = bytes(datagrams[0][: messages.RELAY_HEAD.size])
            if all(datagram[: messages.RELAY_HEAD.size] == head for datagram in datagrams):
                path = Path(source, messages.RELAY_HEAD.unpack(head)[1])
                datagrams = [datagram[messages.RELAY_HEAD.size :] for datagram in datagrams]
                kind = messages.message_type(datagrams[0])
        if kind == messages.BULK:
            self._on_bulk(datagrams, path, now)
            return
        if kind != messages.TRANSPORT:
            for datagram in datagrams:
                self.receive(bytes(datagram), source, now, local)
            return
        result = self.tunnel.receive_run(datagrams, now)
        if result is not None:
            self._on_input(result, path, now)

    def _on_bulk(self, datagrams: Sequence[bytes | memoryview], path: Path, now: float) -> None:
        found = self.tunnel.keypair_of(datagrams[0])
        if found is None or not self._flags or not found[1].usable(now):
            return
        session, keypair = found
        index = datagrams[0][4:8]
        plains = bulk.unseal(keypair, [datagram for datagram in datagrams if datagram[4:8] == index])
        peer = self.peers.get(session.remote)
        if not plains or peer is None:
            return
        if session.received(keypair, True, now):
            self._on_established(peer, None, path, now)
        self._heard(peer, None, path, now)
        self.plane.large_in(peer, plains, now)

    def _on_input(self, result: Input, path: Path, now: float) -> None:
        link = self._link_of.get(result.session.remote)
        peer = link.peer if link is not None else self.peers[result.session.remote]
        if result.reply is not None:
            self._send_on(path, result.reply)
        if result.reply is None or result.established:
            self._heard(peer, link, path, now)
        if result.established:
            self._on_established(peer, link, path, now)
        inner = [payload for payload in result.payloads if payload[0] >> 4]
        if inner:
            self.plane.packets_in(peer, inner, now)
        if len(inner) < len(result.payloads):
            for payload in result.payloads:
                if not payload[0] >> 4:
                    self._on_control(peer, link, payload, path, now)
        self.due(peer, result.session.deadline())

    def _heard(self, peer: Peer, link: ServerLink | None, path: Path, now: float) -> None:
        if link is not None:
            self._use_endpoint(link, path.endpoint, now)
        elif peer.finder is None:
            peer.take(path)
        elif peer.path is None and (path.direct or self.config.mode != "direct"):
            # Better the way that the peer came than none; the checks will say more.
            if path.direct:
                peer.finder.add(path.endpoint, PEER_REFLEXIVE, now, path.local)
            self._use(peer, peer.finder.best or path, now)

    def _on_established(self, peer: Peer, link: ServerLink | None, path: Path, now: float) -> None:
        if link is not None:
            link.on_established(now)
            self._wake(now)
        if peer.finder is not None:
            self._use(peer, peer.finder.best or peer.path or path, now)
            if peer.session.previous is None or peer.path is None or not peer.path.direct:
                peer.finder.restart(now)
            else:
                peer.finder.suspect(now)  # the peer may have started anew, elsewhere
            self.due(peer, now)
        staged = list(peer.session.staged)
        peer.session.staged.clear()
        if staged:
            self._send(peer, staged, now)

    def _on_control(self, peer: Peer, link: ServerLink | None, payload: bytes, path: Path, now: float) -> None:
        try:
            kind, body = control.read(payload)
            if kind in (control.PING, control.PONG):
                peer.bulk = bool(payload[1] & self._flags & control.READS_BULK)
            if kind == control.PING:
                seen = control.pack_endpoint(path.endpoint if path.direct else None)
                pong = control.frame(control.PONG, body[: control.TRANSACTION_LEN] + seen, self._flags)
                self._send_sealed(peer, pong, path, now)
                if peer.finder is not None:
                    peer.finder.on_ping(path, now)
                    self.due(peer, now)
            elif kind == control.PONG and peer.finder is not None:
                peer.finder.on_pong(body[: control.TRANSACTION_LEN], path, now)
                self._use(peer, peer.finder.best, now)
            elif kind == control.ETHERNET and self.config.layer == "l2":
                self.plane.frame_in(peer, body, now)
            elif kind == control.PUNCH and link is not None:
                self._on_punch(link, control.read_json(body), now)
            elif kind == control.UPDATE and link is not None:
                self._on_update(link, control.read_json(body), now)
        except (MalformedMessage, KeyError, TypeError, ValueError, IndexError) as error:
            self.events.append(f"{peer.name} sent nonsense: {error}")

    def _on_stun(self, datagram: bytes, now: float) -> None:
        try:
            transaction, mapped = stun.read_response(datagram)
        except MalformedMessage:
            return
        probed = self.puncher.on_stun(transaction, mapped, now)
        if probed is not None:
            self.due(probed, now)
        for link in self.links:
            before = link.mapped
            if link.on_stun(transaction, mapped, now) and link.mapped != before:
                for other in self.links:
                    other.greet(now)
                    self._wake(now)

    def _on_router(self, datagram: bytes, source: Endpoint, now: float) -> None:
        for mapper in self.mappers:
            if mapper.receive(datagram, source, now):
                self.events.append(f"router {source[0]} maps {mapper.external}" if mapper.external else "mapping lost")
                for link in self.links:
                    link.greet(now)
            self._wake(now)

    # --- punching

    @property
    def dependent(self) -> bool:
        """Whether our mapping is known to depend on the destination: servers' ports see different ports of ours."""
        seen = {endpoint for link in self.links for endpoint in (link.seen_as, link.mapped) if endpoint is not None}
        return len({endpoint for endpoint in seen if ":" not in endpoint[0]}) > 1

    def _send_fresh(self, local: int, datagram: bytes, endpoint: Endpoint) -> None:
        self.out_fresh.append((local, datagram, endpoint))

    def _on_punch(self, link: ServerLink, body: dict[str, Any], now: float) -> None:
        number = int(body["from"])
        for peer in self.peers.values():
            if peer.numbers.get(link.index) == number and peer.finder is not None and self._direct:
                self.puncher.on_punch(peer, link, body, dependent=self.dependent, now=now)
                self.due(peer, now)

    def _punch(self, peer: Peer, finder: PathFinder, now: float) -> None:
        if peer.path is not None and peer.path.direct and peer.session.usable(now):
            self.puncher.done(peer)
            return
        link = next((link for link in self.links if link.up and peer.online.get(link.index)), None)
        if link is None or not self._direct or not peer.wanted:
            return
        self.puncher.watch(peer, now)
        told = self.puncher.tick(peer, link, dependent=self.dependent, now=now)
        if told is not None:
            self._send_sealed(link.peer, frame(peer.numbers[link.index], told), Path(link.endpoint), now)
        shots = self.puncher.shots(peer, now)
        if not shots:
            return
        if peer.session.usable(now):
            ping = control.frame(control.PING, finder.burst(now), self._flags)
            for local, endpoint in shots:
                self._send_sealed(peer, ping, check_path(local, endpoint), now)
        else:
            initiation = self.tunnel.initiate(peer.session, now)
            for local, endpoint in shots:
                self._send_on(check_path(local, endpoint), initiation)

    # --- the directory

    def _on_update(self, link: ServerLink, update: dict[str, Any], now: float) -> None:
        was_up, was_seen_as = link.up, link.seen_as
        entries = link.on_update(update, now)
        if link.up and not was_up:
            self.events.append(f"server {link.entry.name} answers; we are {link.seen_as or 'unseen'} to it")
            self._relays_changed(now)
        if link.seen_as != was_seen_as:
            for other in self.links:
                if other is not link:
                    other.greet(now)
        self._take_entries(link, entries, now)
        if self._held:
            self._release_held(now)
        self._wake(link.deadline())

    def _take_entries(self, link: ServerLink, entries: Sequence[dict[str, Any]], now: float) -> None:
        for entry in entries:
            try:
                if "policy" in entry:
                    text = link.policy_parts.add(entry)
                    if text is not None:
                        self.set_policy(text)
                else:
                    self._on_entry(link, entry, now)
            except CredentialError as error:
                self.events.append(f"{link.entry.name} told us of a member that we refuse: {error}")

    def set_policy(self, text: str) -> None:
        """Takes a network document if it is the authority's and newer than ours; CredentialError when it is not."""
        if not self.directory.take_policy(text):
            return
        for peer in list(self.peers.values()):
            if peer.certificate is not None and self.directory.revoked(peer.certificate):
                self.events.append(f"{peer.name} is revoked")
                self._remove(peer)
            else:
                peer.access = self.directory.access_to(peer.certificate)

    def _on_entry(self, link: ServerLink, entry: dict[str, Any], now: float) -> None:
        text = str(entry["certificate"])
        peer = next((p for p in self.peers.values() if p.certificate is not None and p.certificate.text == text), None)
        if peer is None:
            peer = self.admit(text, now)
            if peer is None:
                return
        assert peer.finder is not None
        peer.numbers[link.index] = int(entry["relay"])
        came = bool(entry["online"]) and not peer.online.get(link.index)
        peer.online[link.index] = bool(entry["online"])
        if self.config.mode == "hub":
            # Only our own configuration may say so: a server that could would read what was meant for the peer.
            peer.hub_servers.add(link.index)
            self.plane.routes.assign(peer, link.peer)
            return
        peer.finder.set_relays(self._relays_of(peer), now)
        for kind, host, port in entry["candidates"] if entry["direct"] else ():
            if not host.startswith("fe80"):
                peer.finder.add(control.valid_endpoint((host, port)), str(kind), now)
        if came and not peer.session.usable(now):
            waits = (
                self.tunnel.static.public > peer.session.remote
                and peer.finder.ways()[:1] != []
                and not (peer.finder.ways()[0].direct)
            )
            peer.session.hurry(now)
            peer.session.attempt_due_s = now + (DEFER_S if waits else 0.0)
        peer.due_s = now
        self._wake(now)

    def admit(self, text: str, now: float) -> Peer | None:
        """A peer by its certificate; None for ourselves. CredentialError when the certificate is not to be believed."""
        certificate = self.directory.certify(text, now)
        if certificate is None:
            return None
        for other in [p for p in self.peers.values() if p.name == certificate.name]:
            self._remove(other)
        if len(self.peers) >= MAX_PEERS:
            raise CredentialError(f"no room for {certificate.name}")
        hosts = [packets.host_network(address) for address in certificate.addresses]
        finder = PathFinder(
            self._rng, direct=self._direct, relayed=self.config.mode in ("mesh", "relay"), lifetime=self.lifetime
        )
        retry_s = DIRECT_RETRY_S if self.config.mode == "direct" else RETRY_S
        session = self.tunnel.add(certificate.key, retry_s=retry_s)
        peer = Peer(certificate.name, session, hosts, finder=finder, certificate=certificate)
        peer.access = self.directory.access_to(certificate)
        self.peers[certificate.key] = peer
        self.plane.routes.assign(peer, peer)
        self.events.append(f"knows {certificate.name} ({short(certificate.key)}) at {', '.join(certificate.addresses)}")
        return peer

    def _remove(self, peer: Peer) -> None:
        self.plane.forget(peer)
        self.puncher.forget(peer)
        self.tunnel.remove(peer.session.remote)
        self.peers.pop(peer.session.remote, None)

    def _add_static(self, entry: Any) -> None:
        session = self.tunnel.add(entry.public_key, entry.preshared_key or bytes(32))
        session.persistent_s = float(entry.persistent_keepalive_s)
        peer = Peer(short(entry.public_key), session, entry.allowed_ips)
        if entry.endpoint is not None:
            peer.take(Path((entry.endpoint.host, entry.endpoint.port)))
            if entry.persistent_keepalive_s:
                session.want(0.0)
        self.peers[entry.public_key] = peer
        self.plane.routes.assign(peer, peer)

    # --- to the network

    def from_tun(self, batch: Sequence[bytes], now: float) -> None:
        """Packets of one destination from the TUN device."""
        peer = self.plane.routes.find(packets.destination_bytes(batch[0]))
        if peer is not None:
            self._send(peer, batch, now)
        else:
            self._held.extend((now + HOLD_S, packet) for packet in batch)

    def _release_held(self, now: float) -> None:
        """Sends what was meant for somebody who has become known only now."""
        held = [packet for until_s, packet in self._held if until_s > now]
        self._held.clear()
        for packet in held:
            self.from_tun((packet,), now)

    def _send(self, peer: Peer, batch: Sequence[bytes], now: float) -> None:
        sealed = self.sealed(peer, batch, now)
        if sealed is not None and peer.path is not None:
            if peer.path.local:
                self.out_fresh.extend((peer.path.local, message, peer.path.endpoint) for message in sealed)
                return
            endpoint, prefix = peer.path.endpoint, peer.prefix
            self.out.extend(
                [(prefix + message, endpoint) for message in sealed] if prefix else [(m, endpoint) for m in sealed]
            )

    def frame_from_tap(self, frame_: bytes, now: float) -> None:
        """An Ethernet frame of our host."""
        hub = next((link.peer for link in self.links if link.up and link.hub), None)
        payload = [control.frame(control.ETHERNET, frame_)]
        for peer in self.plane.frame_targets(frame_, self.peers.values(), hub, now):
            self._send(peer, payload, now)

    def sealed(self, peer: Peer, batch: Sequence[bytes], now: float) -> list[bytes] | None:
        """Packets for a peer, sealed; None while there are no keys or no path, or when the access rules forbid them."""
        if batch[0][0] >> 4 and not self.plane.may_go(peer, batch[0], now):
            return None
        if peer.path is None:
            peer.session.staged.extend(batch)
            peer.session.want(now)
            self.due(peer, now)
            return None
        sealed = peer.session.sealed(batch, now)
        peer.tx_bytes += sum(map(len, batch))
        peer.data_sent_s = now
        if sealed is None or now - peer.session.last_received_s > SILENCE_S:
            self.due(peer, now)
        return sealed

    def seal_large(self, peer: Peer, packet: memoryview, start: int, size: int, now: float) -> list[bytes] | None:
        """A large TCP packet as chunks, when the peer reads them and the keys are fresh; None: do it the plain way."""
        keypair = peer.session.current
        if not peer.bulk or keypair is None or now >= keypair.fresh_until_s or peer.path is None:
            return None
        if not self.plane.may_go(peer, bytes(packet[:60]), now):
            return []
        data = start + (packet[start + 12] >> 4) * 4
        peer.session.note_sent(now)
        peer.tx_bytes += len(packet)
        peer.data_sent_s = now
        if now - peer.session.last_received_s > SILENCE_S:
            self.due(peer, now)
        return bulk.seal(keypair, packet, start, data, size)

    def _send_sealed(self, peer: Peer, payload: bytes, path: Path, now: float) -> None:
        if peer.session.usable(now):
            for message in peer.session.sealed([payload], now, hopeful=path == peer.path) or ():
                self._send_on(path, message)

    def _send_on(self, path: Path, message: bytes) -> None:
        head = messages.RELAY_HEAD.pack(messages.RELAY, path.relay) if path.relay else b""
        if path.local:
            self.out_fresh.append((path.local, message, path.endpoint))
        else:
            self.out.append((head + message, path.endpoint))

    # --- time

    def tick(self, now: float) -> None:
        """Does what is due and sets the next deadline."""
        for mapper in self.mappers if self._direct else ():
            self.out.extend((request, mapper.router) for request in mapper.requests(now))
        for link in self.links:
            if link.deadline() <= now:
                self._tick_link(link, now)
        for peer in list(self.peers.values()):
            if peer.due_s <= now:
                self._tick_peer(peer, now)
        self.deadline = min(
            min((link.deadline() for link in self.links), default=math.inf),
            min((mapper.deadline() for mapper in self.mappers if self._direct), default=math.inf),
            min((peer.due_s for peer in self.peers.values()), default=math.inf),
        )

    def _tick_link(self, link: ServerLink, now: float) -> None:
        request = link.stun_request(now)
        if request is not None and self._direct:
            self.out.append(request)
        was_up = link.up
        initiation, keepalive = self.tunnel.tick(link.peer.session, now)
        if initiation is not None:
            for endpoint in link.ways():
                self.out += [(link.introduction(), endpoint), (initiation, endpoint)]
        if keepalive is not None:
            self.out.append((keepalive, link.endpoint))
        if now >= link.udp_probe_s:
            link.udp_probe_s = now + UDP_PROBE_S
            ping = control.frame(control.PING, self._rng(control.TRANSACTION_LEN))
            self._send_sealed(link.peer, ping, Path(link.udp), now)
        if now >= link.hello_due_s:
            hello = link.hello(self._candidates(link), direct=self._direct, hub=self.config.mode == "hub", now=now)
            if hello is not None:
                self._send_sealed(link.peer, hello, Path(link.endpoint), now)
        if was_up and not link.up:
            self.events.append(f"server {link.entry.name} does not answer any more")
            self._relays_changed(now)

    def _tick_peer(self, peer: Peer, now: float) -> None:
        session, finder = peer.session, peer.finder
        if peer.wanted and not peer.hub_servers and not session.usable(now):
            session.want(now)
        initiation, keepalive = self.tunnel.tick(session, now)
        if initiation is not None:
            for path in self._handshake_ways(peer):
                self._send_on(path, initiation)
        if keepalive is not None and peer.path is not None:
            self._send_on(peer.path, keepalive)
        due_s = session.deadline()
        if finder is not None and session.usable(now):
            if peer.data_sent_s - session.last_received_s > SILENCE_S:
                best = finder.checks.get(peer.path) if peer.path is not None else None
                if best is None or not best.unanswered:
                    finder.suspect(now)
            for path, transaction in finder.due(now, self._checks.available(now)):
                self._checks.take()
                self._send_sealed(peer, control.frame(control.PING, transaction, self._flags), path, now)
            self._use(peer, finder.best, now)
            due_s = min(session.deadline(), max(finder.deadline(), self._checks.next_s(now)))
        if finder is not None and not peer.hub_servers:
            self._punch(peer, finder, now)
            due_s = min(due_s, self.puncher.deadline(peer))
        # Traffic moves deadlines without telling; looking every few seconds is cheaper than telling each time.
        peer.due_s = min(due_s, now + LOOK_S) if session.current is not None else due_s

    def _handshake_ways(self, peer: Peer) -> list[Path]:
        if peer.finder is None:
            return [peer.path] if peer.path is not None else []
        ways = peer.finder.ways()
        relays = [path for path in ways if not path.direct]
        # The first try over a relay is answered nearly always; only when it is not, everything is tried.
        return relays if relays and len(peer.session.pending) == 1 else ways

    def _use(self, peer: Peer, path: Path | None, now: float) -> None:
        if path is None or not peer.take(path):
            return
        if path.direct and peer.direct_s is None:
            peer.direct_s = now
        way = "directly at" if path.direct else "by relay"
        self.events.append(f"{peer.name} is reached {way} {path.endpoint[0]}:{path.endpoint[1]}")

    def stream_opened(self, index: int, now: float) -> None:
        """The driver has a TLS connection to server `index`: tries it beside UDP."""
        link = self.links[index]
        link.tls_open = True
        link.peer.session.hurry(now)
        self._wake(now)

    def stream_closed(self, index: int, now: float) -> None:
        """That connection is over."""
        link = self.links[index]
        link.tls_open = False
        if link.endpoint == link.tls:
            link.lost(now)
            self._use_endpoint(link, link.udp, now)
            self._relays_changed(now)
        self._wake(now)

    def _use_endpoint(self, link: ServerLink, endpoint: Endpoint, now: float) -> None:
        if endpoint != link.endpoint and endpoint in (link.udp, link.tls):
            link.endpoint = endpoint
            link.udp_probe_s = now + UDP_PROBE_S if endpoint == link.tls else math.inf
            link.greet(now)
            link.peer.take(Path(endpoint))
            self._relays_changed(now)

    def _relays_changed(self, now: float) -> None:
        for peer in self.peers.values():
            if peer.finder is not None:
                peer.finder.set_relays(self._relays_of(peer), now)
                self._use(peer, peer.finder.best, now)
                if not peer.session.usable(now) and peer.wanted:
                    peer.session.want(now)
                self.due(peer, now)

    def _relays_of(self, peer: Peer) -> list[Path]:
        return [
            Path(link.endpoint, peer.numbers[link.index])
            for link in self.links
            if link.up and peer.online.get(link.index)
        ]

    def _candidates(self, link: ServerLink) -> list[list[Any]]:
        if not self._direct:
            return []
        found: list[list[Any]] = [list(candidate) for candidate in self.local]
        found += [[PORT_MAPPED, *mapper.external] for mapper in self.mappers if mapper.external is not None]
        for other in self.links:
            for endpoint in (other.mapped, other.seen_as if other is not link else None):
                if endpoint is not None and all((host, port) != endpoint for _, host, port in found):
                    found.append([SERVER_REFLEXIVE, *endpoint])
        return found

    def _link_at(self, endpoint: Endpoint) -> ServerLink | None:
        return next((link for link in self.links if link.endpoint == endpoint), None)

    def due(self, peer: Peer, at: float) -> None:
        """The peer is to be looked at again at that time, or before."""
        peer.due_s = min(peer.due_s, at)
        self._wake(at)

    def _wake(self, at: float) -> None:
        self.deadline = min(self.deadline, at)
