"""Names of servers and static peers: when each is looked up, and where it was found last. Nothing waits for it here."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
from collections.abc import Iterable, Mapping

from overlays.refmesh.config import Address, ServerEntry

RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Waits between look-ups of a name that is unknown, or whose host does not answer: it may have moved."""


def is_name(host: str) -> bool:
    """Whether this is a name, and no literal address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def with_addresses(entry: ServerEntry, found: Mapping[str, str]) -> ServerEntry:
    """Return the entry with names replaced by what was found."""

    def place(address: Address | None) -> Address | None:
        if address is None or not is_name(address.host):
            return address
        return Address(found[address.host], address.port) if address.host in found else None

    endpoint = place(entry.endpoint) or Address("", entry.endpoint.port)
    return dataclasses.replace(entry, endpoint=endpoint, stun=place(entry.stun), tls=place(entry.tls))


class Hosts:
    """The names of one configuration."""

    def __init__(self, hosts: Iterable[str]) -> None:
        """`hosts`: names and literal addresses; only names are looked up."""
        self.found: dict[str, str] = {}
        """The literal address of each name that is known."""
        self.requests: list[str] = []
        """Names to look up; whoever drives the node takes them."""
        self._names = sorted(filter(is_name, set(hosts)))
        self.due_s = 0.0 if self._names else math.inf
        self._tries = 0
        self._asked: set[str] = set()
        self._stale: set[str] = set()
        """Names that were asked for in another network and have had no answer since; whoever looks up asks once."""

    def restart(self, now: float) -> None:
        """Note that the network has changed, and with it perhaps what names mean."""
        if self._names:
            self._tries, self.due_s = 0, now
            self.found.clear()
            self._stale |= self._asked

    def tick(self, now: float, unreached: Iterable[str]) -> None:
        """Asks for the names that are unknown or `unreached`, when it is time."""
        if now < self.due_s:
            return
        missing = {name for name in self._names if name not in self.found}
        wanted = missing | (set(unreached) & set(self._names))
        self._asked |= wanted
        self.requests += sorted(wanted)
        self.due_s = now + RETRY_S[min(self._tries, len(RETRY_S) - 1)]
        self._tries += 1

    def take(self, host: str, address: str, now: float) -> bool:
        """Note that a name has been looked up; False: in another network, and it is asked for again."""
        self._asked.discard(host)
        if host in self._stale:
            self._stale.remove(host)
            self.due_s = now
            return False
        if self.found.get(host) != address:
            self._tries = 0
        self.found[host] = address
        return True
