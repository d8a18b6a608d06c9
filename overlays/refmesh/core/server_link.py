"""A node's relation to one server: registered or not, what it is seen as, how much of the directory it has.

| state | event | then |
|---|---|---|
| down | due | introduction and handshake initiation; again after 0.1 s, slower with time |
| down | session established | HELLO |
| greeting | UPDATE that answers | up: its relay can be used |
| up | five HELLOs in a row unanswered | down, as if never connected |
"""

from __future__ import annotations

import math
from typing import Any

from overlays.refmesh.config import ServerEntry
from overlays.refmesh.core import introduction
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import SILENCE_S
from overlays.refmesh.core.coordination import MAX_SPANS, PolicyParts
from overlays.refmesh.core.greeting import Greeting
from overlays.refmesh.core.hosts import with_addresses
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.core.peer import RETRY_S, Peer
from overlays.refmesh.core.spans import Span, gaps, joined
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import control, stun
from overlays.refmesh.wire.bodies import Member, PolicyPart, Update
from overlays.refmesh.wire.control import Endpoint

STUN_INTERVAL_S = 25.0
STUN_RETRY_S = 0.25
STUN_TRIES = 8
MAX_RTT_S = 2.0
"""A round trip that took longer says nothing of the next."""
AWAY_RETRY_S = 15.0
"""A server that has been silent for 90 s is tried so often, for ever: without any, no new member is found."""
DOUBT_S = 5.0
UNLISTED_S, UNLISTED_AGAIN_S = 2.0, 60.0
"""So long after a handshake a server may take to tell us of ourselves; it does in its answer to the first HELLO."""
TLS_RETRY_S = 5.0
TLS_AFTER_S = 1.0
"""So long UDP may be silent before TLS is tried; a lost datagram or two should not lead to a stream."""


