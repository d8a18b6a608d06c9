"""All sessions of one static key: finds whom a message is from, and answers handshakes.

Silence is the rule (WireGuard paper, section 5.1): a message that does not authenticate has no effect and no answer,
but for the cookie reply that a busy responder gives to somebody who knows its public key.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

from overlays.refmesh.core import noise
from overlays.refmesh.core.cookie import Gate
from overlays.refmesh.core.keypair import REJECT_AFTER_S, Keypair
from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.core.ratelimit import RateLimiter
from overlays.refmesh.core.session import PENDING_INITIATIONS, REKEY_TIMEOUT_S, Session
from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import control, messages
from overlays.refmesh.wire.control import Endpoint

BUSY_HANDSHAKES_PER_S, BUSY_BURST, BUSY_S = 400.0, 400, 1.0
"""More than a tenth of a processor's time, at 0.25 ms each. Where it was more, cookies are asked for so long."""
CROWD = 8
"""With more handshakes under way than this, each waits longer for its answer, in proportion, as RFC 8445, section 14.3,
lets the retransmission timeout grow with the number of checks: what many ask for at once comes late, and asking again
makes it later."""
_INDEX = struct.Struct("<I")


class Input(NamedTuple):
    """What an authentic message brought."""

    session: Session
    payloads: list[bytes]
    """Decrypted packets, still padded; a keepalive is an empty one and not listed."""
    reply: bytes | None = None
    """To be sent back the way that the message came."""
    established: bool = False
    """New keys are in use from now on; staged packets can go."""
    keypair: Keypair | None = None
    """The keys that an initiation and its reply have made: whoever sends the reply notes in them where it goes."""


