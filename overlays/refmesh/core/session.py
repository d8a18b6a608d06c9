"""One peer's session: its keypairs, when to shake hands, when to say that one is still there.

Rules and times are the WireGuard paper's, section 6. Where a packet goes is not known here.

| from | event | to |
|---|---|---|
| any | initiation received | a new unconfirmed keypair, answer it |
| unconfirmed keypairs | first message under one | `previous` = `current`, `current` = that one |
| initiation pending | response received | `previous` = `current`, `current` = new keypair |
| `current` older than 120 s, we were its initiator, and something is to be sent | | new handshake |
| `current` older than 180 s | | unusable; new handshake when something is to be sent |
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from overlays.refmesh.core.cookie import Macs
from overlays.refmesh.core.keypair import REJECT_AFTER_S, Keypair
from overlays.refmesh.core.noise import NO_PSK, Initiation, ReceivedInitiation, StaticKey, TransportKeys
from overlays.refmesh.core.timestamp import later, tai64n
from overlays.refmesh.keys import Rng

REKEY_TIMEOUT_S = 5.0
REKEY_ATTEMPT_S = 90.0
KEEPALIVE_TIMEOUT_S = 10.0
MIN_INITIATION_INTERVAL_S = 0.02
STAGED_PACKETS = 256
PENDING_INITIATIONS = 8
NEVER = math.inf


class Session:
    """The state shared with one peer. Times are seconds of the clock that `now` is read from."""

    def __init__(
        self,
        static: StaticKey,
        remote: bytes,
        rng: Rng,
        psk: bytes = NO_PSK,
        retry_s: Sequence[float] = (REKEY_TIMEOUT_S,),
    ) -> None:
        """`retry_s`: waits between one initiation and the next; the last one repeats."""
        self.remote = remote
        self.macs = Macs(remote)
        self.psk = psk
        self.current: Keypair | None = None
        self.previous: Keypair | None = None
        self.unconfirmed: list[Keypair] = []
        """Keys of initiations that we answered, oldest first; which answer arrived, the peer's first message tells."""
        self.pending: dict[int, Initiation] = {}
        self.freed: list[int] = []
        """Indices of keypairs that have been dropped; whoever demultiplexes by index takes them."""
        self.staged: deque[bytes] = deque(maxlen=STAGED_PACKETS)
        self.spoke_s = self.asked_s = self.unanswered_s = -math.inf
        """Last message of ours; last one with data; the first with data since the peer was last heard."""
        self.last_received_s = self.last_data_s = -math.inf
        self.established_s = -math.inf
        self.rtt_s = 0.0
        """How long the peer's answer took in the last handshake."""
        self.expected_s = 0.0
        """How long its answer will take, as far as is known before the first: an initiation is not repeated sooner."""
        self.crowd: set[Session] = set()
        """The sessions of one tunnel with a handshake under way, this one among them if it has."""
        self._attempt_due_s = NEVER
        self.deferred = False
        """Whether the first attempt is left to the peer for a while, unless there is something to send."""
        self.persistent_s = 0.0
        self.tireless_s = 0.0
        """Where attempts over 90 s got no answer, more follow so many seconds apart; 0: none until there is traffic."""
        self.resting = False
        """Whether those 90 s are over: attempts are as rare as `tireless_s` says."""
        self._static, self._rng, self._retry_s = static, rng, retry_s
        self.suite = static.suite
        self._attempts = 0
        self._attempts_since_s = 0.0
        self._sent_s: dict[int, float] = {}
        self._places: dict[int, object] = {}
        """The only way that each of our initiations went; those that went several ways are missing."""
        self._last_timestamp = self._last_own_timestamp = b""
        self._last_initiation_s = -math.inf

    @property
    def attempt_due_s(self) -> float:
        """When the next initiation is to be sent; never: no handshake is under way."""
        return self._attempt_due_s

    @attempt_due_s.setter
    def attempt_due_s(self, at: float) -> None:
        self._attempt_due_s = at
        (self.crowd.discard if at == NEVER or self.resting else self.crowd.add)(self)

    def usable(self, now: float) -> bool:
        """Whether there are keys to send with."""
        return self.current is not None and self.current.usable(now)

    def want(self, now: float) -> None:
        """Asks for a handshake, unless one is under way."""
        if self.attempt_due_s == NEVER:
            self._begin(now)

    def hurry(self, now: float) -> None:
        """Try again at once, at the pace of the first attempts: the peer has become reachable in a new way."""
        if not self.usable(now):
            self._begin(now)

    def defer(self, until_s: float) -> None:
        """Leaves the first attempt to the peer until then; what is to be sent before does not wait so long."""
        self.deferred, self.attempt_due_s = True, until_s

    def initiate(self, index: int, unix_s: float, now: float, slower: float = 1.0) -> bytes:
        """Return a new initiation, complete with its MACs, to be answered to `index`; the earlier ones stay answerable.

        The wait for the answer is `slower` times as long as it would be.
        """
        stamp = self._last_own_timestamp = later(tai64n(unix_s), self._last_own_timestamp)
        self.deferred = False
        handshake = Initiation(self._static, self.remote, index, stamp, self._rng)
        self.pending[index] = handshake
        self._sent_s[index] = now
        wait_s = max(self.expected_s, slower * self._retry_s[min(self._attempts, len(self._retry_s) - 1)])
        self._attempts += 1
        # Up to a third of a second at random, so that two sides that start together do not stay in step.
        self.attempt_due_s = now + wait_s * (1 + self._rng(1)[0] / 255 / 15)
        if now - self._attempts_since_s > REKEY_ATTEMPT_S:
            self.resting = bool(self.tireless_s)
            self.attempt_due_s = now + self.tireless_s if self.resting else NEVER
            self.asked_s = self.last_received_s
            self.staged.clear()
        return self.macs.protect(handshake.message, now)

    def give_up_oldest(self) -> int:
        """Expect no answer to the oldest initiation any more; return its index."""
        index = next(iter(self.pending))
        for kept in (self.pending, self._sent_s, self._places):
            kept.pop(index, None)
        return index

    def went(self, ways: Sequence[object]) -> None:
        """Note which ways the latest initiation goes: its answer proves that the peer receives there, if it is one."""
        if self.pending and len(ways) == 1:
            self._places[next(reversed(self.pending))] = ways[0]

    def acceptable(self, received: ReceivedInitiation, now: float) -> bool:
        """Whether an authentic initiation is new and not part of a flood; remembers it when it is."""
        if received.timestamp <= self._last_timestamp or now - self._last_initiation_s < MIN_INITIATION_INTERVAL_S:
            return False
        self._last_timestamp = received.timestamp
        self._last_initiation_s = now
        return True

    def responded(self, keys: TransportKeys, now: float) -> Keypair:
        """We answered an initiation: its keys wait for the peer's first message."""
        if len(self.unconfirmed) >= PENDING_INITIATIONS:
            self._drop(self.unconfirmed.pop(0))
        self.unconfirmed.append(Keypair(keys, now))
        return self.unconfirmed[-1]

    def finished(self, keys: TransportKeys, now: float) -> Keypair:
        """Our initiation was answered: its keys are in use from now on."""
        keypair = Keypair(keys, now)
        self.rtt_s = now - self._sent_s.get(keys.local_index, now)
        self._sent_s.clear()
        keypair.place = self._places.get(keys.local_index)
        self._places.clear()
        self._drop(self.previous)
        self.previous, self.current = self.current, keypair
        self._established(now)
        return keypair

    def received(self, keypair: Keypair, has_payload: bool, now: float) -> bool:
        """Note an authentic message; True when it is the first one that confirms new keys to the responder."""
        self.last_received_s = now
        if has_payload and self.last_data_s <= self.spoke_s:
            self.last_data_s = now
        if keypair not in self.unconfirmed:
            if keypair.initiator and now - keypair.born_s > REJECT_AFTER_S - KEEPALIVE_TIMEOUT_S - REKEY_TIMEOUT_S:
                self.want(now)
            return False
        self.rtt_s = now - keypair.born_s
        self._drop(self.previous)
        self.previous, self.current = self.current, keypair
        # Older answers are obsolete; a newer one may still be on its way.
        place = self.unconfirmed.index(keypair)
        for older in self.unconfirmed[:place]:
            self._drop(older)
        del self.unconfirmed[: place + 1]
        self._established(now)
        return True

    def heard(self, now: float) -> None:
        """Note an authentic packet under the current keypair, while that is too young to think of new keys."""
        self.last_received_s = now
        if self.last_data_s <= self.spoke_s:
            self.last_data_s = now

    def sealed(self, payloads: Sequence[bytes], now: float, *, hopeful: bool = True) -> list[bytes] | None:
        """Return the messages to send; None, and the packets staged: there are no keys yet. Ask for new keys in time.

        Not `hopeful`: they may well not arrive, so silence after them says nothing about the peer.
        """
        keypair = self.current
        if keypair is None or not keypair.usable(now):
            self.stage(payloads, now)
            return None
        if keypair.stale(now) and keypair.initiator:
            self.want(now)
        if hopeful:
            self.note_sent(now)
        return keypair.seal_many(payloads)

    def stage(self, payloads: Sequence[bytes], now: float) -> None:
        """Keep packets until there are keys, and a way; ask for keys."""
        self.staged.extend(payloads)
        if self.usable(now):
            return
        if self.deferred or self.resting:
            self.hurry(now)
        self.want(now)

    def note_sent(self, now: float) -> None:
        """Note that data went out: no keepalive is due, but an answer is expected within 15 s."""
        if self.asked_s <= self.last_received_s:
            self.unanswered_s = now
        self.spoke_s = self.asked_s = now

    def keepalive(self, now: float) -> bytes | None:
        """Return an empty message when one is due."""
        if now < self._keepalive_due_s():
            return None
        if self.current is None or not self.current.usable(now):
            if self.persistent_s:
                self.spoke_s = now
                self.want(now)
            return None
        if self.current.stale(now) and self.current.initiator:
            self.want(now)  # where keepalives are all that is sent, they keep the keys fresh as well
        self.spoke_s = now
        return self.current.seal(b"")

    def check_answer(self, now: float) -> None:
        """Note that the peer has been silent for 15 s though it was spoken to; ask for a handshake."""
        if now >= self._answer_due_s():
            self.want(now)

    def _keepalive_due_s(self) -> float:
        due_s = self.last_data_s + KEEPALIVE_TIMEOUT_S if self.last_data_s > self.spoke_s else NEVER
        return min(due_s, self.spoke_s + self.persistent_s) if self.persistent_s else due_s

    def _answer_due_s(self) -> float:
        if self.asked_s <= self.last_received_s or self._attempt_due_s != NEVER:
            return NEVER
        return self.unanswered_s + KEEPALIVE_TIMEOUT_S + REKEY_TIMEOUT_S

    def forget_old_keys(self, now: float) -> None:
        """Drop keys that may no longer be used."""
        for keypair in [pair for pair in self.unconfirmed if now - pair.born_s >= REJECT_AFTER_S]:
            self.unconfirmed.remove(keypair)
            self._drop(keypair)
        for name in ("current", "previous"):
            held: Keypair | None = getattr(self, name)
            if held is not None and now - held.born_s >= REJECT_AFTER_S:
                setattr(self, name, None)
                self._drop(held)

    def forget_all(self) -> None:
        """Drop all keys: the peer does not know them any more."""
        for keypair in (self.current, self.previous, *self.unconfirmed):
            self._drop(keypair)
        self.current = self.previous = None
        self.unconfirmed.clear()

    def deadline(self) -> float:
        """When work is due next. Traffic moves it, so ask again every few seconds while there is some."""
        due_s, current = self._attempt_due_s, self.current
        if due_s == NEVER and self.asked_s > self.last_received_s:
            due_s = self._answer_due_s()
        if current is not None:
            due_s = min(due_s, current.born_s + REJECT_AFTER_S)
        if self.persistent_s or (current is not None and self.last_data_s > self.spoke_s):
            return min(due_s, self._keepalive_due_s())
        return due_s

    def _begin(self, now: float) -> None:
        self._attempts, self._attempts_since_s, self.resting = 0, now, False
        self.attempt_due_s = now

    def _established(self, now: float) -> None:
        self.established_s = now
        self.attempt_due_s = NEVER
        self.resting = False
        self.asked_s = self.last_received_s
        self._attempts = 0

    def _drop(self, keypair: Keypair | None) -> None:
        if keypair is not None:
            self.freed.append(keypair.local_index)