class ServerLink:
    """The link to server number `index` of the configuration."""

    def __init__(
        self, index: int, entry: ServerEntry, tunnel: Tunnel, *, certificate: str, rng: Rng, lifetime: Lifetime
    ) -> None:
        self._named = entry
        """As the configuration has it."""
        self.index, self.entry = index, with_addresses(entry, {})
        """With literal addresses; without one that is not known yet."""
        self.udp: Endpoint = (self.entry.endpoint.host, entry.endpoint.port)
        """With an empty host while it is not known."""
        self.tls: Endpoint = ("tls", index)
        self.endpoint = self.udp
        self.peer = Peer(entry.name, tunnel.add(entry.public_key, retry_s=RETRY_S), (), any_source=True)
        self.peer.session.tireless_s = AWAY_RETRY_S
        self.peer.due_s = math.inf
        self.peer.take(Path(self.udp))
        self.up = False
        self.tls_open = False
        self.udp_probe_s = math.inf
        """When to see whether UDP works again."""
        self.hub = False
        self.seen_as: Endpoint | None = None
        """Our address as the server sees it on the tunnel's port."""
        self.mapped: Endpoint | None = None
        """Our address as STUN sees it on another port: differs with address-and-port-dependent mapping."""
        self.epoch, self.rev = "", 0
        self.have: list[Span] = []
        """Spans of the directory's log that have come before what lies between."""
        self.by_number: dict[int, bytes] = {}
        """The key of the member with a relay number."""
        self.told: dict[bytes, int] = {}
        """The end of the UPDATE that last told of a member, by its key: what was overtaken is not news."""
        self.policy_parts = PolicyParts()
        self.greeting = Greeting(lifetime)
        self.tls_due_s = 0.0
        self.listed = False
        """Whether our own entry of the directory has come; those that follow are newcomers."""
        self.certificate, self._rng = certificate, rng
        self._doubted_s, self._introduce_s = -math.inf, math.inf
        self._found: dict[str, str] = {}
        self._stun = b""
        self._stun_due_s, self._stun_tries = 0.0, 0
        self._stun_sent_s = -math.inf

    @property
    def hello_unanswered(self) -> bool:
        """Whether a HELLO has been repeated, and still has no answer."""
        return self.greeting.unanswered > 1

    @property
    def rtt_s(self) -> float:
        """The round trip to the server, as the last handshake took."""
        return min(self.peer.session.rtt_s, MAX_RTT_S)

    def start(self, now: float) -> None:
        """Begins to connect."""
        self.tls_due_s = now + TLS_AFTER_S
        self.peer.session.want(now)

    def hosts(self) -> set[str]:
        """Return the hosts that the configuration names, literal or not."""
        return {place.host for place in (self._named.endpoint, self._named.stun, self._named.tls) if place is not None}

    def host_found(self, host: str, address: str, now: float) -> bool:
        """Note that a name has been looked up; return whether the server is thus reached elsewhere."""
        self._found[host] = address
        self.entry = with_addresses(self._named, self._found)
        before, self.udp = self.udp, (self.entry.endpoint.host, self.entry.endpoint.port)
        if self.udp == before:
            return False
        if self.up and self.endpoint == self.tls:
            return False  # UDP is tried there from time to time
        self.endpoint = self.udp
        self.peer.take(Path(self.udp))
        if self.up:
            self.lost(now)
        else:
            self.peer.session.forget_all()
            self.peer.session.hurry(now)
        self._stun_due_s = now
        return True

    def on_established(self, now: float) -> None:
        """Note that the session has new keys: the server may be another one than it was, so it is greeted."""
        self.greeting.begin(now)
        self._introduce_s = now + UNLISTED_S

    def renew(self, certificate: str, now: float) -> None:
        """Introduce us by a new certificate, under new keys, while the old ones hold."""
        self.certificate, self.listed = certificate, False
        self.peer.session.want(now)

    def introduce_again(self, now: float) -> None:
        """Do so once more where it is time and the server does not tell of us by our certificate: the introduction was
        lost, or the handshake that came after it had begun before."""
        if now < self._introduce_s:
            return
        self._introduce_s = math.inf
        if self.up and not self.listed:
            self._introduce_s = now + UNLISTED_AGAIN_S
            self.peer.session.want(now)

    def doubt(self, now: float) -> None:
        """Doubt a server by whose relay nothing comes: it may have started again, and not know our keys any more.

        It is asked for new ones, while the old ones hold.
        """
        heard_s = self.peer.session.last_received_s
        if self.up and now - heard_s > SILENCE_S and now - self._doubted_s > DOUBT_S:
            self._doubted_s = now
            self.peer.session.want(now)

    def on_update(self, update: Update, now: float) -> list[Member | PolicyPart]:
        """Take an UPDATE; return the entries that are news."""
        if self.greeting.answered(update.seq, now):
            self.up = True
        self.hub = update.hub
        if update.you is not None:
            self.seen_as = update.you
        if update.epoch != self.epoch:
            self.epoch, self.rev, self.have, self.listed = update.epoch, 0, [], False
            self.told.clear()
            self.by_number.clear()
        span = (update.start, update.end)
        if next(gaps(*span, [(0, self.rev), *self.have]), None) is None:
            if update.start < update.end:
                self.greeting.learned(now)  # told again: the one before was lost
            return []
        spans = joined([(0, self.rev), *self.have, span])
        if len(spans) > MAX_SPANS:
            return []  # it comes again, when there are fewer holes
        (_, self.rev), *self.have = spans
        self.greeting.learned(now)
        return update.entries

    def greet(self, now: float) -> None:
        """Something that the server should know has changed."""
        self.greeting.news(now, up=self.up)

    def hello(self, candidates: list[list[Any]], *, direct: bool, hub: bool, now: float) -> bytes | None:
        """Return the HELLO that is due, as a control frame; None: none is, or the server is now held for lost."""
        said = self.greeting.said(candidates, self.rtt_s, now)
        if said is None:
            self.lost(now)
            return None
        told, quiet = said
        body = {
            "seq": self.greeting.seq,
            "candidates": told,
            "direct": direct,
            "hub": hub,
            "epoch": self.epoch,
            "rev": self.rev,
            "have": self.have,
            "quiet": quiet,
        }
        return control.json_frame(control.HELLO, body)

    def lost(self, now: float) -> None:
        """Note that the server does not answer; connect again."""
        if self.up:
            self.tls_due_s = now + TLS_AFTER_S
        self.up = False
        self.greeting.reset()
        self.peer.session.forget_all()
        self.peer.session.hurry(now)

    def introduction(self, now: float) -> bytes:
        """Return what goes before a handshake initiation while the server may not know us."""
        session = self.peer.session
        key, suite = self.entry.public_key, session.suite
        return introduction.write(self.certificate, key, session.macs, self._rng, now, suite=suite)

    def wants_tls(self, now: float) -> bool:
        """Whether a TLS stream should be tried now: UDP is silent, and the server offers one. Asking counts."""
        if self.up or self.entry.tls is None or self.tls_open or now < self.tls_due_s:
            return False
        self.tls_due_s = now + TLS_RETRY_S
        return True

    def ways(self) -> list[Endpoint]:
        """Where a handshake goes: all ways while the server is down, else the one in use."""
        if self.up:
            return [self.endpoint]
        return [way for way in ((self.udp, self.tls) if self.tls_open else (self.udp,)) if way[0]]

    def stun_request(self, now: float) -> tuple[bytes, Endpoint] | None:
        """Return the Binding request that is due, and where it goes."""
        if self.entry.stun is None or now < self._stun_due_s:
            return None
        if not self._stun:
            self._stun, self._stun_tries = self._rng(stun.TRANSACTION_LEN), 0
        self._stun_tries, self._stun_sent_s = self._stun_tries + 1, now
        self._stun_due_s = now + (STUN_RETRY_S if self._stun_tries < STUN_TRIES else STUN_INTERVAL_S)
        return stun.request(self._stun), (self.entry.stun.host, self.entry.stun.port)

    def moved(self, now: float) -> None:
        """Note that we are elsewhere: what STUN has said is of no use, nor what it will say to the last request."""
        self.mapped, self._stun = None, b""
        self._stun_due_s = max(now, self._stun_sent_s + STUN_RETRY_S)

    def on_stun(self, transaction: bytes, mapped: Endpoint, now: float) -> bool:
        """Take a STUN answer; False when it is not to this link's request."""
        if not self._stun or transaction != self._stun:
            return False
        self._stun, self._stun_due_s = b"", now + STUN_INTERVAL_S
        self.mapped = mapped
        return True

    def deadline(self) -> float:
        """When something is due here."""
        stun_due_s = self._stun_due_s if self.entry.stun is not None else math.inf
        tls_due_s = self.tls_due_s if self.entry.tls is not None and not self.tls_open else math.inf
        look_s = self.udp_probe_s if self.up else tls_due_s
        introduce_s = math.inf if self.listed else self._introduce_s
        peer = self.peer
        return min(self.greeting.due_s, introduce_s, stun_due_s, look_s, peer.due_s, peer.session.deadline())

    def status(self, now: float) -> dict[str, Any]:
        """Return the server for the status socket."""
        return {
            "name": self.entry.name,
            "up": self.up,
            "endpoint": "{}:{}".format(*self.endpoint),
            "transport": "tls" if self.endpoint[0] == "tls" else "udp",
            "seen_as": "{}:{}".format(*self.seen_as) if self.seen_as else None,
            "mapped": "{}:{}".format(*self.mapped) if self.mapped else None,
            "handshake_s_ago": round(now - self.peer.session.established_s, 3) if self.peer.session.current else None,
        }
