"""Who is registered with a server, and how each is reached."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from overlays.refmesh.core.access import Access
from overlays.refmesh.core.coordination import UPDATE_RETRY_S
from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.core.session import Session
from overlays.refmesh.core.spans import Span
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.wire.bodies import Hello
from overlays.refmesh.wire.control import Endpoint

Name = TypeVar("Name")
PUNCHES_PER_S, PUNCHES_BURST = 8.0, 40
"""A node asks four peers at a time, and answers four, once in some seconds."""
HELLOS_PER_S, HELLOS_BURST = 50.0, 200
"""Of its own accord a node says one a second, but it acknowledges each UPDATE where they come in slowly: on a narrow
line, a directory of 500 members is some 170 of them."""
COPIES_PER_S, COPIES_BURST = 5000.0, 10_000
"""A copy costs some 20 us. In a network of 100 these are 50 broadcasts a second and 100 at once, of each member."""


class Probe(NamedTuple):
    """A PING to an address that a member seems to be at."""

    endpoint: Endpoint
    transaction: bytes
    sent_s: float


@dataclass(eq=False)
class Registration:
    """A member that has introduced itself."""

    certificate: Certificate
    session: Session
    number: int
    """Names the member in relay headers; never 0."""
    endpoint: Endpoint | None = None
    """Where it has proved to receive, by completing a handshake or answering a PING there."""
    probe: Probe | None = None
    deferred: Hello | None = None
    """A HELLO from an address that is not proved yet."""
    candidates: list[list[Any]] = field(default_factory=list)
    direct: bool = True
    hub: bool = False
    online: bool = False
    greeted: bool = False
    seen_s: float = -math.inf
    hello: int = 0
    """The number of its last HELLO, for the answer."""
    hello_s: float = -math.inf
    acknowledged_s: float = -math.inf
    """When it has last said that it knows so much."""
    known: int = 0
    """The revision up to which the member has said that it knows the directory."""
    have: list[Span] = field(default_factory=list)
    """What it has said that it knows beyond."""
    flight: dict[Span, float] = field(default_factory=dict)
    """What is on the way to it, and since when."""
    anew_s: float = -math.inf
    """When it was last told from the beginning, as one that has started again."""
    retry_s: float = math.inf
    """When to tell again what was told."""
    retry_wait_s: float = UPDATE_RETRY_S
    news_s: float = math.inf
    """When to tell what is new."""
    newest_s: float = -math.inf
    """When it was last told anything."""
    relayed_bytes: int = 0
    access: Access | None = None
    """The rules between it and our own host; None: nothing passes."""
    punches: Pacer = field(default_factory=lambda: Pacer(PUNCHES_PER_S, PUNCHES_BURST))
    """PUNCH messages that are passed on for it."""
    hellos: Pacer = field(default_factory=lambda: Pacer(HELLOS_PER_S, HELLOS_BURST))
    """HELLOs of its that are read."""
    copies: Pacer = field(default_factory=lambda: Pacer(COPIES_PER_S, COPIES_BURST))
    """Copies that a hub makes of its frames for all."""

    def entry(self) -> dict[str, Any]:
        """Return what others are told of it; the address that we see it at is one more candidate."""
        candidates = list(self.candidates)
        if self.direct and self.endpoint is not None and self.endpoint[0] != "tls":
            reflexive = ["server-reflexive", *self.endpoint]
            if all(candidate[1:3] != reflexive[1:3] for candidate in candidates):
                candidates.append(reflexive)
        seen = self.endpoint if self.endpoint is not None and self.endpoint[0] != "tls" else None
        return {
            "certificate": self.certificate.text,
            "candidates": candidates,
            "relay": self.number,
            "online": self.online,
            "direct": self.direct,
            "hub": self.hub,
            "seen": seen,
        }

    def status(self, now: float) -> dict[str, Any]:
        """Return the member for the status socket."""
        return {
            "name": self.certificate.name,
            "addresses": list(self.certificate.addresses),
            "online": self.online,
            "endpoint": list(self.endpoint) if self.endpoint else None,
            "relayed_bytes": self.relayed_bytes,
            "seen_s_ago": round(now - self.seen_s, 3) if self.greeted else None,
        }


class Registry:
    """All registrations, by every name that something on the wire may have for them."""

    def __init__(self) -> None:
        self.by_key: dict[bytes, Registration] = {}
        self.by_number: dict[int, Registration] = {}
        self.by_endpoint: dict[Endpoint, Registration] = {}
        self.by_address: dict[str, Registration] = {}
        self.by_name: dict[str, Registration] = {}
        self.by_text: dict[str, Registration] = {}
        self.changes = 0
        """How often a member, its certificate or its address has changed."""

    def add(self, registration: Registration) -> None:
        """Add a member; its overlay addresses are its certificate's."""
        self.changes += 1
        self.by_key[registration.certificate.key] = registration
        self.by_number[registration.number] = registration
        self._certify(registration)

    def remove(self, registration: Registration) -> None:
        """Forgets a member."""
        self.changes += 1
        self.by_key.pop(registration.certificate.key, None)
        self.by_number.pop(registration.number, None)
        if registration.endpoint is not None:
            _drop(self.by_endpoint, registration.endpoint, registration)
        self._uncertify(registration)

    def recertify(self, registration: Registration, certificate: Certificate) -> None:
        """Note that the member has a newer certificate for the same key."""
        self.changes += 1
        self._uncertify(registration)
        registration.certificate = certificate
        self._certify(registration)

    def rivals(self, certificate: Certificate) -> list[Registration]:
        """Who has another key, and the name or an address of this certificate."""
        named = [self.by_name.get(certificate.name), *map(self.by_address.get, _hosts(certificate))]
        found = {other.number: other for other in named if other is not None}
        return [other for other in found.values() if other.certificate.key != certificate.key]

    def holds(self, registration: Registration, endpoint: Endpoint) -> bool:
        """Whether an address is this member's, and this member's the address: both ways, so that neither is stolen."""
        return registration.endpoint == endpoint and self.by_endpoint.get(endpoint) is registration

    def moved(self, registration: Registration, endpoint: Endpoint) -> None:
        """Note that the member has proved that it receives at this address."""
        self.changes += 1
        if registration.endpoint is not None:
            _drop(self.by_endpoint, registration.endpoint, registration)
        registration.endpoint = endpoint
        self.by_endpoint[endpoint] = registration

    def _certify(self, registration: Registration) -> None:
        certificate = registration.certificate
        self.by_name[certificate.name] = self.by_text[certificate.text] = registration
        for host in _hosts(certificate):
            self.by_address[host] = registration

    def _uncertify(self, registration: Registration) -> None:
        certificate = registration.certificate
        _drop(self.by_name, certificate.name, registration)
        _drop(self.by_text, certificate.text, registration)
        for host in _hosts(certificate):
            _drop(self.by_address, host, registration)


def _hosts(certificate: Certificate) -> list[str]:
    return [address.split("/")[0] for address in certificate.addresses]


def _drop(names: dict[Name, Registration], name: Name, registration: Registration) -> None:
    if names.get(name) is registration:
        del names[name]