class Tunnel:
    """The responder and initiator for one static key."""

    def __init__(self, private: bytes, rng: Rng, unix_offset_s: float, suite: noise.Suite = noise.REAL) -> None:
        """`unix_offset_s`: what to add to `now` to get Unix time."""
        self.static = suite.static(private)
        self.sessions: dict[bytes, Session] = {}
        self._rng = rng
        self.unix_offset_s = unix_offset_s
        """Whoever drives this sets it again from time to time, as wall clocks are set."""
        self.initiated_unix_s = 0.0
        """The latest time that an initiation of ours bore, and the earliest that the next one may bear: a responder
        takes no older one, and the wall clock may have been set back since, or be wrong after a restart."""
        self._keypairs: dict[int, tuple[Session, Keypair]] = {}
        self._pending: dict[int, Session] = {}
        self._gate = Gate(self.static.public, rng)
        self._asked = Pacer(BUSY_HANDSHAKES_PER_S, BUSY_BURST)
        self._busy_until_s = -math.inf
        self._limiter = RateLimiter()
        self._crowd: set[Session] = set()

    def add(self, remote: bytes, psk: bytes = noise.NO_PSK, retry_s: Sequence[float] = (REKEY_TIMEOUT_S,)) -> Session:
        """From now on accepts sessions with this peer."""
        if remote not in self.sessions:
            self.sessions[remote] = Session(self.static, remote, self._rng, psk, retry_s)
            self.sessions[remote].crowd = self._crowd
        return self.sessions[remote]

    def remove(self, remote: bytes) -> None:
        """Forgets a peer and its keys."""
        session = self.sessions.pop(remote, None)
        if session is None:
            return
        for index in session.pending:
            self._pending.pop(index, None)
        for keypair in (session.current, session.previous, *session.unconfirmed):
            if keypair is not None:
                self._keypairs.pop(keypair.local_index, None)
        self._free(session)
        session.crowd = set()
        self._crowd.discard(session)

    def initiate(self, session: Session, now: float) -> bytes:
        """Return a handshake initiation, to be sent on every way that may lead to the peer."""
        while len(session.pending) >= PENDING_INITIATIONS:
            self._pending.pop(session.give_up_oldest(), None)
        index = self._new_index()
        self._pending[index] = session
        self.initiated_unix_s = max(self.initiated_unix_s, self.unix_offset_s + now)
        return session.initiate(index, self.initiated_unix_s, now, self.slower())

    def slower(self) -> float:
        """How many times longer than usual an answer is waited for; 1 unless many handshakes are under way."""
        return max(1.0, len(self._crowd) / CROWD)

    def tick(self, session: Session, now: float) -> tuple[bytes | None, bytes | None]:
        """Return what is due for one session: (an initiation, a keepalive), each None when it is not."""
        if _idle(session, now):
            return None, None
        session.check_answer(now)
        session.forget_old_keys(now)
        self._free(session)
        initiation = self.initiate(session, now) if now >= session.attempt_due_s else None
        return initiation, session.keepalive(now)

    def receive(self, datagram: bytes, source: Endpoint, now: float, relay: int = 0) -> Input | bytes | None:
        """Take one message of type 1 to 4 from `source`, or from whom a relay there has this number for.

        Returns what an authentic one brought, the cookie reply for one that has to come again, or None.
        """
        kind = messages.message_type(datagram)
        if kind == messages.TRANSPORT:
            return self.receive_run((datagram,), now)
        try:
            if kind == messages.INITIATION and len(datagram) == messages.INITIATION_LEN:
                return self._on_initiation(datagram, source, relay, now)
            if kind == messages.RESPONSE and len(datagram) == messages.RESPONSE_LEN:
                return self._on_response(datagram, source, relay, now)
            if kind == messages.COOKIE_REPLY and len(datagram) == messages.COOKIE_REPLY_LEN:
                index = messages.COOKIE_HEAD.unpack_from(datagram)[1]
                # It may answer an initiation, or a response: a busy initiator asks for proof as well.
                session = self._pending.get(index) or self._keypairs.get(index, (None, None))[0]
                if session is not None:
                    session.macs.accept_reply(datagram, now)
        except MalformedMessage:
            pass
        return None

    def receive_run(self, datagrams: Sequence[bytes | memoryview], now: float) -> Input | None:
        """Take transport messages of one session that came together from one source."""
        found = self.keypair_of(datagrams[0])
        if found is None or not found[1].usable(now):
            return None
        session, keypair = found
        payloads = keypair.open_many(datagrams)
        if not payloads:
            return None
        return self.accepted(session, keypair, payloads, now)

    def accepted(self, session: Session, keypair: Keypair, payloads: list[bytes], now: float) -> Input:
        """Note decrypted payloads of a session."""
        packets = payloads if all(payloads) else [payload for payload in payloads if payload]
        established = session.received(keypair, bool(packets), now)
        if established:
            self._free(session)
        return Input(session, packets, None, established)

    def keypair_of(self, datagram: bytes | memoryview) -> tuple[Session, Keypair] | None:
        """Whose message this is, by its receiver index."""
        if len(datagram) < messages.TRANSPORT_MIN_LEN:
            return None
        return self._keypairs.get(_INDEX.unpack_from(datagram, 4)[0])

    def welcome(self, message: bytes, source: Endpoint, now: float) -> bool:
        """Whether a message that ends with mac1 and mac2 is worth the work of opening it.

        Not, without a MAC that only who knows our key can make. Where much work is asked for, not without the cookie
        that proves that the sender receives at its address, and from one source only so often (WireGuard paper, 5.3).
        """
        return self._gate.valid_mac1(message) and self._admits(message, source, 0, now) is True

    def _admits(self, message: bytes, source: Endpoint, relay: int, now: float) -> bool | bytes:
        """Whether to do the work that a message with a valid mac1 asks for; a cookie reply: not without proof."""
        if not self._busy(now):
            return True
        place = b"%d %s" % (relay, control.pack_endpoint(source) if source[0] != "tls" else b"tls %d" % source[1])
        if not self._gate.valid_mac2(message, place, now):
            return self._gate.reply(message, place, now)
        return self._limiter.allows(source, relay, now)

    def _on_initiation(self, datagram: bytes, source: Endpoint, relay: int, now: float) -> Input | bytes | None:
        if not self._gate.valid_mac1(datagram):
            return None
        admitted = self._admits(datagram, source, relay, now)
        if admitted is not True:
            return admitted or None
        received = noise.read_initiation(self.static, datagram[:-32])
        session = self.sessions.get(received.remote)
        if session is None or not session.acceptable(received, now):
            return None
        index = self._new_index()
        response, keys = noise.respond(received, index, self._rng, session.psk)
        keypair = session.responded(keys, now)
        self._keypairs[index] = (session, keypair)
        self._free(session)
        return Input(session, [], session.macs.protect(response, now), keypair=keypair)

    def _on_response(self, datagram: bytes, source: Endpoint, relay: int, now: float) -> Input | bytes | None:
        index = messages.RESPONSE_HEAD.unpack_from(datagram)[2]
        session = self._pending.get(index)
        if session is None or index not in session.pending or not self._gate.valid_mac1(datagram):
            return None
        admitted = self._admits(datagram, source, relay, now)
        if admitted is not True:
            return admitted or None
        keys = session.pending[index].finish(datagram[:-32], session.psk)
        for answered in session.pending:
            self._pending.pop(answered, None)
        session.pending.clear()
        keypair = session.finished(keys, now)
        self._keypairs[index] = (session, keypair)
        self._free(session)
        # The responder may not send before it has heard from us under the new keys.
        return Input(session, [], keypair.seal(b""), established=True)

    def _free(self, session: Session) -> None:
        for index in session.freed:
            self._keypairs.pop(index, None)
        session.freed.clear()

    def _busy(self, now: float) -> bool:
        """Whether so much is asked for that who asks must prove its address first; for a second after it was so."""
        if self._asked.available(now) < 1:
            self._busy_until_s = now + BUSY_S
        else:
            self._asked.take()
        return now < self._busy_until_s

    def _new_index(self) -> int:
        while True:
            index = int(_INDEX.unpack(self._rng(4))[0])
            if index not in self._keypairs and index not in self._pending:
                return index


def _idle(session: Session, now: float) -> bool:
    """Whether nothing is due and no keys are to be dropped: what most looks at a session find."""
    if session.deadline() <= now or session.freed or session.unconfirmed:
        return False
    current, previous = session.current, session.previous
    return (current is None or now - current.born_s < REJECT_AFTER_S) and (
        previous is None or now - previous.born_s < REJECT_AFTER_S
    )
