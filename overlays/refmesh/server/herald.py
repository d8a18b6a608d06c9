"""The server's directory: what it has to tell each member, when, and how far each one is."""

from __future__ import annotations

import json
import math
from itertools import chain, islice

from overlays.refmesh.core.coordination import (
    GATHER_PER_MEMBER_S,
    GATHER_S,
    HELLO_INTERVAL_S,
    OVERTAKEN_S,
    UPDATE_RETRY_MAX_S,
    UPDATE_RETRY_S,
    WINDOW,
    Log,
    policy_entries,
)
from overlays.refmesh.core.greeting import PATIENCE
from overlays.refmesh.core.spans import Span, gaps, joined
from overlays.refmesh.credentials import Policy
from overlays.refmesh.keys import Rng
from overlays.refmesh.server.outlet import Outlet
from overlays.refmesh.server.registry import Registration, Registry
from overlays.refmesh.wire import control
from overlays.refmesh.wire.bodies import Hello


class Herald:
    """Tells members of each other and of the network document."""

    def __init__(self, registry: Registry, outlet: Outlet, rng: Rng, *, hub: bool) -> None:
        """`hub`: what members are told that this server is."""
        self.log = Log()
        self.epoch = rng(8).hex()
        self._registry, self._outlet, self._hub = registry, outlet, hub
        self._idle: dict[Registration, None] = {}
        """Members that have been told all there is, in that order: a set's would differ from run to run."""

    def forget(self, registration: Registration) -> None:
        """Note that the member is gone for good."""
        self._idle.pop(registration, None)
        self.log.drop(_key(registration))

    def take_policy(self, policy: Policy) -> None:
        """Return a network document for everybody; `tell_all` tells it."""
        for key, entry in policy_entries(policy.version, policy.text):
            self.log.put(key, entry)

    def tick(self, registration: Registration, now: float) -> None:
        """Tells one member what is due: what is new, or again what it has not said that it knows."""
        if now >= registration.retry_s or now >= registration.news_s:
            self.tell(registration, now)

    def heard(self, registration: Registration, hello: Hello, now: float) -> None:
        """Note that the member has said what it knows, and give it the rest unless it is quiet."""
        known, have = (hello.rev, joined(hello.have)) if hello.epoch == self.epoch else (0, [])
        if (known, have) == (registration.known, registration.have):
            registration.acknowledged_s = now
        else:
            self._acknowledged(registration, known, have, now, again=hello.epoch != self.epoch)
        self.tell(registration, now, answer=not hello.quiet)

    @staticmethod
    def _acknowledged(registration: Registration, known: int, have: list[Span], now: float, *, again: bool) -> None:
        holding = [(0, known), *have]
        if any(next(gaps(*span, holding), None) for span in ((0, registration.known), *registration.have)):
            # It has started again, or a later HELLO has overtaken this one.
            if not again and now - registration.acknowledged_s < OVERTAKEN_S:
                return
            # Who says so over and over would be told everything as often.
            if now - registration.anew_s < UPDATE_RETRY_S:
                return
            registration.flight.clear()
            registration.anew_s = now
        registration.acknowledged_s = now
        registration.known, registration.have, registration.retry_wait_s = known, have, UPDATE_RETRY_S
        registration.flight = {
            span: sent_s for span, sent_s in registration.flight.items() if next(gaps(*span, holding), None)
        }

    def publish(self, registration: Registration, now: float, *, tell_itself: bool = True) -> None:
        """Note that the member is there, or gone, or elsewhere; tell everybody, if that is news."""
        if self.log.put(_key(registration), registration.entry()):
            self.tell_all(now, but=None if tell_itself else registration)

    def tell_all(self, now: float, but: Registration | None = None) -> None:
        """There is news for all who are online."""
        gather_s = max(GATHER_S, GATHER_PER_MEMBER_S * len(self._registry.by_key))
        # Those that news is waiting for anyway need not be told of it again.
        for registration in [each for each in self._idle if each is not but]:
            self._idle.pop(registration, None)
            if registration.online:
                registration.news_s = max(now, registration.newest_s + gather_s)
                self._outlet.due(registration, registration.news_s)

    def tell(self, registration: Registration, now: float, *, answer: bool = False) -> None:
        """Tells a member what it lacks, as far as the window goes; as the answer to a HELLO also that it is nothing."""
        registration.news_s, registration.newest_s = math.inf, now
        self._idle[registration] = None
        flight, revision = registration.flight, self.log.revision
        wait_s = self._wait_s(registration)
        lost = [span for span, sent_s in flight.items() if now - sent_s >= wait_s]
        for span in lost:
            del flight[span]
        if lost:
            registration.retry_wait_s = min(UPDATE_RETRY_MAX_S, 2 * registration.retry_wait_s)
            wait_s = self._wait_s(registration)
        lacking = gaps(registration.known, revision, [*registration.have, *flight])
        news = chain.from_iterable(self.log.batches(*gap) for gap in lacking)
        batches = list(islice(news, max(0, WINDOW - len(flight))))
        for start, end, _ in batches:
            flight[start, end] = now
        if not batches and answer:
            batches = [(revision, revision, "")]
        common = {
            "seq": registration.hello,
            "epoch": self.epoch,
            "you": list(registration.endpoint) if registration.endpoint else None,
            "relay": registration.number,
            "hub": self._hub,
        }
        for start, end, entries in batches:
            head = json.dumps(common | {"from": start, "to": end}, separators=(",", ":"))
            text = f'{head[:-1]},"entries":[{entries}]}}'
            self._outlet.send(registration, control.frame(control.UPDATE, text.encode()), now)
        # The member says what it has in its next HELLO, which it sends at once when it has learned something.
        waiting = registration.online and bool(flight) and now - registration.seen_s <= HELLO_INTERVAL_S * 2
        registration.retry_s = min(flight.values()) + wait_s if waiting else math.inf
        self._outlet.due(registration, registration.retry_s)

    @staticmethod
    def _wait_s(registration: Registration) -> float:
        return max(registration.retry_wait_s, PATIENCE * min(registration.session.rtt_s, UPDATE_RETRY_MAX_S))


def _key(registration: Registration) -> str:
    # Not the name: who gets a new certificate may get another one, and two keys may have had the same.
    return registration.certificate.key.hex()
