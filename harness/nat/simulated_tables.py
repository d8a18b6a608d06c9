"""What a simulated NAT remembers, and how it forgets what has expired. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.nat.packet import Endpoint, Protocol

FEWEST = 256
"""So many entries are kept without a look at whether they have expired."""
LOOK_S = 60.0
"""More are looked at so often: birthday probing leaves thousands, and after it little is added."""


@dataclass(slots=True)
class MappingEntry:
    """An external endpoint for an internal one; `contacted` says until when its filter knows a remote one."""

    internal: Endpoint
    external: Endpoint
    expires: float
    contacted: dict[Endpoint, float] = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """A pair (internal endpoint, remote endpoint) and the mapping that it uses; connection tracking's entry."""

    mapping: MappingEntry
    expires: float
    both_ways: bool = False


@dataclass
class Expiry:
    """A key that may be asked for while it lives."""

    expires: float


class Tables:
    """Dictionaries whose entries count while they live; expired ones are dropped now and then.

    A day of a mesh makes millions of entries, some thousands of which live at a time.
    """

    def __init__(self) -> None:
        self.out: dict[tuple[object, ...], MappingEntry] = {}
        self.back: dict[tuple[Protocol, Endpoint], MappingEntry] = {}
        self.sessions: dict[tuple[Protocol, Endpoint, Endpoint], Session] = {}
        self.poisoned: dict[tuple[Protocol, Endpoint, Endpoint], Expiry] = {}
        self._enough, self._look_s = FEWEST, 0.0

    def tidy(self, now: float) -> None:
        """Drop what has expired: every minute, and once there is twice as much as was left the last time."""
        entries = len(self.sessions) + len(self.poisoned)
        if entries < self._enough and (now < self._look_s or entries < FEWEST):
            return
        self._drop(now)
        self._enough = max(FEWEST, 2 * (len(self.sessions) + len(self.poisoned)))
        self._look_s = now + LOOK_S

    def _drop(self, now: float) -> None:
        for key in [key for key, session in self.sessions.items() if session.expires <= now]:
            del self.sessions[key]
        if ended := [end for end, entry in self.back.items() if entry.expires <= now]:
            # A session that lives finds its mapping also when that has expired.
            used = {(protocol, session.mapping.external) for (protocol, _, _), session in self.sessions.items()}
            for end in ended:
                if end not in used:
                    del self.back[end]
        for place in [place for place, entry in self.out.items() if entry.expires <= now]:
            del self.out[place]
        for flow in [flow for flow, expiry in self.poisoned.items() if expiry.expires <= now]:
            del self.poisoned[flow]
        for entry in self.back.values():
            if any(until <= now for until in entry.contacted.values()):
                entry.contacted = {remote: until for remote, until in entry.contacted.items() if until > now}
