"""A node's servers: which answer, what each tells of the members, and which relays there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from overlays.refmesh.config import NodeConfig
from overlays.refmesh.core import reflexive, relays
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.probing import Probing
from overlays.refmesh.core.server_link import ServerLink
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.errors import CredentialError
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import control
from overlays.refmesh.wire.bodies import Member, PolicyPart, Update
from overlays.refmesh.wire.control import Endpoint

DEFER_S = 0.3
"""A newcomer leaves the first handshake with a member to that one for so long, when a relay carries it: the member may
still be waiting to be told of the newcomer, and would not answer a stranger."""
RELAYED_RTTS = 2.5
"""How long a handshake by relay is given for its answer, in round trips to the server: two, and some more."""
UDP_PROBE_S = 30.0
"""How often a node that had to take TLS sees whether UDP works again."""


class Servers:
    """The links to all servers of the configuration."""

    def __init__(
        self,
        config: NodeConfig,
        certificate: str | None,
        *,
        tunnel: Tunnel,
        peers: Peers,
        plane: DataPlane,
        outbox: Outbox,
        lifetime: Lifetime,
        probing: Probing,
        rng: Rng,
    ) -> None:
        """`certificate` None: we are no member of anything, and have no servers."""
        self._config, self._tunnel, self._peers = config, tunnel, peers
        self._plane, self._outbox, self._rng = plane, outbox, rng
        self._probing = probing
        self.candidates: list[tuple[str, str, int]] = []
        """Our candidates but for those that servers tell us of, as (kind, host, port)."""
        self.links = [
            ServerLink(i, entry, tunnel, certificate=certificate, rng=rng, lifetime=lifetime)
            for i, entry in enumerate(config.servers)
            if certificate is not None
        ]
        self._nat = reflexive.Nat(self.links)
        self._by_key = {link.peer.session.remote: link for link in self.links}

    @property
    def ready(self) -> bool:
        """Whether a server has answered; without servers always."""
        return not self.links or any(link.up for link in self.links)

    @property
    def dependent(self) -> bool:
        """Whether our mapping is known to depend on the destination: servers' ports see different ports of ours."""
        return self._nat.known(self.candidates)[0]

    @property
    def translated(self) -> bool:
        """Whether a server sees us at an address that no interface of ours has."""
        return self._nat.known(self.candidates)[1]

    @property
    def hub(self) -> Peer | None:
        """The server that ends our tunnel in hub mode."""
        return next((link.peer for link in self.links if link.up and link.hub), None)

    def of(self, key: bytes) -> ServerLink | None:
        """Return the link to the server with this public key."""
        return self._by_key.get(key)

    def at(self, endpoint: Endpoint) -> ServerLink | None:
        """Return the link that uses this endpoint."""
        return next((link for link in self.links if link.endpoint == endpoint), None)

    def knowing(self, peer: Peer) -> ServerLink | None:
        """Return a server that the peer is registered with, as we are."""
        return next((link for link in self.links if link.up and peer.online.get(link.index)), None)

    def hosts(self) -> set[str]:
        """Return the hosts of all servers, names and literal addresses."""
        return {host for link in self.links for host in link.hosts()}

    def renew(self, certificate: str, now: float) -> None:
        """We have a new certificate: introduces us to all servers by it, under new keys, while the old ones hold."""
        for link in self.links:
            link.renew(certificate, now)
        self._outbox.wake(now)

    def unreached(self) -> set[str]:
        """Return the hosts of those that do not answer."""
        return {host for link in self.links if not link.up for host in link.hosts()}

    def host_found(self, host: str, address: str, now: float) -> None:
        """Note that a name has been looked up."""
        for link in self.links:
            if host in link.hosts() and link.host_found(host, address, now):
                self._outbox.events.append(f"server {link.entry.name} is at {address}")
                relays.changed(self._peers, self.links, self._outbox, now)
        self._outbox.wake(now)

    def start(self, now: float) -> None:
        """Begins to connect."""
        for link in self.links:
            link.start(now)
        self._outbox.wake(now)

    def doubt(self, path: Path, now: float) -> None:
        """Nothing comes back on a relayed path."""
        link = self.at(path.endpoint)
        if link is not None:
            link.doubt(now)
            self._outbox.wake(now)

    def network_changed(self, candidates: Sequence[reflexive.Candidate], now: float) -> None:
        """Tell all servers these candidates of ours; where they saw us is no address of ours any more."""
        self.candidates = list(candidates)
        for link in self.links:
            link.moved(now)
            link.seen_as = None
        self.greet(now)

    def greet(self, now: float, but: ServerLink | None = None) -> None:
        """Tells all servers, or all but one, our candidates."""
        for link in self.links:
            if link is not but:
                link.greet(now)
        self._outbox.wake(now)

    def deadline(self) -> float:
        """When something is due."""
        return min([link.deadline() for link in self.links], default=math.inf)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for link in self.links:
            if link.deadline() <= now:
                self._tick(link, now)

    def _tick(self, link: ServerLink, now: float) -> None:
        outbox = self._outbox
        request = link.stun_request(now)
        if request is not None and self._config.direct:
            outbox.main.append(request)
        link.peer.due_s = self._probing.tick(link.peer, now) if link.peer.mtus else math.inf
        was_up = link.up
        if link.up and (link.hello_unanswered or not link.peer.session.usable(now)):
            link.doubt(now)
        link.introduce_again(now)
        initiation, keepalive = self._tunnel.tick(link.peer.session, now)
        if initiation is not None:
            for endpoint in link.ways():
                outbox.main += [(link.introduction(now), endpoint), (initiation, endpoint)]
        if keepalive is not None:
            outbox.main.append((keepalive, link.endpoint))
        if now >= link.udp_probe_s:
            link.udp_probe_s = now + UDP_PROBE_S
            ping = control.frame(control.PING, self._rng(control.TRANSACTION_LEN))
            outbox.send_sealed(link.peer, ping, Path(link.udp), now)
        if now >= link.greeting.due_s:
            hub = self._config.mode == "hub"
            told = reflexive.told_to(link, self.links, self.candidates) if self._config.direct else []
            hello = link.hello(told, direct=self._config.direct, hub=hub, now=now)
            if hello is not None:
                outbox.send_sealed(link.peer, hello, Path(link.endpoint), now)
        if was_up and not link.up:
            outbox.events.append(f"server {link.entry.name} does not answer any more")
            relays.changed(self._peers, self.links, self._outbox, now)

    # --- what they say

    def on_stun(self, transaction: bytes, mapped: Endpoint, now: float) -> None:
        """Note that a STUN server has told where it sees us."""
        for link in self.links:
            before = link.mapped
            if link.on_stun(transaction, mapped, now) and link.mapped != before:
                self.greet(now)

    def on_established(self, link: ServerLink, now: float) -> None:
        """There are new keys with a server."""
        link.on_established(now)
        self._outbox.wake(now)

    def on_update(self, link: ServerLink, update: Update, now: float) -> None:
        """Return a server's UPDATE."""
        was_up, was_seen_as, was_epoch = link.up, link.seen_as, link.epoch
        entries = link.on_update(update, now)
        if link.epoch != was_epoch and was_epoch:
            relays.started_again(self._peers, link.index)
            relays.changed(self._peers, self.links, self._outbox, now)
        if link.up and not was_up:
            self._outbox.events.append(f"server {link.entry.name} answers; we are {link.seen_as or 'unseen'} to it")
            relays.changed(self._peers, self.links, self._outbox, now)
        if link.seen_as != was_seen_as:
            self.greet(now, but=link)
            for other in self.links if was_seen_as is not None else ():
                other.moved(now)  # else the old port would look like a mapping that depends on the destination
        self._take_entries(link, entries, update.end, now)
        self._outbox.wake(link.deadline())

    def _take_entries(
        self, link: ServerLink, entries: Sequence[Member | PolicyPart], revision: int, now: float
    ) -> None:
        for entry in entries:
            try:
                if isinstance(entry, PolicyPart):
                    text = link.policy_parts.add(entry)
                    if text is not None:
                        self._peers.set_policy(text)
                else:
                    self._on_member(link, entry, revision, now)
            except CredentialError as error:
                self._outbox.events.append(f"{link.entry.name} told us of a member that we refuse: {error}")

    def _on_member(self, link: ServerLink, entry: Member, revision: int, now: float) -> None:
        text = entry.certificate
        link.listed = link.listed or text == link.certificate
        peer = self._peers.admit(text, now)
        if peer is None or link.told.get(peer.session.remote, 0) > revision:
            return
        link.told[peer.session.remote] = revision
        assert peer.finder is not None
        link.by_number.pop(peer.numbers.get(link.index, 0), None)
        peer.numbers[link.index] = entry.relay
        link.by_number[entry.relay] = peer.session.remote
        if entry.seen is not None:
            peer.seen[link.index] = entry.seen
        came = entry.online and not peer.online.get(link.index)
        peer.online[link.index] = entry.online
        if self._config.mode == "hub":
            # Only our own configuration may say so: a server that could would read what was meant for the peer.
            peer.hub_servers.add(link.index)
            self._plane.routes.assign(peer, link.peer)
            return
        peer.finder.set_relays(relays.relays_of(peer, self.links), now)
        for kind, host, port in entry.candidates if entry.direct else ():
            peer.finder.add((host, port), kind, now)
        if came and not peer.session.usable(now):
            relayed = bool(peer.finder.relays)
            # The directory is a log: who stands before us was there before us.
            waits = not link.listed and relayed
            peer.session.hurry(now)
            # Its way to the server is hardly ever much longer than ours; and where it is, asking twice is no harm.
            peer.session.expected_s = RELAYED_RTTS * link.rtt_s if relayed else 0.0
            if waits:
                peer.session.defer(now + DEFER_S * self._tunnel.slower())
        peer.due_s = now
        self._outbox.wake(now)

    # --- how they are reached

    def heard(self, link: ServerLink, endpoint: Endpoint, now: float) -> None:
        """Note that a server has answered from this endpoint; use it, UDP or TLS."""
        if endpoint != link.endpoint and endpoint in (link.udp, link.tls):
            link.endpoint = endpoint
            link.udp_probe_s = now + UDP_PROBE_S if endpoint == link.tls else math.inf
            link.greet(now)
            link.peer.take(Path(endpoint))
            relays.changed(self._peers, self.links, self._outbox, now)

    def stream_opened(self, index: int, now: float) -> None:
        """Note that the driver has a TLS connection to server `index`; try it in addition to UDP."""
        link = self.links[index]
        link.tls_open = True
        link.peer.session.hurry(now)
        self._outbox.wake(now)

    def stream_closed(self, index: int, now: float) -> None:
        """Note that such a connection is over."""
        link = self.links[index]
        link.tls_open = False
        if link.endpoint == link.tls:
            link.lost(now)
            self.heard(link, link.udp, now)
            relays.changed(self._peers, self.links, self._outbox, now)
        self._outbox.wake(now)
