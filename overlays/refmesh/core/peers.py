"""The peers of a node: who is admitted, who is removed, and which path each is reached on."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from overlays.refmesh.config import NodeConfig, PeerEntry
from overlays.refmesh.core import packets
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import PathFinder
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.directory import Directory
from overlays.refmesh.core.hosts import is_name
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.peer import DIRECT_RETRY_S, RETRY_S, Peer
from overlays.refmesh.core.puncher import Puncher
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.errors import CredentialError
from overlays.refmesh.keys import Rng, short

MAX_PEERS = 4096


class Peers:
    """All peers by their public key."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        tunnel: Tunnel,
        directory: Directory,
        plane: DataPlane,
        puncher: Puncher,
        outbox: Outbox,
        lifetime: Lifetime,
        rng: Rng,
    ) -> None:
        self.by_key: dict[bytes, Peer] = {}
        self._ends: list[tuple[float, bytes]] = []
        """A heap: when which key's certificate ends."""
        self._by_text: dict[str, Peer] = {}
        self._by_name: dict[str, Peer] = {}
        """Members, each the one that its certificate's name stands for."""
        self._config, self._tunnel, self._directory = config, tunnel, directory
        self._plane, self._puncher, self._outbox = plane, puncher, outbox
        self._lifetime, self._rng = lifetime, rng
        self._named: list[tuple[str, int, Peer]] = []
        """Static peers whose endpoint has a name: name, port, peer."""
        self._static = config.peers
        for entry in config.peers:
            self._add_static(entry)

    def admit(self, text: str, now: float) -> Peer | None:
        """Return the peer that a certificate is about, a new one perhaps; None for ourselves.

        A key and a serial are the identity, not the text that says so. A newer certificate of the same key takes the
        older one's place; who has another key, and the name or an address of somebody known, gets them when its
        handshake completes (`confirmed`), and only by a newer certificate. CredentialError: not believed, or older.
        """
        known = self._by_text.get(text)
        if known is not None:
            return known
        certificate = self._directory.certify(text, now)
        if certificate is None:
            return None
        peer = self.by_key.get(certificate.key)
        rivals = self._rivals(certificate)
        if (peer is not None and peer.certificate is None) or any(rival.certificate is None for rival in rivals):
            raise CredentialError(f"{certificate.name} is one of our own static peers")
        if any(not certificate.supersedes(rival.certificate) for rival in rivals if rival.certificate is not None):
            raise CredentialError(f"the certificate of {certificate.name} is older than the one known")
        if peer is not None and peer.certificate is not None:
            if certificate.supersedes(peer.certificate) and not rivals:
                self._recertify(peer, certificate)
            elif certificate.supersedes(peer.successor or peer.certificate):
                peer.successor = certificate
                peer.session.want(now)
                self._outbox.due(peer, now)
            return peer
        if len(self.by_key) >= MAX_PEERS:
            raise CredentialError(f"no room for {certificate.name}")
        peer = self._make(certificate)
        peer.contested = bool(rivals)
        self._add(peer)
        self._by_text[text] = peer
        if not rivals:
            self._take_names(peer, certificate)
        self._outbox.events.append(
            f"knows {certificate.name} ({short(certificate.key)}) at {', '.join(certificate.addresses)}"
        )
        return peer

    def confirmed(self, peer: Peer) -> bool:
        """Let a certificate count, whoever had its names before: the peer's handshake is complete. False: not so."""
        wanted, peer.successor = peer.successor or peer.certificate, None
        if wanted is None or (wanted is peer.certificate and not peer.contested):
            return True
        rivals = self._rivals(wanted)
        if any(rival.certificate is None or not wanted.supersedes(rival.certificate) for rival in rivals):
            if peer.contested:
                self._remove(peer)
            return not peer.contested
        peer.contested = False
        for rival in rivals:
            if rival.successor is None:
                self._remove(rival)
            else:  # it is to be somebody else: when its own handshake completes
                rival.contested, successor, rival.successor = True, rival.successor, None
                self._recertify(rival, successor, named=False)
        self._recertify(peer, wanted)
        return True

    def set_policy(self, text: str) -> None:
        """Take a network document if it is the authority's and newer than ours; CredentialError when it is not."""
        if not self._directory.take_policy(text):
            return
        for peer in list(self.by_key.values()):
            if peer.certificate is not None and self._directory.revoked(peer.certificate):
                self._outbox.events.append(f"{peer.name} is revoked")
                self._plane.refuse(peer)
                self._remove(peer)
            if peer.successor is not None and self._directory.revoked(peer.successor):
                peer.successor = None
        self.rules_changed()

    def rules_changed(self) -> None:
        """Apply the rules that are now in force between us and each member to what passes from now on."""
        for peer in self.by_key.values():
            self._apply_rules(peer)

    def expire(self, now: float) -> None:
        """Forgets the peers whose certificates have ended."""
        while self._ends and self._ends[0][0] < now:
            _, key = heapq.heappop(self._ends)
            peer = self.by_key.get(key)
            if peer is not None and peer.certificate is not None and self._directory.ends_s(peer.certificate) < now:
                self._outbox.events.append(f"the certificate of {peer.name} has expired")
                self._remove(peer)

    def clock_set(self, now: float) -> None:
        """Note that the wall clock has been set: certificates end at other times of ours."""
        members = ((key, peer.certificate) for key, peer in self.by_key.items())
        self._ends = [(self._directory.ends_s(held), key) for key, held in members if held is not None]
        heapq.heapify(self._ends)
        self._outbox.wake(now)

    def next_end_s(self) -> float:
        """When `expire` has something to do."""
        return self._ends[0][0] if self._ends else math.inf

    def use(self, peer: Peer, path: Path | None, now: float) -> None:
        """From now on sends to a peer on this path."""
        if path is None or not peer.take(path):
            return
        if path.direct and peer.direct_s is None:
            peer.direct_s = now
        way = "directly at" if path.direct else "by relay"
        self._outbox.events.append(f"{peer.name} is reached {way} {path.endpoint[0]}:{path.endpoint[1]}")

    def recheck(self, now: float) -> None:
        """Note that the network has changed: all paths are checked again."""
        for peer in self.by_key.values():
            if peer.finder is not None:
                peer.finder.moved(now)
                self.use(peer, peer.finder.best, now)
            peer.due_s = now

    def reload(self, entries: Sequence[PeerEntry], now: float) -> None:
        """Take these as the static peers. Those that stay keep their keys, and their place if none is new."""
        before, after = ({entry.public_key: entry for entry in some} for some in (self._static, entries))
        places = {}
        for key, old in before.items():
            peer, new = self.by_key[key], after.get(key)
            if new is None or new.preshared_key != old.preshared_key:
                self._remove(peer)
            elif new != old:
                if new.endpoint == old.endpoint:
                    places[key] = peer.path
                self._plane.forget(peer)
                peer.schedule.forget(peer)
                del self.by_key[key]
        self._named = [named for named in self._named if self.by_key.get(named[2].session.remote) is named[2]]
        for key, entry in after.items():
            if key not in self.by_key:
                self._add_static(entry)
                if key in places:
                    self.by_key[key].take(places[key])
                self._outbox.due(self.by_key[key], now)
        self._static = tuple(entries)

    def hosts(self) -> set[str]:
        """Return the names of static peers' endpoints."""
        return {host for host, _, _ in self._named}

    def unreached(self, now: float) -> set[str]:
        """Those of them whose peers there are no keys with, though they are wanted: they may have moved."""
        return {
            host
            for host, _, peer in self._named
            if not peer.session.usable(now) and (peer.session.persistent_s or peer.session.staged)
        }

    def host_found(self, host: str, address: str, now: float) -> None:
        """Note that a name has been looked up; who answers elsewhere stays there, as it may have roamed."""
        for name, port, peer in self._named:
            if name == host and (peer.path is None or not peer.session.usable(now)):
                moved = peer.take(Path((address, port)))
                if moved and (peer.session.persistent_s or peer.session.staged):
                    peer.session.hurry(now)
                self._outbox.due(peer, now)

    def _make(self, certificate: Certificate) -> Peer:
        mode = self._config.mode
        finder = PathFinder(
            self._rng,
            direct=self._config.direct,
            relayed=mode in ("mesh", "relay"),
            reflexive=self._config.traversal != "plain",
            lifetime=self._lifetime,
        )
        session = self._tunnel.add(certificate.key, retry_s=DIRECT_RETRY_S if mode == "direct" else RETRY_S)
        hosts = [packets.host_network(address) for address in certificate.addresses]
        peer = Peer(certificate.name, session, hosts, finder=finder, certificate=certificate)
        self._apply_rules(peer)
        heapq.heappush(self._ends, (self._directory.ends_s(certificate), certificate.key))
        return peer

    def _add(self, peer: Peer) -> None:
        self.by_key[peer.session.remote] = peer
        peer.schedule = self._outbox.schedule
        peer.due_s = 0.0

    def _apply_rules(self, peer: Peer) -> None:
        before, peer.access = peer.access, self._directory.access_to(peer.certificate)
        if before is not None and peer.access is not None:
            peer.access.inherit(before)

    def _take_names(self, peer: Peer, certificate: Certificate) -> None:
        self._by_name[certificate.name] = peer
        self._plane.routes.assign(peer, peer)

    def _rivals(self, certificate: Certificate) -> list[Peer]:
        hosts = [self._plane.routes.owner(packets.packed_host(address)) for address in certificate.addresses]
        found = {id(other): other for other in (self._by_name.get(certificate.name), *hosts) if other is not None}
        return [other for other in found.values() if other.session.remote != certificate.key]

    def _recertify(self, peer: Peer, certificate: Certificate, *, named: bool = True) -> None:
        assert peer.certificate is not None
        newer = certificate is not peer.certificate
        self._by_text.pop(peer.certificate.text, None)
        if self._by_name.get(peer.name) is peer:
            del self._by_name[peer.name]
        self._plane.routes.remove(peer)
        peer.certify(certificate, [packets.host_network(address) for address in certificate.addresses])
        self._apply_rules(peer)
        heapq.heappush(self._ends, (self._directory.ends_s(certificate), certificate.key))
        self._by_text[certificate.text] = peer
        if named:
            self._take_names(peer, certificate)
        if newer:
            self._outbox.events.append(f"{certificate.name} has a newer certificate")

    def _remove(self, peer: Peer) -> None:
        self._plane.forget(peer)
        self._puncher.forget(peer)
        self._tunnel.remove(peer.session.remote)
        self.by_key.pop(peer.session.remote, None)
        peer.schedule.forget(peer)
        if peer.certificate is not None:
            self._by_text.pop(peer.certificate.text, None)
        if self._by_name.get(peer.name) is peer:
            del self._by_name[peer.name]

    def _add_static(self, entry: PeerEntry) -> None:
        session = self._tunnel.add(entry.public_key, entry.preshared_key or bytes(32))
        session.persistent_s = session.tireless_s = float(entry.persistent_keepalive_s)
        peer = Peer(short(entry.public_key), session, entry.allowed_ips)
        if entry.endpoint is not None and is_name(entry.endpoint.host):
            self._named.append((entry.endpoint.host, entry.endpoint.port, peer))
        elif entry.endpoint is not None:
            peer.take(Path((entry.endpoint.host, entry.endpoint.port)))
        self._add(peer)
        self._plane.routes.assign(peer, peer)
