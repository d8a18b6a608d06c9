"""The server's directory: what it has to tell each member, when, and how far each one is."""

from __future__ import annotations

import json
import math

from overlays.refmesh.core.coordination import (
    GATHER_PER_MEMBER_S,
    GATHER_S,
    HELLO_INTERVAL_S,
    UPDATE_RETRY_MAX_S,
    Log,
    policy_entries,
)
from overlays.refmesh.core.server_link import PATIENCE
from overlays.refmesh.credentials import Policy
from overlays.refmesh.keys import Rng
from overlays.refmesh.server.outlet import Outlet
from overlays.refmesh.server.registry import Registration, Registry
from overlays.refmesh.wire import control


class Herald:
    """Tells members of each other and of the network document."""

    def __init__(self, registry: Registry, outlet: Outlet, rng: Rng, *, hub: bool) -> None:
        """`hub`: what members are told that this server is."""
        self.log = Log()
        self.epoch = rng(8).hex()
        self._registry, self._outlet, self._hub = registry, outlet, hub

    def take_policy(self, policy: Policy) -> None:
        """A network document for everybody; `tell_all` tells it."""
        for key, entry in policy_entries(policy.version, policy.text):
            self.log.put(key, entry)

    def tick(self, registration: Registration, now: float) -> None:
        """Tells one member what is due: what is new, or again what it has not said that it knows."""
        if now >= registration.retry_s:
            registration.told = registration.known
            registration.retry_wait_s = min(UPDATE_RETRY_MAX_S, 2 * registration.retry_wait_s)
            self.tell(registration, now)
        if now >= registration.news_s:
            self.tell(registration, now)

    def publish(self, registration: Registration, now: float, *, tell_itself: bool = True) -> None:
        """The member is there, or gone, or elsewhere: tells everybody, if that is news."""
        if self.log.put(registration.certificate.name, registration.entry()):
            self.tell_all(now, but=None if tell_itself else registration)

    def tell_all(self, now: float, but: Registration | None = None) -> None:
        """There is news for all who are online."""
        gather_s = max(GATHER_S, GATHER_PER_MEMBER_S * len(self._registry.by_key))
        for registration in self._registry.by_key.values():
            if registration.online and registration is not but:
                registration.news_s = min(registration.news_s, max(now, registration.newest_s + gather_s))
                self._outlet.wake(registration.news_s)

    def tell(self, registration: Registration, now: float, *, answer: bool = False) -> None:
        """Tells a member what it has not been told; as the answer to a HELLO also that there is nothing."""
        common = {
            "seq": registration.hello,
            "epoch": self.epoch,
            "you": list(registration.endpoint) if registration.endpoint else None,
            "relay": registration.number,
            "hub": self._hub,
        }
        registration.news_s, registration.newest_s = math.inf, now
        batches = list(self.log.batches(registration.told))
        if not batches and answer:
            batches = [(self.log.revision, self.log.revision, "")]
        for start, end, entries in batches:
            head = json.dumps(common | {"from": start, "to": end}, separators=(",", ":"))
            text = f'{head[:-1]},"entries":[{entries}]}}'
            self._outlet.send(registration, control.frame(control.UPDATE, text.encode()), now)
        registration.told = self.log.revision
        # The member says how far it is in its next HELLO, which it sends at once when it has learned something.
        waiting = registration.online and registration.known < self.log.revision
        lost = now - registration.seen_s > HELLO_INTERVAL_S * 2
        wait_s = max(registration.retry_wait_s, PATIENCE * min(registration.session.rtt_s, UPDATE_RETRY_MAX_S))
        registration.retry_s = now + wait_s if waiting and not lost else math.inf
        self._outlet.wake(registration.retry_s)
