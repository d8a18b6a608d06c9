"""Who is registered with a server, and how each is reached."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from overlays.refmesh.core.coordination import UPDATE_RETRY_S
from overlays.refmesh.core.session import Session
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.wire.control import Endpoint


@dataclass
class Registration:
    """A member that has introduced itself."""

    certificate: Certificate
    session: Session
    number: int
    """Names the member in relay headers; never 0."""
    endpoint: Endpoint | None = None
    candidates: list[list[Any]] = field(default_factory=list)
    direct: bool = True
    hub: bool = False
    online: bool = False
    greeted: bool = False
    seen_s: float = -math.inf
    hello: int = 0
    known: int = 0
    """The revision up to which the member has said that it knows the directory."""
    told: int = 0
    """The revision up to which it has been told, acknowledged or not."""
    retry_s: float = math.inf
    """When to tell again what was told."""
    retry_wait_s: float = UPDATE_RETRY_S
    news_s: float = math.inf
    """When to tell what is new."""
    newest_s: float = -math.inf
    """When it was last told anything."""
    relayed_bytes: int = 0

    def entry(self) -> dict[str, Any]:
        """What others are told of it; the address that we see it at is one more candidate."""
        candidates = list(self.candidates)
        if self.direct and self.endpoint is not None and self.endpoint[0] != "tls":
            seen = ["server-reflexive", *self.endpoint]
            if all(candidate[1:3] != seen[1:3] for candidate in candidates):
                candidates.append(seen)
        return {
            "certificate": self.certificate.text,
            "candidates": candidates,
            "relay": self.number,
            "online": self.online,
            "direct": self.direct,
            "hub": self.hub,
        }


class Registry:
    """All registrations, by every name that something on the wire may have for them."""

    def __init__(self) -> None:
        self.by_key: dict[bytes, Registration] = {}
        self.by_number: dict[int, Registration] = {}
        self.by_endpoint: dict[Endpoint, Registration] = {}
        self.by_address: dict[str, Registration] = {}

    def add(self, registration: Registration) -> None:
        """Adds a member; its overlay addresses are its certificate's."""
        self.by_key[registration.certificate.key] = registration
        self.by_number[registration.number] = registration
        for address in registration.certificate.addresses:
            self.by_address[address.split("/")[0]] = registration

    def remove(self, registration: Registration) -> None:
        """Forgets a member."""
        self.by_key.pop(registration.certificate.key, None)
        self.by_number.pop(registration.number, None)
        self.by_endpoint = {name: owner for name, owner in self.by_endpoint.items() if owner is not registration}
        self.by_address = {name: owner for name, owner in self.by_address.items() if owner is not registration}

    def moved(self, registration: Registration, endpoint: Endpoint) -> None:
        """The member was heard, authentically, from another address."""
        if registration.endpoint is not None and self.by_endpoint.get(registration.endpoint) is registration:
            del self.by_endpoint[registration.endpoint]
        registration.endpoint = endpoint
        self.by_endpoint[endpoint] = registration
